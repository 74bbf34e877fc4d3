"""Gradients of broadcast operands: partial sums by the kernel, and their sum in a fixed order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ewa_rs.ops._triton.layout import Layout


@dataclass(frozen=True)
class Partial:
    """A gradient that is summed over the axes along which its input is broadcast."""

    axes: tuple[bool, ...]
    summed: bool  # over the group, in the kernel
    folded: bool  # over the lanes of a tile, in the kernel

    def allocate(self, layout: Layout, groups: int, like: Tensor) -> Tensor:
        """Return memory for what the programs write: float32, along the layout's axes."""
        sizes = list(layout.sizes)
        if self.summed:
            sizes[layout.outer] = groups
        if self.folded:
            sizes[layout.outer + 1] = layout.lane_blocks
        return like.new_empty(sizes, dtype=torch.float32)

    def finish(self, buffer: Tensor, layout: Layout, like: Tensor) -> Tensor:
        """Add up what the programs wrote, in the input's shape, type and memory order."""
        over = [i for i, axes in enumerate(layout.axes) if axes and self.axes[axes[0]]]
        left = [d for axes in layout.axes for d in axes if not self.axes[d]]
        missing = len(self.axes) - like.ndim
        total = buffer.sum(over).view([like.shape[d - missing] for d in left])
        order = sorted(range(len(left)), key=left.__getitem__)
        return torch.empty_like(like).copy_(total.permute(order).reshape(like.shape))


def make_partial(layout: Layout, sums: tuple[bool, ...] | None) -> Partial | None:
    """Return how the kernel writes a gradient; None if nothing is summed."""
    if sums is None or not any(sums):
        return None
    group, lane = layout.axes[layout.outer : layout.outer + 2]
    return Partial(sums, bool(group) and sums[group[0]], bool(lane) and sums[lane[0]])


def summed_axes(t: Tensor, shape: torch.Size) -> tuple[bool, ...]:
    """Along which axes of `shape` a tensor is broadcast."""
    sizes = (1,) * (len(shape) - t.ndim) + tuple(t.shape)
    return tuple(n != m for n, m in zip(sizes, shape, strict=True))
