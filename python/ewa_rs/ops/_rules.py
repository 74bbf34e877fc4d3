"""What a registered op does on a device, without data, under autograd, vmap and autocast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch._functorch.autograd_function import (  # type: ignore[attr-defined]
    enable_single_level_autograd_function,
)
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

from ewa_rs.ops import _arguments
from ewa_rs.ops._kernels import triton_takes
from ewa_rs.ops._results import empty_gradients, statistics

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors


class Registrable(Protocol):
    """What the rules need of an op."""

    name: str
    names: tuple[str, ...]
    formula: Callable[..., tuple[Tensor, Tensor]]
    gradient_formula: Callable[..., list[Tensor | None]]
    rust: Any

    def kernels(self, backend: str) -> Any:
        """Return what has a `forward` and a `backward`."""

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


class Rules:
    """The rules of one op and of its backward."""

    op: Any
    op_backward: Any

    def __init__(self, operator: Registrable) -> None:
        self.operator = operator
        self.names = operator.names

    def split(self, arguments: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Split arguments into inputs, settings and the rest."""
        n = len(self.names)
        return arguments[:n], arguments[n : n + 3], arguments[n + 3 :]

    def check(self, inputs: Tensors, axes: Sequence[int]) -> torch.Size:
        """Return the common shape of inputs that the kernels can take."""
        given = {n: t for n, t in zip(self.names, inputs, strict=True) if t is not None}
        first: Any = inputs[0]
        for name, t in given.items():
            if t.dtype != first.dtype and not (name == "mask" and t.dtype == torch.bool):
                raise TypeError(f"{name}: expected the type {first.dtype}, got {t.dtype}")
        _arguments.check_devices(**given)
        shape = _arguments.broadcast_shape(self.names[:-1], inputs[:-1])
        _arguments.normalize_axes(tuple(axes), shape)
        _arguments.check_mask(inputs[-1], first, shape)
        return shape

    def scaled(self, inputs: Tensors, settings: Any) -> tuple[torch.Size, Any]:
        """Return the common shape, and settings with a scale."""
        axes, scale, residual = settings
        shape = self.check(inputs, axes)
        return shape, (axes, _arguments.default_scale(scale, shape, axes), residual)

    def rust(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Compute with the kernels."""
        return self.by_kernels(self.operator.rust, arguments)

    def by_kernels(self, kernels: Any, arguments: Sequence[Any]) -> tuple[Tensor, ...]:
        """Compute with the kernels in Rust or Triton."""
        inputs, settings, (return_weights,) = self.split(arguments)
        shape, settings = self.scaled(inputs, settings)
        y, a, kept = kernels.forward(inputs, shape, *settings, return_weights)
        return y, y.new_empty(0) if a is None else a, kept

    def fake(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Only the shapes and strides."""
        inputs, settings, (return_weights,) = self.split(arguments)
        shape = self.check(inputs, settings[0])
        y = _arguments.empty_result(shape, *inputs[:-1])
        a = torch.empty_like(y) if return_weights else y.new_empty(0)
        return y, a, statistics(y, shape, settings[0])

    def composite(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Compute with PyTorch operations, whose derivatives PyTorch knows."""
        inputs, settings, (return_weights,) = self.split(arguments)
        shape, settings = self.scaled(inputs, settings)
        y, a = self.operator.formula(*inputs, *settings)
        kept = torch.zeros_like(statistics(y, shape, settings[0]))  # the gradients do without
        return y, a if return_weights else y.new_empty(0), kept

    def device(self, *arguments: Any) -> tuple[Tensor, ...]:
        """Compute with Triton, or with PyTorch operations in the strides that `fake` says."""
        if triton_takes(arguments[0].device, arguments[0].dtype):
            return self.by_kernels(self.operator.kernels("triton"), arguments)
        return laid_out(self.composite(*arguments), self.fake(*arguments))

    def rust_backward(self, *arguments: Any) -> list[Tensor]:
        """Compute with the kernels."""
        return self.backward_by_kernels(self.operator.rust, arguments)

    def backward_by_kernels(self, kernels: Any, arguments: Sequence[Any]) -> list[Tensor]:
        """Compute with the kernels in Rust or Triton."""
        inputs, settings, (grad_y, grad_a, kept, wanted) = self.split(arguments)
        shape, settings = self.scaled(inputs, settings)
        for name, t in (("grad_y", grad_y), ("grad_a", grad_a)):
            if t is not None and (t.shape != shape or t.dtype != inputs[0].dtype):
                raise ValueError(
                    f"{name}: expected shape {tuple(shape)} and {inputs[0].dtype}, "
                    f"got {tuple(t.shape)} and {t.dtype}"
                )
        found = kernels.backward(inputs, *settings, grad_y, grad_a, kept, wanted)
        return [t for t in found if t is not None]

    def fake_backward(self, *arguments: Any) -> list[Tensor]:
        """Only the shapes and strides."""
        inputs, _, (*_, wanted) = self.split(arguments)
        return [t for t in empty_gradients(inputs, wanted) if t is not None]

    def composite_backward(self, *arguments: Any) -> list[Tensor]:
        """Compute with PyTorch operations, whose derivatives PyTorch knows."""
        inputs, settings, (grad_y, grad_a, _, wanted) = self.split(arguments)
        _, settings = self.scaled(inputs, settings)
        found = self.operator.gradient_formula(inputs, *settings, grad_y, grad_a, wanted)
        return [t for t in found if t is not None]

    def device_backward(self, *arguments: Any) -> list[Tensor]:
        """Compute with Triton, or with PyTorch operations in the strides that `fake` says."""
        if triton_takes(arguments[0].device, arguments[0].dtype):
            return self.backward_by_kernels(self.operator.kernels("triton"), arguments)
        return list(laid_out(self.composite_backward(*arguments), self.fake_backward(*arguments)))

    def autograd(self, keyset: Any, *arguments: Any) -> tuple[Tensor, ...]:
        """Remember what the backward needs; forward-mode derivatives are those of the formula."""
        inputs, settings, (return_weights,) = self.split(arguments)
        if has_tangents(inputs):
            return self.composite(*arguments)
        if wants_gradients(inputs):
            with enable_single_level_autograd_function():  # this level's; the dispatcher has others
                given = Traced.apply(  # type: ignore[attr-defined]
                    self, keyset, settings, return_weights, *inputs
                )
            return given  # type: ignore[no-any-return]
        return below_autograd(self.op, keyset, arguments)  # type: ignore[no-any-return]

    def autograd_backward(self, keyset: Any, *arguments: Any) -> list[Tensor]:
        """Compute below autograd; derivatives of derivatives are those of the formula."""
        tensors = [t for t in arguments if isinstance(t, Tensor)]
        if has_tangents(tensors) or wants_gradients(tensors):
            return self.composite_backward(*arguments)
        return below_autograd(self.op_backward, keyset, arguments)  # type: ignore[no-any-return]

    def vmap(self, info: Any, in_dims: Any, *arguments: Any) -> tuple[Any, Any]:
        """Run once, with the batch as the first axis."""
        inputs, (axes, *settings), (return_weights,) = self.split(arguments)
        placed = _batch_first(inputs, in_dims)
        if all(d is None for d in in_dims[: len(inputs) - 1]):  # a mask does not enlarge the result
            placed[0] = _expanded(placed[0], info.batch_size)
        results = self.op(*placed, [d + 1 for d in axes], *settings, return_weights)
        return results, (0, 0 if return_weights else None, 1)

    def vmap_backward(self, info: Any, in_dims: Any, *arguments: Any) -> tuple[Any, Any]:
        """Run once; every gradient has the batch as its first axis."""
        inputs, (axes, *settings), (grad_y, grad_a, kept, wanted) = self.split(arguments)
        size, dims = info.batch_size, self.split(in_dims)[2]
        placed = [_expanded(t, size) for t in _batch_first(inputs, in_dims)]
        grads = [_expanded(t, size) for t in _batch_first((grad_y, grad_a), dims)]
        kept = kept.unsqueeze(1) if dims[2] is None else kept.movedim(dims[2], 1)
        kept = kept.expand(2, size, *kept.shape[2:])
        axes = [d + 1 for d in axes]
        found = self.op_backward(*placed, axes, *settings, *grads, kept, wanted)
        shapes = [
            t.shape if d is None else t.movedim(d, 0).shape[1:]
            for t, d, want in zip(inputs, in_dims, wanted, strict=False)
            if want
        ]
        results = [g.reshape(size, *shape) for g, shape in zip(found, shapes, strict=True)]
        return results, [0] * len(results)

    def autocast(self, key: torch._C.DispatchKey) -> Callable[..., Any]:
        """Cast the inputs to the type of autocast, except with one in float64."""

        def cast(*arguments: Any) -> Any:
            inputs, settings, rest = self.split(arguments)
            given = [t for t in inputs[:-1] if t is not None]
            dtype = _arguments.common_dtype(given)
            inputs = [t if t is None or t.dtype == torch.bool else t.to(dtype) for t in inputs]
            with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key)):
                return self.op(*inputs, *settings, *rest)

        return cast


class Traced(_SingleLevelFunction):
    """A call through the dispatcher, which may be one of several levels of transforms."""

    @staticmethod
    def forward(ctx: Any, rules: Rules, keyset: Any, settings: Any, *rest: Any) -> Any:
        return_weights, *inputs = rest
        # A Function's forward runs without gradients, which the levels below may want.
        with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
            outputs = below_autograd(rules.op, keyset, (*inputs, *settings, return_weights))
        ctx.save_for_backward(*inputs, outputs[2])
        ctx.mark_non_differentiable(*outputs[2:] if return_weights else outputs[1:])
        ctx.set_materialize_grads(False)
        ctx.operator, ctx.settings = rules.operator, settings
        return outputs

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor | None, grad_a: Tensor | None, _: Any) -> Any:
        *inputs, kept = ctx.saved_tensors
        wanted = ctx.needs_input_grad[4:]
        gradients = ctx.operator.gradients(inputs, ctx.settings, grad_y, grad_a, kept, wanted)
        return None, None, None, None, *gradients


def below_autograd(op: Any, keyset: Any, arguments: Sequence[Any]) -> Any:
    """Call what is registered below autograd."""
    with torch._C._AutoDispatchBelowAutograd():
        return op.redispatch(keyset & torch._C._after_autograd_keyset, *arguments)


def wants_gradients(tensors: Tensors) -> bool:
    """Whether autograd is to remember a call with these tensors."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def has_tangents(tensors: Tensors) -> bool:
    """Whether one of the tensors has a forward-mode derivative."""
    level = forward_ad._current_level
    if level < 0:
        return False
    return any(t is not None and torch._unpack_dual(t, level=level)[1] is not None for t in tensors)


def laid_out(results: Sequence[Tensor], likes: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the results in the strides of others."""
    return tuple(
        t if t.stride() == like.stride() else like.copy_(t)
        for t, like in zip(results, likes, strict=True)
    )


def _batch_first(tensors: Tensors, dims: Sequence[int | None]) -> list[Any]:
    """Put the batch, or an axis of length 1, in front of as many axes as the others have."""
    pairs = list(zip(tensors, dims, strict=False))
    ndim = max(t.ndim - (d is not None) for t, d in pairs if t is not None)
    placed: list[Tensor | None] = []
    for t, d in pairs:
        if t is not None:
            t = t.unsqueeze(0) if d is None else t.movedim(d, 0)
            t = t[(slice(None), *[None] * (ndim + 1 - t.ndim))]
        placed.append(t)
    return placed


def _expanded(t: Tensor | None, size: int) -> Tensor | None:
    return None if t is None else t.expand(size, *t.shape[1:])
