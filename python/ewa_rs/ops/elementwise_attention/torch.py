"""Element-wise attention on torch tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def composite(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    axes: tuple[int, ...],
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Output and weights in PyTorch operations, for any device; float32 inside for 16 bits."""
    dtype = q.dtype
    compute = torch.promote_types(dtype, torch.float32)
    z = scale * (q.to(compute) * k.to(compute))
    if mask is not None:
        z = z.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else z + mask.to(compute)
    shift = z.detach().amax(axes, keepdim=True)
    e = torch.exp(z - shift.masked_fill(shift == -torch.inf, 0.0))
    total = e.sum(axes, keepdim=True)
    a = e / total.masked_fill(total == 0, 1.0)
    y = torch.where(total == 0, 0.0, a * v.to(compute))
    return y.to(dtype), a.to(dtype)
