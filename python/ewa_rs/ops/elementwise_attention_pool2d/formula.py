"""Attention pooling in PyTorch operations, and what its outputs are like."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def formula(x: Tensor, w: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Output in PyTorch operations, for any device; float32 inside for 16 bits."""
    _, windows, a, _ = attend(x, w, kernel, stride)
    return (a * windows).sum((-2, -1)).to(x.dtype)


def gradient_formula(
    x: Tensor,
    w: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    grad: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Wanted gradients in PyTorch operations, to be differentiated again."""
    wide, windows, a, weights = attend(x, w, kernel, stride)
    apart = windows - (a * windows).sum((-2, -1), keepdim=True)
    g = grad.to(a.dtype)[..., None, None]
    found: list[Tensor | None] = [None, None]
    if wanted[0]:
        found[0] = folded(g * a * (1 + weights * apart), wide, kernel, stride).to(x.dtype)
    if wanted[1]:
        dw = g * a * apart * (apart if w.ndim == 1 else windows)
        channels = x.ndim - 3
        others = [d for d in range(dw.ndim - 2) if d != channels]
        dw = dw.sum(others)
        found[1] = (dw.sum((-2, -1)) if w.ndim == 1 else dw).to(w.dtype)
    return found


def attend(
    x: Tensor, w: Tensor, kernel: Sequence[int], stride: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return x in the type to compute in, its windows on two more axes, their weights, and w."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    x, w = x.to(dtype), w.to(dtype)
    windows = unfolded(x, kernel, stride)
    w = w[:, None, None, None, None] if w.ndim == 1 else w[:, None, None]
    z = w * windows
    a = torch.softmax(z.flatten(-2), -1).reshape(z.shape)
    return x, windows, a, w


def unfolded(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Return the windows of x, their elements along two more axes."""
    if not kernel:
        return x[..., None, None, :, :]
    (high, wide), (down, right) = kernel, stride or kernel
    return x.unfold(-2, high, down).unfold(-2, wide, right)


def folded(windows: Tensor, x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Add up what lies in windows, where it came from in x."""
    if not kernel:
        return windows[..., 0, 0, :, :]
    (high, wide), (down, right) = kernel, stride or kernel
    shape = list(x.shape)
    rows = [*shape[:-2], windows.shape[-4], shape[-1], high]
    back = torch.ops.aten.unfold_backward
    given = back(windows, rows, x.ndim - 1, wide, right)
    return back(given, shape, x.ndim - 2, high, down)  # type: ignore[no-any-return]


def laid_out(y: Tensor, x: Tensor) -> Tensor:
    """Return y in channels-last order if x is."""
    return y.contiguous(memory_format=memory_format(x))


def memory_format(x: Tensor) -> torch.memory_format:
    """Of the output."""
    if x.ndim != 4:
        return torch.contiguous_format
    return torch._prims_common.suggest_memory_format(x)
