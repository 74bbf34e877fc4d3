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
    @property
    def name(self) -> str: ...
    @property
    def optional(self) -> bool: ...
    @property
    def is_mask(self) -> bool: ...
    @property
    def differentiable(self) -> bool: ...

@final
class Setting:
    @property
    def name(self) -> str: ...
    @property
    def schema(self) -> str: ...
    @property
    def default(self) -> bool | tuple[int, ...] | None: ...

@final
class Output:
    @property
    def name(self) -> str: ...
    @property
    def gradient(self) -> str | None: ...
    @property
    def requested_by(self) -> str | None: ...
    @property
    def saved(self) -> bool: ...

@final
class Definition:
    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> tuple[Input, ...]: ...
    @property
    def settings(self) -> tuple[Setting, ...]: ...
    @property
    def outputs(self) -> tuple[Output, ...]: ...
    @property
    def eager(self) -> bool: ...

OPS: tuple[Definition, ...]

def set_num_threads(n: int) -> None: ...
def get_num_threads() -> int: ...
def simd() -> str: ...
def available_simd() -> list[str]: ...
def stream(reads: Sequence[Any], writes: Sequence[Any]) -> None: ...
def elementwise_attention(
    q: Any,
    k: Any,
    v: Any,
    axis: int | Sequence[int],
    scale: float | None = None,
    mask: Any = None,
    out: Any = None,
    return_weights: bool = False,
) -> Any: ...
def elementwise_self_attention(
    x: Any,
    w_q: Any,
    w_k: Any,
    w_v: Any,
    b_q: Any,
    b_k: Any,
    b_v: Any,
    axis: int | Sequence[int],
    scale: float | None = None,
    mask: Any = None,
    out: Any = None,
    return_weights: bool = False,
) -> Any: ...

_Tensors = Sequence[torch.Tensor | None]

@final
class EagerCall:
    settings: tuple[list[int], float, bool]
    def forward(self, inputs: _Tensors) -> Any: ...
    def backward(
        self,
        inputs: _Tensors,
        wanted: Sequence[bool],
        grad_y: torch.Tensor | None,
        grad_a: torch.Tensor | None,
    ) -> _Tensors | None: ...
    def statistics(self) -> torch.Tensor: ...

def elementwise_attention_eager(
    inputs: _Tensors,
    mask: torch.Tensor | None,
    axis: int | Sequence[int],
    scale: float | None,
    residual: bool,
    return_weights: bool,
    cast: bool,
    out: torch.Tensor | None,
) -> Any: ...
def elementwise_self_attention_eager(
    inputs: _Tensors,
    mask: torch.Tensor | None,
    axis: int | Sequence[int],
    scale: float | None,
    residual: bool,
    return_weights: bool,
    cast: bool,
    out: torch.Tensor | None,
) -> Any: ...
def elementwise_attention_forward(
    inputs: _Tensors, axes: Sequence[int], scale: float, residual: bool, outputs: _Tensors
) -> None: ...
def elementwise_attention_backward(
    inputs: _Tensors,
    axes: Sequence[int],
    scale: float,
    residual: bool,
    saved: _Tensors,
    gradients: _Tensors,
) -> None: ...
def elementwise_self_attention_forward(
    inputs: _Tensors, axes: Sequence[int], scale: float, residual: bool, outputs: _Tensors
) -> None: ...
def elementwise_self_attention_backward(
    inputs: _Tensors,
    axes: Sequence[int],
    scale: float,
    residual: bool,
    saved: _Tensors,
    gradients: _Tensors,
) -> None: ...

_Pair = Sequence[int] | None

def elementwise_attention_pool2d(x: Any, w: Any, kernel_size: _Pair, stride: _Pair) -> Any: ...
def elementwise_attention_pool2d_forward(
    inputs: Sequence[torch.Tensor], kernel_size: _Pair, stride: _Pair, y: torch.Tensor
) -> None: ...
def elementwise_attention_pool2d_backward(
    inputs: Sequence[torch.Tensor],
    kernel_size: _Pair,
    stride: _Pair,
    grad: torch.Tensor,
    gradients: _Tensors,
) -> None: ...
