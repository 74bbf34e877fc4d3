"""Launches the Triton kernels: CUDA tensors of float32, float16 and bfloat16.

Nothing here waits for the device or depends on what a tensor holds, so calls can be captured in
a CUDA graph. Gradients of broadcast operands are sums in a fixed order, without atomics.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ewa_rs.ops import _arguments
from ewa_rs.ops._triton_layout import TILE, Layout, make_layout

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
CAPABILITY = (7, 5)

_LOG2E = 1.4426950408889634


def available(device: torch.device | None = None) -> bool:
    """Whether Triton is there, and a CUDA device (`device`, or the current one) of sm_75 or later.

    The kernels take `DTYPES`; float64 is left to PyTorch operations.
    """
    if importlib.util.find_spec("triton") is None or torch.version.cuda is None:
        return False
    if not torch.cuda.is_available() or (device is not None and device.type != "cuda"):
        return False
    return torch.cuda.get_device_capability(device) >= CAPABILITY


def forward(
    inputs: Sequence[Tensor | None],
    shape: torch.Size,
    axes: Sequence[int],
    scale: float,
    residual: bool,
    return_weights: bool,
    *,
    project: bool,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Output, weights if wanted, and of each slice the maximum score and 1 / sum."""
    _check_dtypes(inputs)
    given = inputs[:1] if project else inputs[:3]
    y = _arguments.empty_result(shape, *given)  # type: ignore[arg-type]
    a = torch.empty_like(y) if return_weights else None
    reduced = [1 if d in axes else n for d, n in enumerate(shape)]
    statistics = y.new_empty((2, *reduced), dtype=torch.float32)
    if y.numel() == 0:
        return y, a, statistics.zero_()
    tensors = [*inputs, y, statistics[0]]
    layout, strides = _lay_out(tensors, shape, axes)
    from ewa_rs.ops import _triton_kernels as kernels

    _launch(
        kernels.forward_kernel, layout.forward_programs, y,
        _pointers(inputs), strides[:-2], y, a, strides[-2], statistics[0], statistics[1],
        strides[-1], layout.sizes[: layout.outer + 1], layout.lanes, layout.reduced, layout.n,
        scale * _LOG2E,
        PROJECT=project, RESIDUAL=residual, ONE_BLOCK=layout.n <= layout.block_r,
        **_options(inputs, layout, tensors),
    )  # fmt: skip
    return y, a, statistics


def backward(
    inputs: Sequence[Tensor | None],
    axes: Sequence[int],
    scale: float,
    residual: bool,
    grad_y: Tensor,
    grad_a: Tensor | None,
    statistics: Tensor,
    wanted: Sequence[bool],
    *,
    project: bool,
) -> list[Tensor | None]:
    """Gradients of the inputs that want one, given those of the output and the weights."""
    _check_dtypes(inputs)
    shape = grad_y.shape
    pairs = list(zip(inputs, wanted, strict=True))
    if grad_y.numel() == 0 or not any(wanted):
        return [torch.zeros_like(t) if want and t is not None else None for t, want in pairs]
    targets = [t if want else None for t, want in pairs]
    sums = [None if t is None else _summed_axes(t, shape) for t in targets]
    # A gradient that needs no sum is written as it is, the others by way of partial sums.
    whole = [None if t is None or any(s or ()) else torch.empty_like(t)
             for t, s in zip(targets, sums, strict=True)]  # fmt: skip
    seen = [*inputs, grad_y, grad_a, statistics[0], *whole]
    layout, strides = _lay_out(seen, shape, axes, tuple(s for s in sums if s and any(s)))
    count = len(inputs)
    partial = [_partial(layout, s) for s in sums]
    steps = layout.steps(any(p is not None and p.summed for p in partial))
    groups = -(-layout.group // steps)
    buffers = [
        w if p is None else p.allocate(layout, groups, grad_y)
        for w, p in zip(whole, partial, strict=True)
    ]
    from ewa_rs.ops import _triton_kernels as kernels

    options = {"PROJECT": project, **_options(inputs, layout, [*seen, *buffers])}
    common = (_pointers(inputs), strides[:count], grad_y, grad_a, strides[count : count + 2])
    dots = None
    if layout.n > layout.block_r:
        dots = torch.empty_like(statistics[0])
        _launch(
            kernels.dots_kernel, layout.forward_programs, grad_y,
            *common, statistics[0], statistics[1], dots, strides[count + 2],
            layout.sizes[: layout.outer + 1], layout.lanes, layout.reduced, layout.n,
            scale * _LOG2E, **options,
        )  # fmt: skip
    blocks = layout.lane_blocks * -(-layout.n // layout.block_r)
    _launch(
        kernels.backward_kernel,
        math.prod(layout.sizes[: layout.outer]) * groups * blocks, grad_y,
        *common, statistics[0], statistics[1], dots, strides[count + 2],
        tuple(buffers),
        tuple(s if b is None or p is None else b.stride()
              for s, b, p in zip(strides[count + 3 :], buffers, partial, strict=True)),
        layout.sizes[: layout.outer], layout.group, steps, layout.lanes, layout.reduced, layout.n,
        scale, scale * _LOG2E,
        SUMMED=tuple(p is not None and p.summed for p in partial),
        FOLDED=tuple(p is not None and p.folded for p in partial),
        RESIDUAL=residual, **options,
    )  # fmt: skip
    return [
        b if b is None or p is None else p.finish(b, layout, t)
        for b, p, (t, _) in zip(buffers, partial, pairs, strict=True)
    ]


@dataclass(frozen=True)
class _Partial:
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
        """Add up what the programs wrote, into the shape and type of the input."""
        over = [i for i, axes in enumerate(layout.axes) if axes and self.axes[axes[0]]]
        left = [d for axes in layout.axes for d in axes if not self.axes[d]]
        missing = len(self.axes) - like.ndim
        total = buffer.sum(over).view([like.shape[d - missing] for d in left])
        order = sorted(range(len(left)), key=left.__getitem__)
        return total.permute(order).reshape(like.shape).to(like.dtype)


def _partial(layout: Layout, sums: tuple[bool, ...] | None) -> _Partial | None:
    if sums is None or not any(sums):
        return None
    group, lane = layout.axes[layout.outer : layout.outer + 2]
    return _Partial(sums, bool(group) and sums[group[0]], bool(lane) and sums[lane[0]])


def _summed_axes(t: Tensor, shape: torch.Size) -> tuple[bool, ...]:
    """Along which axes of `shape` a tensor is broadcast."""
    sizes = (1,) * (len(shape) - t.ndim) + tuple(t.shape)
    return tuple(n != m for n, m in zip(sizes, shape, strict=True))


def _lay_out(
    tensors: Sequence[Tensor | None],
    shape: torch.Size,
    axes: Sequence[int],
    broadcast: tuple[tuple[bool, ...], ...] = (),
) -> tuple[Layout, tuple[tuple[int, ...], ...]]:
    """Return the layout, and the strides of each tensor (zeros for None) along its axes."""
    absent = (0,) * len(shape)
    strides = tuple(absent if t is None else t.expand(shape).stride() for t in tensors)
    layout = make_layout(tuple(shape), tuple(axes), strides, broadcast)
    return layout, tuple(layout.strides(s) for s in strides)


def _pointers(inputs: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    return tuple(
        t.view(torch.uint8) if t is not None and t.dtype is torch.bool else t for t in inputs
    )


def _options(
    inputs: Sequence[Tensor | None], layout: Layout, tensors: Sequence[Tensor | None]
) -> dict[str, Any]:
    import triton.language as tl

    mask = inputs[-1]
    far = max(_extent(t) for t in tensors if t is not None)
    return {
        "BOOLEAN": mask is not None and mask.dtype is torch.bool,
        "BLOCK_S": layout.block_s,
        "BLOCK_R": layout.block_r,
        # A tile may reach beyond the last element.
        "INDEX": tl.int64 if far + TILE >= 2**31 else tl.int32,
    }


def _extent(t: Tensor) -> int:
    """How far from its first element a tensor's last one is."""
    return sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True))


def _check_dtypes(inputs: Sequence[Tensor | None]) -> None:
    found = {t.dtype for t in inputs[:-1] if t is not None}
    if not found <= set(DTYPES):
        names = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in found))
        raise TypeError(
            f"backend: 'triton' takes float32, float16 and bfloat16, got {names}; "
            "use backend='torch'"
        )


def _launch(kernel: Any, programs: int, like: Tensor, *arguments: Any, **options: Any) -> None:
    with torch.cuda.device_of(like):
        kernel[(programs,)](*arguments, **options, num_warps=4)
