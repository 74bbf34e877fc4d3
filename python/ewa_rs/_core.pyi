"""The compiled module: the kernels in Rust and their number of threads."""

from collections.abc import Sequence
from typing import Any, final

import torch

__all__ = [
    "OPS",
    "Definition",
    "EagerCall",
    "Input",
    "Output",
    "Setting",
    "__version__",
    "available_simd",
    "elementwise_attention",
    "elementwise_attention_backward",
    "elementwise_attention_eager",
    "elementwise_attention_forward",
    "elementwise_attention_pool2d",
    "elementwise_attention_pool2d_backward",
    "elementwise_attention_pool2d_forward",
    "elementwise_self_attention",
    "elementwise_self_attention_backward",
    "elementwise_self_attention_eager",
    "elementwise_self_attention_forward",
    "get_num_threads",
    "set_num_threads",
    "simd",
    "stream",
]

__version__: str

@final
class Input:
    name: str
    optional: bool
    is_mask: bool
    differentiable: bool

@final
class Setting:
    name: str
    schema: str
    default: bool | tuple[int, ...] | None

@final
class Output:
    name: str
    gradient: str | None
    requested_by: str | None
    saved: bool

@final
class Definition:
    name: str
    inputs: tuple[Input, ...]
    settings: tuple[Setting, ...]
    outputs: tuple[Output, ...]
    eager: bool

OPS: tuple[Definition, ...]

def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def simd() -> str: ...
def available_simd() -> list[str]: ...
def stream(reads: Sequence[Any], writes: Sequence[Any]) -> None: ...

_Operands = tuple[Any, ...]
_Tensors = Sequence[torch.Tensor | None]
_Axis = int | Sequence[int]

def elementwise_attention(
    operands: _Operands,
    axis: _Axis,
    scale: float | None = None,
    mask: Any = None,
    out: Any = None,
    return_weights: bool = False,
) -> Any: ...
def elementwise_self_attention(
    operands: _Operands,
    axis: _Axis,
    scale: float | None = None,
    mask: Any = None,
    out: Any = None,
    return_weights: bool = False,
) -> Any: ...

@final
class EagerCall:
    outputs: tuple[torch.Tensor, ...] | None
    settings: tuple[list[int], float, bool]
    def forward(self, inputs: _Tensors) -> tuple[torch.Tensor, ...]: ...
    def backward(
        self,
        inputs: _Tensors,
        wanted: Sequence[bool],
        grad_y: torch.Tensor | None,
        grad_a: torch.Tensor | None,
    ) -> tuple[torch.Tensor | None, ...] | None: ...
    def statistics(self) -> torch.Tensor: ...

def elementwise_attention_eager(
    operands: _Tensors,
    mask: torch.Tensor | None,
    axis: _Axis,
    scale: float | None,
    residual: bool,
    return_weights: bool,
    out: torch.Tensor | None,
    *,
    cast: bool = False,
) -> EagerCall | None: ...
def elementwise_self_attention_eager(
    operands: _Tensors,
    mask: torch.Tensor | None,
    axis: _Axis,
    scale: float | None,
    residual: bool,
    return_weights: bool,
    out: torch.Tensor | None,
    *,
    cast: bool = False,
) -> EagerCall | None: ...
def elementwise_attention_forward(
    inputs: _Tensors,
    axes: Sequence[int],
    scale: float | None,
    residual: bool,
    return_weights: bool,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]: ...
def elementwise_self_attention_forward(
    inputs: _Tensors,
    axes: Sequence[int],
    scale: float | None,
    residual: bool,
    return_weights: bool,
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]: ...
def elementwise_attention_backward(
    inputs: _Tensors,
    axes: Sequence[int],
    scale: float | None,
    residual: bool,
    grad_y: torch.Tensor,
    grad_a: torch.Tensor | None,
    statistics: torch.Tensor,
    wanted: Sequence[bool],
) -> list[torch.Tensor | None]: ...
def elementwise_self_attention_backward(
    inputs: _Tensors,
    axes: Sequence[int],
    scale: float | None,
    residual: bool,
    grad_y: torch.Tensor,
    grad_a: torch.Tensor | None,
    statistics: torch.Tensor,
    wanted: Sequence[bool],
) -> list[torch.Tensor | None]: ...

_Pair = Sequence[int] | None

def elementwise_attention_pool2d(operands: _Operands, kernel_size: _Pair, stride: _Pair) -> Any: ...
def elementwise_attention_pool2d_forward(
    inputs: Sequence[torch.Tensor], kernel_size: Sequence[int], stride: Sequence[int]
) -> tuple[torch.Tensor]: ...
def elementwise_attention_pool2d_backward(
    inputs: Sequence[torch.Tensor],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    grad: torch.Tensor,
    wanted: Sequence[bool],
) -> list[torch.Tensor | None]: ...
