"""Results of ops on torch tensors: uninitialised ones, in which memory order, and in `out`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ewa_rs.ops._arguments import check_devices, dtype_name

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors


def empty_result(shape: torch.Size, *inputs: Tensor | None) -> Tensor:
    """Return an uninitialised tensor in the memory order of the first input of that shape."""
    for t in inputs:
        if t is not None and t.ndim == len(shape) and t.shape == shape:
            return torch.empty_like(t)
    return inputs[0].new_empty(shape)  # type: ignore[union-attr]


def write_out(out: Tensor | None, y: Tensor, *inputs: Tensor | None) -> Tensor:
    """Return `y`, or `out` with `y` written into it."""
    if out is None:
        return y
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (out, *inputs)):
        raise ValueError("out: expected no arguments that require gradients, got some that do")
    if out.dtype != y.dtype:
        raise TypeError(f"out: expected dtype {dtype_name(y)}, got {dtype_name(out)}")
    if out.shape != y.shape:
        raise ValueError(f"out: expected shape {tuple(y.shape)}, got {tuple(out.shape)}")
    check_devices(out=out, inputs=y)
    return out.copy_(y)


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


def laid_out(results: Sequence[Tensor], likes: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the results in the strides of others."""
    return tuple(
        t if t.stride() == like.stride() else like.copy_(t)
        for t, like in zip(results, likes, strict=True)
    )
