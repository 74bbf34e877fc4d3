"""The literal formula of element-wise attention: float64, slow and obvious; for tests.

Nothing here is tuned, blocked or fused, and nothing is shared with the fast paths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]


def positive_axes(axis: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """Axes as a tuple, counted from the front."""
    return tuple(a % ndim for a in ((axis,) if isinstance(axis, int) else axis))


def scores(
    q: Array, k: Array, v: Array, axis: int | Sequence[int], scale: float | None, mask: Array | None
) -> tuple[Array, tuple[int, ...], Any]:
    """Scores s · (q ∘ k) [+ mask] in the shape of q ∘ k ∘ v, the softmax axes and the scale s.

    The arithmetic is float64, or wider if an operand is wider.
    """
    dtype = np.result_type(q, k, v, np.float64)
    shape = np.broadcast_shapes(q.shape, k.shape, v.shape)
    axes = positive_axes(axis, len(shape))
    n = max(1, math.prod(shape[a] for a in axes))
    s = 1 / np.sqrt(dtype.type(n)) if scale is None else dtype.type(scale)
    z = np.broadcast_to(s * (q.astype(dtype) * k.astype(dtype)), shape)
    if mask is not None:
        mask = np.broadcast_to(mask, shape)
        z = np.where(mask, z, -np.inf) if mask.dtype == np.bool_ else z + mask
    return z, axes, s


def softmax(z: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Softmax over `axes`, zero where every score is -inf; and which slices those are."""
    highest = z.max(axes, keepdims=True, initial=-np.inf)
    empty = highest == -np.inf
    e = np.exp(z - np.where(empty, 0, highest))
    return e / np.where(empty, 1, e.sum(axes, keepdims=True)), empty


def reference(
    q: npt.ArrayLike,
    k: npt.ArrayLike,
    v: npt.ArrayLike,
    *,
    axis: int | Sequence[int] = -1,
    scale: float | None = None,
    mask: npt.ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Output softmax(s · q ∘ k [+ mask]) ∘ v and weights, in float64."""
    q, k, v = np.asarray(q), np.asarray(k), np.asarray(v)
    with np.errstate(all="ignore"):
        z, axes, _ = scores(q, k, v, axis, scale, None if mask is None else np.asarray(mask))
        a, empty = softmax(z, axes)
        return np.where(empty, 0, a * v), a


def reference_grad(
    q: npt.ArrayLike,
    k: npt.ArrayLike,
    v: npt.ArrayLike,
    grad: npt.ArrayLike,
    grad_weights: npt.ArrayLike = 0.0,
    *,
    axis: int | Sequence[int] = -1,
    scale: float | None = None,
    mask: npt.ArrayLike | None = None,
) -> dict[str, Array]:
    """Gradients of q, k, v (and of an additive mask), given those of the output and the weights.

    dv = g ∘ a, dz = a ∘ (h - Σ a ∘ h) with h = g ∘ v + (the gradient of the weights),
    dq = s · dz ∘ k, dk = s · dz ∘ q. All of them are zero in a slice that keeps nothing, whatever
    it holds.
    """
    q, k, v, g = np.asarray(q), np.asarray(k), np.asarray(v), np.asarray(grad)
    mask = None if mask is None else np.asarray(mask)
    with np.errstate(all="ignore"):
        z, axes, s = scores(q, k, v, axis, scale, mask)
        a, empty = softmax(z, axes)
        h = g * v + np.asarray(grad_weights)
        dz = np.where(empty, 0, a * (h - (a * h).sum(axes, keepdims=True)))
        grads = {
            "q": sum_to(np.where(empty, 0, s * dz * k), q.shape),
            "k": sum_to(np.where(empty, 0, s * dz * q), k.shape),
            "v": sum_to(np.where(empty, 0, g * a), v.shape),
        }
        if mask is not None and mask.dtype != np.bool_:
            grads["mask"] = sum_to(dz, mask.shape)
    return grads


def sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Sum `x` over the axes along which an operand of `shape` was broadcast."""
    x = x.sum(tuple(range(x.ndim - len(shape))))
    stretched = tuple(i for i, n in enumerate(shape) if n == 1 and x.shape[i] != 1)
    return np.asarray(x.sum(stretched, keepdims=True))


def dot_product_reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    axis: int | Sequence[int] = -1,
    scale: float | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Give the same output and weights by dot-product attention in float64, for autograd to derive.

    One query [1], the n keys q ∘ k of width 1 and the n × n values diag(v); diag(1) as the values
    returns the weights. An excluded key becomes 0 first, because SDPA adds -inf to its score and
    NaN - inf is NaN.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    shape = np.broadcast_shapes(q.shape, k.shape, v.shape)
    axes = positive_axes(axis, len(shape))
    kept = [i for i in range(len(shape)) if i not in axes]
    lead, sizes = [shape[i] for i in kept], [shape[i] for i in axes]
    n = math.prod(sizes)

    def flat(x: Tensor) -> Tensor:
        """Softmax axes last, and flattened into one."""
        return x.expand(shape).permute(*kept, *axes).reshape(*lead, n)

    def unflat(x: Tensor) -> Tensor:
        return x.reshape(*lead, *sizes).permute(*np.argsort([*kept, *axes]).tolist())

    keys, values = flat(q.double() * k.double()), flat(v.double())
    bias = None
    if mask is not None:
        bias = flat(mask if mask.dtype == torch.bool else mask.double())
        if mask.dtype == torch.bool:
            keys = keys.masked_fill(~bias, 0.0)
        bias = bias[..., None, :]
    query = torch.ones((*lead, 1, 1), dtype=torch.float64)
    s = 1 / math.sqrt(max(1, n)) if scale is None else scale
    y, a = (
        scaled_dot_product_attention(
            query, keys[..., None], torch.diag_embed(x), attn_mask=bias, scale=s
        ).squeeze(-2)
        for x in (values, torch.ones_like(values))
    )
    return unflat(y), unflat(a)
