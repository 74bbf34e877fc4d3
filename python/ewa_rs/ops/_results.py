"""Uninitialised results, which kernels fill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors


def statistics(y: Tensor, shape: Sequence[int], axes: Sequence[int]) -> Tensor:
    """Two uninitialised numbers for each slice of `y`, in the type computed in."""
    sizes = list(shape)
    for d in axes:
        sizes[d] = 1
    dtype = torch.float64 if y.dtype is torch.float64 else torch.float32
    if y.is_cpu:  # naming the device takes longer
        return torch.empty(2, *sizes, dtype=dtype)
    return torch.empty((2, *sizes), dtype=dtype, device=y.device)


def empty_gradients(inputs: Tensors, wanted: Sequence[bool]) -> list[Tensor | None]:
    """Uninitialised gradients of the inputs that want one, in the memory order of these."""
    like = torch.empty_like
    pairs = zip(inputs, wanted, strict=True)
    return [like(t) if want and t is not None else None for t, want in pairs]
