"""The Rust kernels on torch tensors, and which tensors they may look into."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.compiler import is_compiling

import ewa_rs._core as core

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors

_PLAIN = (Tensor, torch.nn.Parameter)
_has_storage = torch._C._has_storage


class Rust:
    """The kernels of one op. They check what they are given, and make their results."""

    def __init__(self, name: str) -> None:
        self._forward: Callable[..., tuple[Tensor, ...]] = getattr(core, f"{name}_forward")
        self._backward: Callable[..., Sequence[Tensor | None]] = getattr(core, f"{name}_backward")

    def forward(
        self, inputs: Tensors, settings: Sequence[Any], requests: Sequence[bool]
    ) -> tuple[Tensor | None, ...]:
        """All outputs, None where one is not asked for."""
        return self._forward(inputs, *settings, *requests)

    def backward(
        self,
        inputs: Tensors,
        settings: Sequence[Any],
        upstream: Tensors,
        saved: Sequence[Tensor],
        wanted: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        """Gradients of the inputs that want one."""
        return self._backward(inputs, *settings, *upstream, *saved, wanted)


def is_eager(tensors: Iterable[Tensor | None]) -> bool:
    """Whether plain tensors meet no transform or mode: kernels may look into their memory."""
    if (
        is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
        or torch._C._get_tracing_state() is not None
        or forward_ad._current_level >= 0
    ):
        return False
    for t in tensors:  # a generator would take longer
        if t is not None and (type(t) not in _PLAIN or not _has_storage(t) or t.is_neg()):
            return False
    return True
