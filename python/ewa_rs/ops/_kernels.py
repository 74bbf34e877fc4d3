"""The Rust kernels on torch tensors; `triton.py` of an op has the same two functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ewa_rs import _core
from ewa_rs.ops import _arguments
from ewa_rs.ops._results import empty_gradients, statistics

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors


class Rust:
    """The kernels of one op."""

    def __init__(self, name: str) -> None:
        self._forward: Callable[..., None] = getattr(_core, f"{name}_forward")
        self._backward: Callable[..., None] = getattr(_core, f"{name}_backward")

    def forward(
        self,
        inputs: Tensors,
        shape: torch.Size,
        axes: Sequence[int],
        scale: float,
        residual: bool,
        return_weights: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Output, weights (if asked for), and what the backward needs beside the inputs."""
        y = _arguments.empty_result(shape, *inputs[:-1])
        a = torch.empty_like(y) if return_weights else None
        kept = statistics(y, shape, axes)
        self._forward(inputs, axes, scale, residual, (y, a, kept))
        return y, a, kept

    def backward(
        self,
        inputs: Tensors,
        axes: Sequence[int],
        scale: float,
        residual: bool,
        grad_y: Tensor,
        grad_a: Tensor | None,
        statistics: Tensor,
        wanted: Sequence[bool],
    ) -> list[Tensor | None]:
        """Gradients of the inputs that want one."""
        gradients = empty_gradients(inputs, wanted)
        self._backward(inputs, axes, scale, residual, (grad_y, grad_a, statistics), gradients)
        return gradients


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
@cache
def triton_takes(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether the Triton kernels can be had on this device, for tensors of this type."""
    from ewa_rs.ops import _triton

    return dtype in _triton.DTYPES and _triton.available(device)
