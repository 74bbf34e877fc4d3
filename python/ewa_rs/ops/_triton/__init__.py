"""Launches the Triton kernels: CUDA tensors of float32, float16 and bfloat16.

Nothing here waits for the device or depends on what a tensor holds, so calls can be captured in
a CUDA graph. Gradients of broadcast operands are sums in a fixed order, without atomics.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ewa_rs.ops._arguments import default_scale
from ewa_rs.ops._results import empty_result, statistics
from ewa_rs.ops._triton.layout import TILE, Layout, make_layout
from ewa_rs.ops._triton.partial import make_partial, summed_axes

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
CAPABILITY = (7, 5)

# No fusion: the arithmetic that the interpreter has checked; memory is what takes the time.
COMPILER_OPTIONS = {"num_warps": 4, "enable_fp_fusion": False}

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


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
@cache
def takes(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the kernels can be had on this device, for tensors of this type."""
    return dtype in DTYPES and available(device)


class Triton:
    """The kernels of an op along slices; with `project`, of one that multiplies its input first."""

    def __init__(self, *, project: bool) -> None:
        self.project = project

    def forward(
        self, inputs: Tensors, settings: Sequence[Any], requests: Sequence[bool]
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Output, weights if wanted, and of each slice the maximum score and 1 / sum."""
        _check_dtypes(inputs)
        shape = _shape(inputs)
        axes, scale, residual = settings
        y = empty_result(shape, *inputs[:-1])
        a = torch.empty_like(y) if requests[0] else None
        kept = statistics(y, shape, axes)
        if y.numel() == 0:
            return y, a, kept.zero_()
        tensors = [*inputs, y, kept[0]]
        layout, strides = _lay_out(tensors, shape, axes)
        scale = default_scale(scale, shape, axes)
        from ewa_rs.ops._triton import kernels

        _launch(
            kernels.forward_kernel,
            layout.forward_programs,
            y=y,
            a=a,
            output_strides=strides[-2],
            statistics_strides=strides[-1],
            outer_sizes=layout.sizes[: layout.outer + 1],
            RESIDUAL=residual,
            ONE_BLOCK=layout.one_block,
            **_common(inputs, layout, strides, tensors, kept, scale, self.project),
        )
        return y, a, kept

    def backward(
        self,
        inputs: Tensors,
        settings: Sequence[Any],
        upstream: Tensors,
        saved: Sequence[Tensor],
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """Gradients of the inputs that want one, given those of the output and the weights."""
        _check_dtypes(inputs)
        axes, scale, residual = settings
        grad_y, grad_a = upstream
        assert grad_y is not None
        (kept,), shape = saved, grad_y.shape
        scale = default_scale(scale, shape, axes)
        targets = [t if want else None for t, want in zip(inputs, wanted, strict=True)]
        if grad_y.numel() == 0 or not any(wanted):
            return [None if t is None else torch.zeros_like(t) for t in targets]
        sums = [None if t is None else summed_axes(t, shape) for t in targets]
        # A gradient that needs no sum is written as it is, the others by way of partial sums.
        whole = [
            None if t is None or any(s or ()) else torch.empty_like(t)
            for t, s in zip(targets, sums, strict=True)
        ]
        tensors = [*inputs, grad_y, grad_a, kept[0], *whole]
        layout, strides = _lay_out(tensors, shape, axes, tuple(s for s in sums if s and any(s)))
        partial = [make_partial(layout, s) for s in sums]
        steps = layout.steps(any(p is not None and p.summed for p in partial))
        groups = -(-layout.group // steps)
        buffers = [
            w if p is None else p.allocate(layout, groups, grad_y)
            for w, p in zip(whole, partial, strict=True)
        ]
        count = len(inputs)
        common = {
            "grad_y": grad_y,
            "grad_a": grad_a,
            "grad_strides": strides[count : count + 2],
            "statistics_strides": strides[count + 2],
            **_common(inputs, layout, strides, [*tensors, *buffers], kept, scale, self.project),
        }
        from ewa_rs.ops._triton import kernels

        _launch(
            kernels.backward_kernel,
            layout.backward_programs * groups,
            dots=None if layout.one_block else _dots(layout, kept, common),
            gradients=tuple(buffers),
            gradient_strides=tuple(
                s if p is None or b is None else b.stride()
                for s, b, p in zip(strides[count + 3 :], buffers, partial, strict=True)
            ),
            outer_sizes=layout.sizes[: layout.outer],
            group_size=layout.group,
            group_steps=steps,
            scale=scale,
            SUMMED=tuple(p is not None and p.summed for p in partial),
            FOLDED=tuple(p is not None and p.folded for p in partial),
            RESIDUAL=residual,
            **common,
        )
        return [
            b if b is None or p is None or t is None else p.finish(b, layout, t)
            for b, p, t in zip(buffers, partial, targets, strict=True)
        ]


def _shape(inputs: Tensors) -> torch.Size:
    shapes = [t.shape for t in inputs[:-1] if t is not None]
    return torch.Size(torch.broadcast_shapes(*shapes))


def _dots(layout: Layout, statistics: Tensor, common: dict[str, Any]) -> Tensor:
    """Σ a ∘ h of every slice, which the backward of slices longer than a block needs first."""
    from ewa_rs.ops._triton import kernels

    dots = torch.empty_like(statistics[0])
    outer_sizes = layout.sizes[: layout.outer + 1]
    programs = layout.forward_programs
    _launch(kernels.dots_kernel, programs, dots=dots, outer_sizes=outer_sizes, **common)
    return dots


def _lay_out(
    tensors: Sequence[Tensor | None],
    shape: torch.Size,
    axes: Sequence[int],
    broadcast: tuple[tuple[bool, ...], ...] = (),
) -> tuple[Layout, tuple[tuple[int, ...], ...]]:
    """Return the layout, and the strides of each tensor (zeros for None) along its axes."""
    axes = tuple(d % len(shape) for d in axes)
    absent = (0,) * len(shape)
    strides = tuple(absent if t is None else t.expand(shape).stride() for t in tensors)
    layout = make_layout(tuple(shape), axes, strides, broadcast)
    return layout, tuple(layout.strides(s) for s in strides)


def _common(
    inputs: Sequence[Tensor | None],
    layout: Layout,
    strides: tuple[tuple[int, ...], ...],
    tensors: Sequence[Tensor | None],
    statistics: Tensor,
    scale: float,
    project: bool,
) -> dict[str, Any]:
    """Return the arguments that every kernel takes."""
    import triton.language as tl

    mask = inputs[-1]
    boolean = mask is not None and mask.dtype is torch.bool
    far = max(_extent(t) for t in tensors if t is not None)
    return {
        "inputs": (*inputs[:-1], mask.view(torch.uint8) if mask is not None and boolean else mask),
        "input_strides": strides[: len(inputs)],
        "top": statistics[0],
        "inverse": statistics[1],
        "lanes": layout.lanes,
        "reduced_sizes": layout.reduced,
        "n": layout.n,
        "score_scale": scale * _LOG2E,
        "PROJECT": project,
        "BOOLEAN": boolean,
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


def _launch(kernel: Any, programs: int, **arguments: Any) -> None:
    with torch.cuda.device_of(arguments["top"]):
        kernel[(programs,)](**arguments, **COMPILER_OPTIONS)
