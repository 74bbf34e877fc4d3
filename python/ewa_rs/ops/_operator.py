"""An op on torch tensors: which code runs, and its gradients.

An eager call on plain tensors on the CPU goes straight to Rust, which looks at them and calls the
kernels; one on CUDA goes to Triton. Everything else (tracing, transforms, modes, subclasses) goes
through the op that `_library` registers with torch.library.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction
from torch.compiler import is_compiling

from ewa_rs import _core
from ewa_rs._core import EagerCall
from ewa_rs.ops import _arguments, _library
from ewa_rs.ops._backends import choose_backend
from ewa_rs.ops._kernels import Rust

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors

_PLAIN = (Tensor, torch.nn.Parameter)
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
        required: int,
        formula: Callable[..., tuple[Tensor, Tensor]],
        gradient_formula: Callable[..., list[Tensor | None]],
    ) -> None:
        self.name = name
        self.names, self.required = tuple(names), required
        self.formula = formula
        self.gradient_formula = gradient_formula
        self.rust = Rust(name)
        self._eager: Callable[..., Any] = getattr(_core, f"{name}_eager")
        self.registered, self.registered_backward = _library.register(self)

    def call(
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
        """Compute in Rust if nothing is out of the ordinary, or check what is.

        With `residual`, the first input is added to the output in the same pass.
        """
        if (backend is None or backend == "rust") and not is_compiling():
            found = self._eager(inputs, mask, axis, scale, residual, return_weights, False, out)
            if type(found) is EagerCall:
                return Eager.apply(self, found, *inputs, mask)  # type: ignore[attr-defined]
            if found is not None:
                if out is not None and not out.is_inference():
                    torch.autograd.graph.increment_version(out)  # autograd is not there to see
                return found
        names = self.names[:-1]
        promoted = _arguments.promote(names, inputs, self.required)
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
        axes, scale, residual = settings
        if backend == "rust" and not is_compiling():
            *operands, mask = inputs
            asked = (tuple(axes), scale, residual, return_weights)
            found = self._eager(tuple(operands), mask, *asked, True, None)
            if type(found) is EagerCall:
                found = Eager.apply(self, found, *inputs)  # type: ignore[attr-defined]
            if found is not None:
                return found if return_weights else (found, None)
        if backend == "rust" or (backend == "triton" and not is_eager(inputs)):
            y, a, _ = self.registered(*inputs, *settings, return_weights)
            return y, a
        settings = (axes, _arguments.default_scale(scale, shape, axes), residual)
        if backend == "torch":
            y, a = self.formula(*inputs, *settings)
        elif torch.is_grad_enabled() and _any_requires_grad(*inputs):
            call = (self, self.kernels(backend), shape, settings, return_weights)
            y, a = Launched.apply(call, *inputs)  # type: ignore[attr-defined]
        else:
            y, a, _ = self.kernels(backend).forward(inputs, shape, *settings, return_weights)
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


class Eager(_SingleLevelFunction):
    """A call of Rust's kernels. Saved for the backward: the inputs, and two numbers a slice."""

    @staticmethod
    def forward(ctx: Any, operator: Operator, call: Any, *inputs: Tensor | None) -> Any:
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        ctx.operator, ctx.call = operator, call
        return call.forward(inputs)

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor | None, grad_a: Tensor | None = None) -> Any:
        call, inputs, wanted = ctx.call, ctx.saved_tensors, ctx.needs_input_grad
        gradients = call.backward(inputs, wanted, grad_y, grad_a)
        if gradients is None:  # not as plain as the inputs were
            saved = (grad_y, grad_a, call.statistics())
            found = ctx.operator.gradients(inputs, call.settings, *saved, wanted[2:])
            gradients = None, None, *found
        return gradients


class Launched(_SingleLevelFunction):
    """A call of Triton's kernels. Saved for the backward: the inputs, and two numbers a slice."""

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
