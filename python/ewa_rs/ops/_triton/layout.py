"""How the Triton kernels go through the axes: which ones merge, and which become tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

Strides = tuple[int, ...]

TILE = 1024  # elements that a program works on at a time: 8 a thread
_LANES = 32  # slices side by side where these, not their elements, are neighbours in memory
_PROGRAMS = 512  # enough to fill a GPU; sums over a group are cut into no more parts than that
_MIN_STEPS = 4  # members of a group that are worth a partial sum


@dataclass(frozen=True)
class Layout:
    """Axes in the order (outer…, group, lane, reduced…), each of them one or more of the shape.

    `axes` lists the original axes that make up each one, none where it has length 1 by default.
    """

    axes: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    outer: int  # how many outer axes
    block_s: int
    block_r: int

    @property
    def lanes(self) -> int:
        """Length of the axis of which a tile takes several slices."""
        return self.sizes[self.outer + 1]

    @property
    def group(self) -> int:
        """Length of the axis over which a program goes step by step."""
        return self.sizes[self.outer]

    @property
    def reduced(self) -> tuple[int, ...]:
        """Lengths of the softmax axes."""
        return self.sizes[self.outer + 2 :]

    @property
    def n(self) -> int:
        """Elements of a slice."""
        return math.prod(self.reduced)

    @property
    def lane_blocks(self) -> int:
        """Tiles side by side."""
        return -(-self.lanes // self.block_s)

    @property
    def forward_programs(self) -> int:
        """Tiles of slices."""
        return math.prod(self.sizes[: self.outer + 1]) * self.lane_blocks

    @property
    def one_block(self) -> bool:
        """Whether a slice fits into a tile."""
        return self.n <= self.block_r

    @property
    def backward_programs(self) -> int:
        """Tiles of elements, apart from the group."""
        blocks = -(-self.n // self.block_r)
        return math.prod(self.sizes[: self.outer]) * self.lane_blocks * blocks

    def strides(self, strides: Strides) -> Strides:
        """Return a tensor's strides along the layout's axes."""
        return tuple(strides[axes[-1]] if axes else 0 for axes in self.axes)

    def steps(self, summed: bool) -> int:
        """Members of the group that one program of the backward goes through."""
        if not summed:
            return 1
        parts = min(-(-_PROGRAMS // self.backward_programs), -(-self.group // _MIN_STEPS))
        return -(-self.group // max(1, parts))


@lru_cache(maxsize=4096)
def make_layout(
    shape: tuple[int, ...],
    softmax_axes: tuple[int, ...],
    strides: tuple[Strides, ...],
    broadcast: tuple[tuple[bool, ...], ...] = (),
) -> Layout:
    """Choose the layout for tensors of `strides` along the axes of `shape`.

    `broadcast` says for each gradient along which axes it is summed: these don't merge with
    others, and the axis with the most sums becomes the group.
    """
    order = sorted(range(len(shape)), key=lambda d: -max(s[d] for s in strides))
    order = [d for d in order if shape[d] != 1]
    rules = (shape, strides, broadcast)
    kept = _merge([d for d in order if d not in softmax_axes], *rules)
    reduced = _merge([d for d in order if d in softmax_axes], *rules)
    n = math.prod(shape[d] for d in softmax_axes)
    innermost = bool(reduced) and order[-1] in reduced[-1]
    lane = _choose_lane(kept, shape, n, innermost)
    rest = [axes for axes in kept if axes != lane]
    group = max(rest, key=lambda axes: _sums(axes, broadcast), default=())
    if not any(b[d] for b in broadcast for d in group):
        group = ()
    outer = [axes for axes in rest if axes != group] or [()]
    axes = (*outer, group, lane, *(reduced or [()]))
    sizes = tuple(math.prod(shape[d] for d in merged) for merged in axes)
    return Layout(axes, sizes, len(outer), *_blocks(sizes[len(outer) + 1], n, innermost))


def _merge(
    axes: Sequence[int],
    shape: tuple[int, ...],
    strides: tuple[Strides, ...],
    broadcast: tuple[tuple[bool, ...], ...],
) -> list[tuple[int, ...]]:
    """Join neighbours that every tensor goes through as if they were one axis."""
    merged: list[tuple[int, ...]] = []
    for d in axes:
        before = merged[-1][-1] if merged else None
        if (
            before is not None
            and all(s[before] == s[d] * shape[d] for s in strides)
            and all(b[before] == b[d] for b in broadcast)
        ):
            merged[-1] += (d,)
        else:
            merged.append((d,))
    return merged


def _choose_lane(
    kept: list[tuple[int, ...]], shape: tuple[int, ...], n: int, innermost: bool
) -> tuple[int, ...]:
    """Return the axis of which a tile takes several slices; none if one slice makes a tile."""
    if not kept or (innermost and n >= TILE // 4):
        return ()
    last = kept[-1]
    if math.prod(shape[d] for d in last) >= 8:
        return last
    return max(kept, key=lambda axes: math.prod(shape[d] for d in axes))


def _sums(axes: tuple[int, ...], broadcast: tuple[tuple[bool, ...], ...]) -> int:
    return sum(b[axes[0]] for b in broadcast)


def _blocks(lanes: int, n: int, innermost: bool) -> tuple[int, int]:
    """Slices and elements of a tile, both powers of 2."""
    rows, columns = power_of_2(lanes), power_of_2(n)
    if innermost:
        columns = min(columns, TILE)
        return min(rows, TILE // columns), columns
    rows = min(rows, max(_LANES, TILE // columns))
    return rows, min(columns, TILE // rows)


def power_of_2(n: int) -> int:
    """Return the smallest power of 2 that is not below `n`."""
    return 1 << max(n - 1, 0).bit_length()
