"""An op on torch tensors: which code runs, and its gradients.

An eager call on plain tensors goes straight to the kernels. Everything else (tracing, transforms,
modes, subclasses) goes through the op that `_library` registers with torch.library.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

from ewa_rs.ops import _arguments, _library
from ewa_rs.ops._backends import choose_backend
from ewa_rs.ops._kernels import Rust

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors

_PLAIN = (Tensor, torch.nn.Parameter)
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_STRIDED = torch.strided
_has_storage = torch._C._has_storage
_any_requires_grad: Callable[..., bool] = torch._C._any_requires_grad


class Operator:
    """An op of tensors of the given names, the last of which is the mask.

    `formula` gives output and weights in PyTorch operations, and `gradient_formula` the gradients;
    both can be differentiated. The kernels compute the same.
    """

    def __init__(
        self,
        name: str,
        names: Sequence[str],
        formula: Callable[..., tuple[Tensor, Tensor]],
        gradient_formula: Callable[..., list[Tensor | None]],
    ) -> None:
        self.name = name
        self.names = tuple(names)
        self.formula = formula
        self.gradient_formula = gradient_formula
        self.rust = Rust(name)
        self.registered, self.registered_backward = _library.register(self)

    def __call__(
        self,
        inputs: Tensors,
        mask: Tensor | None,
        axis: int | Sequence[int],
        scale: float | None,
        residual: bool,
        out: Tensor | None,
        return_weights: bool,
        backend: str | None,
    ) -> Any:
        """Check the arguments and run the backend that is chosen."""
        if is_usual(inputs):
            promoted: list[Any] = list(inputs)
            shape = promoted[0].shape
        else:
            names = self.names[:-1]
            promoted = _arguments.promote(names, inputs)
            shape = _arguments.broadcast_shape(names, promoted)
        axes = _arguments.normalize_axes(axis, shape)
        scale = _arguments.check_scale(scale)
        if mask is not None:
            mask = _arguments.check_mask(mask, promoted[0], shape)
        promoted.append(mask)
        chosen = choose_backend(backend, promoted[0])
        y, a = self.run(chosen, promoted, shape, (axes, scale, residual), return_weights)
        if out is not None:
            y = _arguments.write_out(out, y, *promoted)
        return (y, a) if return_weights else y

    def run(
        self, backend: str, inputs: Tensors, shape: torch.Size, settings: Any, return_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Output and weights by a backend."""
        if backend != "torch" and not is_eager(inputs):
            y, a, _ = self.registered(*inputs, *settings, return_weights)
            return y, a
        axes, scale, residual = settings
        settings = (axes, _arguments.default_scale(scale, shape, axes), residual)
        if backend == "torch":
            y, a = self.formula(*inputs, *settings)
        elif torch.is_grad_enabled() and _any_requires_grad(*inputs):
            call = (self, self.kernels(backend), shape, settings, return_weights)
            y, a = Eager.apply(call, *inputs)  # type: ignore[attr-defined]
        else:
            kernels = self.kernels(backend)
            without = (False,) if backend == "rust" else ()  # nothing is kept for a backward
            y, a, _ = kernels.forward(inputs, shape, *settings, return_weights, *without)
        return y, a

    def kernels(self, backend: str) -> Any:
        """Return what has a `forward` and a `backward`."""
        if backend == "rust":
            return self.rust
        return importlib.import_module(f"ewa_rs.ops.{self.name}.triton")

    def gradients(
        self,
        inputs: Tensors,
        settings: Any,
        grad_y: Tensor | None,
        grad_a: Tensor | None,
        statistics: Tensor,
        wanted: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        """Gradients of the inputs that want one."""
        if grad_y is None:
            if grad_a is None:
                return [None] * len(inputs)
            grad_y = torch.zeros_like(grad_a)
        backend = choose_backend(None, grad_y)
        plain = backend != "torch" and not torch.is_grad_enabled()
        if plain and is_eager((*inputs, grad_y, grad_a)):
            kernels = self.kernels(backend)
            axes, scale, residual = settings
            scale = _arguments.default_scale(scale, grad_y.shape, axes)
            saved = (grad_y, grad_a, statistics)
            found = kernels.backward(inputs, axes, scale, residual, *saved, wanted)
            return found  # type: ignore[no-any-return]
        wanted = [want and t is not None for t, want in zip(inputs, wanted, strict=True)]
        arguments = (*inputs, *settings, grad_y, grad_a, statistics, wanted)
        given = iter(self.registered_backward(*arguments))
        return [next(given) if want else None for want in wanted]


def is_eager(tensors: Iterable[Tensor | None]) -> bool:
    """Whether plain tensors meet no transform or mode: the kernels may look into their memory."""
    if (
        torch.compiler.is_compiling()
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


def is_usual(inputs: Tensors) -> bool:
    """Whether there is nothing to promote or to broadcast but to the first input's shape.

    What the checks of `_arguments` would find out in three times the time.
    """
    first: Any = inputs[0]
    dtype = first.dtype
    if (
        torch.compiler.is_compiling()
        or dtype not in _FLOATS
        or not first.is_cpu
        or first.is_nested
        or torch.is_autocast_enabled("cpu")
    ):
        return False
    shape = first.shape
    for t in inputs:
        if t is not None:
            if t.dtype is not dtype or not t.is_cpu or t.layout is not _STRIDED:
                return False
            sizes = t.shape
            if sizes != shape and sizes != shape[len(shape) - len(sizes) :]:
                return False
    return True


class Eager(_SingleLevelFunction):
    """An eager call of the kernels. Saved for the backward: the inputs and two numbers a slice."""

    @staticmethod
    def forward(ctx: Any, call: Any, *inputs: Tensor | None) -> Any:
        operator, kernels, shape, settings, return_weights = call
        y, a, statistics = kernels.forward(inputs, shape, *settings, return_weights)
        ctx.save_for_backward(*inputs, statistics)
        ctx.set_materialize_grads(False)
        ctx.operator, ctx.kernels, ctx.settings = operator, kernels, settings
        return y, a

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor | None, grad_a: Tensor | None) -> Any:
        *inputs, statistics = ctx.saved_tensors
        wanted = ctx.needs_input_grad[1:]
        saved = (grad_y, grad_a, statistics)
        if grad_y is not None and not torch.is_grad_enabled() and is_eager((grad_y, grad_a)):
            gradients = ctx.kernels.backward(inputs, *ctx.settings, *saved, wanted)
        else:
            gradients = ctx.operator.gradients(inputs, ctx.settings, *saved, wanted)
        return None, *gradients
