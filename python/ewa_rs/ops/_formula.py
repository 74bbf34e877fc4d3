"""Pieces of the formula of attention along slices, in PyTorch operations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def widened(*tensors: Tensor) -> list[Tensor]:
    """Tensors in the type to compute in."""
    return [t.to(torch.promote_types(t.dtype, torch.float32)) for t in tensors]


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, axes: Sequence[int], scale: float
) -> tuple[Tensor, Tensor]:
    """Output and weights, of tensors in the type to compute in."""
    a, empty = weights(q, k, v, mask, axes, scale)
    return torch.where(empty, 0.0, a * v), a


def weights(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, axes: Sequence[int], scale: float
) -> tuple[Tensor, Tensor]:
    """Softmax of the scores in the full shape, zero in slices that keep nothing; and these."""
    z = scale * q * k
    shape = torch.broadcast_shapes(z.shape, v.shape)
    if mask is not None:
        z = torch.where(mask, z, -torch.inf) if mask.dtype == torch.bool else z + mask.to(z.dtype)
    z = z.expand(shape)
    if any(shape[d] == 0 for d in axes):
        return z, torch.zeros_like(z, dtype=torch.bool)
    highest = z.detach().amax(tuple(axes), keepdim=True)
    nothing = highest == -torch.inf
    empty = (z == highest) & nothing  # in the memory order of z, which `where` then keeps
    shift = torch.where(nothing, 0.0, highest)
    e = torch.where(empty, 0.0, torch.exp(torch.where(empty, 0.0, z) - shift))
    total = torch.where(nothing, 1.0, e.sum(tuple(axes), keepdim=True))
    return e / total, empty


def summed(gradient: Tensor, like: Tensor) -> Tensor:
    """Sum a gradient over the axes along which its operand was broadcast."""
    return gradient.sum_to_size(like.shape).to(like.dtype)


def score_gradients(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    axes: Sequence[int],
    scale: float,
    grad_y: Tensor,
    grad_a: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Gradients of the scores and of the values, in the full shape."""
    a, empty = weights(q, k, v, mask, axes, scale)
    g = grad_y.to(a.dtype)
    h = g * v if grad_a is None else g * v + grad_a.to(a.dtype)
    dz = a * (h - (a * h).sum(tuple(axes), keepdim=True))
    return torch.where(empty, 0.0, dz), torch.where(empty, 0.0, g * a)
