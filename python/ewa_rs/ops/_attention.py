"""The ops softmax(z) ∘ v along slices, on torch tensors: what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

import ewa_rs._core as core
from ewa_rs.ops import _arguments
from ewa_rs.ops._backends import choose_backend
from ewa_rs.ops._definition import DEFINITIONS
from ewa_rs.ops._eager import Eager
from ewa_rs.ops._implementation import Batched, Implementation
from ewa_rs.ops._operator import Operator
from ewa_rs.ops._registration.vmap import batch_first, expanded
from ewa_rs.ops._results import empty_result, statistics, write_out
from ewa_rs.ops._triton import Triton

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors


class Attention(Implementation):
    """An op whose inputs, the last of which is the mask, broadcast against each other.

    `formula` gives output and weights of inputs, axes, scale and residual, and `gradient_formula`
    the gradients. With `project`, Triton's kernels multiply the first input by the others first.
    """

    def __init__(
        self,
        name: str,
        formula: Callable[..., tuple[Tensor, Tensor]],
        gradient_formula: Callable[..., list[Tensor | None]],
        *,
        project: bool,
    ) -> None:
        super().__init__(DEFINITIONS[name], Triton(project=project))
        self._formula, self._gradient_formula = formula, gradient_formula

    def shape(self, inputs: Tensors) -> torch.Size:
        """Return the shape of the result."""
        return _arguments.broadcast_shape(self.definition.operands, inputs[:-1])

    def check(self, inputs: Tensors, settings: Sequence[Any]) -> tuple[Any, ...]:
        """Check types, devices and shapes; axes are counted from the front afterwards."""
        axes, scale, residual = settings
        self.check_types(inputs)
        return self.checked_axes(inputs, tuple(axes)), scale, residual

    def checked_axes(self, inputs: Tensors, axis: int | Sequence[int]) -> list[int]:
        """Check the shapes, and return the axes counted from the front."""
        shape = self.shape(inputs)
        axes = _arguments.normalize_axes(axis, shape)
        _arguments.check_mask(inputs[-1], shape)
        return axes

    def output_shape(self, name: str, inputs: Tensors, settings: Sequence[Any]) -> Sequence[int]:
        """Return the shape that output and weights have."""
        return self.shape(inputs)

    def empty_output(self, name: str, inputs: Tensors, settings: Sequence[Any]) -> Tensor:
        """Return output or weights, in the memory order of an input, or the statistics."""
        shape = self.shape(inputs)
        if name == "statistics":
            first: Any = inputs[0]
            return statistics(first, shape, settings[0])
        return empty_result(shape, *inputs[:-1])

    def formula(self, inputs: Tensors, settings: Sequence[Any]) -> tuple[Tensor, ...]:
        """Return output and weights."""
        return self._formula(*inputs, *self._scaled(inputs, settings))

    def gradient_formula(
        self, inputs: Tensors, settings: Sequence[Any], upstream: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Return the wanted gradients of the inputs."""
        return self._gradient_formula(inputs, *self._scaled(inputs, settings), *upstream, wanted)

    def _scaled(self, inputs: Tensors, settings: Sequence[Any]) -> tuple[Any, ...]:
        axes, scale, residual = settings
        return axes, _arguments.default_scale(scale, self.shape(inputs), axes), residual

    def vmap(self, op: Any, size: int, batched: Batched, *rest: Any) -> tuple[Any, Any]:
        """Run once, with the batch as the first axis."""
        (axes, *settings), requests = rest
        placed = batch_first(batched)
        if all(d is None for _, d in batched[:-1]):  # a mask does not enlarge the result
            placed[0] = expanded(placed[0], size)
        results = op(*placed, [d + 1 for d in axes], *settings, *requests)
        return results, (0, 0 if requests[0] else None, 1)

    def vmap_backward(self, op: Any, size: int, batched: Batched, *rest: Any) -> tuple[Any, Any]:
        """Run once; every gradient has the batch as its first axis."""
        (axes, *settings), (*upstream, (kept, dim)), wanted = rest
        placed = [expanded(t, size) for t in batch_first(batched)]
        grads = [expanded(t, size) for t in batch_first(upstream)]
        kept = kept.unsqueeze(1) if dim is None else kept.movedim(dim, 1)
        kept = kept.expand(2, size, *kept.shape[2:])
        found = op(*placed, [d + 1 for d in axes], *settings, *grads, kept, wanted)
        shapes = [
            t.shape if d is None else t.movedim(d, 0).shape[1:]
            for (t, d), want in zip(batched, wanted, strict=True)
            if want and t is not None
        ]
        results = [g.reshape(size, *shape) for g, shape in zip(found, shapes, strict=True)]
        return results, [0] * len(results)


class AttentionOperator(Operator):
    """Such an op, called with a mask, an axis and a scale."""

    implementation: Attention

    def __init__(self, implementation: Attention) -> None:
        super().__init__(implementation)
        self._eager: Callable[..., core.EagerCall | None]
        self._eager = getattr(core, f"{implementation.definition.name}_eager")

    def call(
        self,
        operands: Tensors,
        mask: Tensor | None,
        axis: int | Sequence[int],
        scale: float | None,
        *,
        residual: bool = False,
        out: Tensor | None = None,
        return_weights: bool = False,
        backend: str | None = None,
    ) -> Any:
        """Compute in Rust if nothing is out of the ordinary, or see to what is.

        With `residual`, the first input is added to the output in the same pass.
        """
        if (backend is None or backend == "rust") and not is_compiling():
            call = self._eager(operands, mask, axis, scale, residual, return_weights, out)
            if call is not None:
                outputs: Any = call.outputs
                if outputs is None:
                    outputs = Eager.apply(self.registered, call, *operands, mask)  # type: ignore[attr-defined]
                if out is not None and not out.is_inference():
                    torch.autograd.graph.increment_version(out)  # autograd is not there to see
                return outputs if return_weights else outputs[0]
        promoted = _arguments.promote(self.operands, operands, self.required)
        mask = _arguments.cast_mask(mask, promoted[0])
        scale = _arguments.check_scale(scale)
        chosen = choose_backend(backend, promoted[0])
        outputs = self._compute(chosen, promoted, mask, axis, scale, residual, return_weights)
        if out is not None:
            outputs = write_out(out, outputs[0], *promoted, mask), *outputs[1:]
        return tuple(outputs) if return_weights else outputs[0]

    def _compute(
        self,
        backend: str,
        operands: list[Any],
        mask: Tensor | None,
        axis: int | Sequence[int],
        scale: float | None,
        residual: bool,
        return_weights: bool,
    ) -> Sequence[Any]:
        """Output and weights of inputs of one type."""
        if backend == "rust" and not is_compiling():
            given = (tuple(operands), mask, axis, scale, residual, return_weights, None)
            call = self._eager(*given, cast=True)
            if call is not None:
                if call.outputs is not None:
                    return call.outputs
                return Eager.apply(self.registered, call, *operands, mask)  # type: ignore[attr-defined,no-any-return]
        inputs = [*operands, mask]
        axes = self.implementation.checked_axes(inputs, axis)
        return self.run(backend, inputs, (axes, scale, residual), (return_weights,))
