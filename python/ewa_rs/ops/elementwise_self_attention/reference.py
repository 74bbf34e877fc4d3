"""The literal formula of element-wise self-attention: float64, slow and obvious; for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ewa_rs.ops.elementwise_attention import reference as attention

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]


def project(x: Array, w: Array, b: Array | None) -> Array:
    """Projection x ∘ w + b in float64, or wider if an operand is wider."""
    y: Array = x.astype(np.result_type(x, w, np.float64)) * w
    return y if b is None else y + b


def reference(
    x: npt.ArrayLike,
    w_q: npt.ArrayLike,
    w_k: npt.ArrayLike,
    w_v: npt.ArrayLike,
    *,
    b_q: npt.ArrayLike | None = None,
    b_k: npt.ArrayLike | None = None,
    b_v: npt.ArrayLike | None = None,
    axis: int | Sequence[int] = -1,
    scale: float | None = None,
    mask: npt.ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Element-wise attention of q = x ∘ w_q + b_q, k = x ∘ w_k + b_k, v = x ∘ w_v + b_v."""
    with np.errstate(all="ignore"):
        q, k, v = projections(x, (w_q, w_k, w_v), (b_q, b_k, b_v))
    return attention.reference(q, k, v, axis=axis, scale=scale, mask=mask)


def projections(
    x: npt.ArrayLike, weights: Sequence[npt.ArrayLike], biases: Sequence[npt.ArrayLike | None]
) -> list[Array]:
    """q, k and v."""
    return [
        project(np.asarray(x), np.asarray(w), None if b is None else np.asarray(b))
        for w, b in zip(weights, biases, strict=True)
    ]


def reference_grad(
    x: npt.ArrayLike,
    w_q: npt.ArrayLike,
    w_k: npt.ArrayLike,
    w_v: npt.ArrayLike,
    grad: npt.ArrayLike,
    grad_weights: npt.ArrayLike = 0.0,
    *,
    b_q: npt.ArrayLike | None = None,
    b_k: npt.ArrayLike | None = None,
    b_v: npt.ArrayLike | None = None,
    axis: int | Sequence[int] = -1,
    scale: float | None = None,
    mask: npt.ArrayLike | None = None,
) -> dict[str, Array]:
    """Gradients of x, the arrays, the biases given and an additive mask.

    With those of element-wise attention, dx = dq ∘ w_q + dk ∘ w_k + dv ∘ w_v, dw = dq ∘ x and
    db = dq, the last two for each of q, k and v. A slice that keeps nothing adds nothing to them.
    """
    x, g = np.asarray(x), np.asarray(grad)
    weights = {"q": np.asarray(w_q), "k": np.asarray(w_k), "v": np.asarray(w_v)}
    biases = {"q": b_q, "k": b_k, "v": b_v}
    mask = None if mask is None else np.asarray(mask)
    with np.errstate(all="ignore"):
        projected = projections(x, list(weights.values()), list(biases.values()))
        # Grown to the full shape, so that nothing is summed before the projection's own gradient.
        q, k, v = np.broadcast_arrays(*projected)
        z, axes, _ = attention.scores(q, k, v, axis, scale, mask)
        _, empty = attention.softmax(z, axes)
        dp = attention.reference_grad(q, k, v, g, grad_weights, axis=axis, scale=scale, mask=mask)
        dx = sum(np.where(empty, 0, dp[p] * weights[p]) for p in "qkv")
        grads = {"x": attention.sum_to(np.asarray(dx), x.shape)}
        for p, w in weights.items():
            grads[f"w_{p}"] = attention.sum_to(np.where(empty, 0, dp[p] * x), w.shape)
        for p, b in biases.items():
            if b is not None:
                grads[f"b_{p}"] = attention.sum_to(dp[p], np.shape(b))
    return grads | {name: dp[name] for name in dp if name == "mask"}


def dot_product_reference(
    x: Tensor,
    w_q: Tensor,
    w_k: Tensor,
    w_v: Tensor,
    *,
    b_q: Tensor | None = None,
    b_k: Tensor | None = None,
    b_v: Tensor | None = None,
    axis: int | Sequence[int] = -1,
    scale: float | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Give the same output and weights by dot-product attention on the projections x · diag(w)."""
    import torch

    def matrix_project(w: Tensor, b: Tensor | None) -> Tensor:
        shape = np.broadcast_shapes(x.shape, w.shape)
        row, diagonal = (t.double().expand(shape or (1,)) for t in (x, w))
        y: Tensor = (row[..., None, :] @ torch.diag_embed(diagonal)).squeeze(-2).reshape(shape)
        return y if b is None else y + b.double()

    q, k, v = (matrix_project(w, b) for w, b in ((w_q, b_q), (w_k, b_k), (w_v, b_v)))
    return attention.dot_product_reference(q, k, v, axis=axis, scale=scale, mask=mask)
