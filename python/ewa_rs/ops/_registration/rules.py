"""What a registered op does on each device, without data, and in PyTorch operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ewa_rs.ops._implementation import Implementation
from ewa_rs.ops._results import empty_gradients, laid_out
from ewa_rs.ops._triton import takes


class Forward:
    """The rules of an op."""

    def __init__(self, implementation: Implementation) -> None:
        self.implementation, self.definition = implementation, implementation.definition

    def _checked(self, arguments: Sequence[Any]) -> tuple[Any, Any, Any]:
        inputs, settings, requests = self.definition.split(arguments)
        return inputs, self.implementation.check(inputs, settings), requests

    def rust(self, *arguments: Any) -> Any:
        """Compute with the Rust kernels, which check the arguments."""
        return self._by(self.implementation.rust, *self.definition.split(arguments))

    def _by(self, kernels: Any, inputs: Any, settings: Any, requests: Any) -> Any:
        outputs = kernels.forward(inputs, settings, requests)
        return one_or_all([inputs[0].new_empty(0) if t is None else t for t in outputs])

    def fake(self, *arguments: Any) -> Any:
        """Only the shapes and strides."""
        inputs, settings, requests = self._checked(arguments)
        return one_or_all(self._empty(inputs, settings, requests))

    def _empty(self, inputs: Any, settings: Any, requests: Any) -> list[Tensor]:
        pairs = zip(self.definition.outputs, self.definition.given(requests), strict=True)
        empty = self.implementation.empty_output
        return [
            empty(output.name, inputs, settings) if given else inputs[0].new_empty(0)
            for output, given in pairs
        ]

    def composite(self, *arguments: Any) -> Any:
        """Compute with PyTorch operations, whose derivatives PyTorch knows."""
        return one_or_all(self._composite(*self._checked(arguments)))

    def _composite(self, inputs: Any, settings: Any, requests: Any) -> list[Tensor]:
        outputs = list(self.implementation.formula(inputs, settings))
        for output in self.definition.outputs[len(outputs) :]:  # the gradients do without
            empty = self.implementation.empty_output(output.name, inputs, settings)
            outputs.append(torch.zeros_like(empty))
        given = self.definition.given(requests)
        return [t if g else t.new_empty(0) for t, g in zip(outputs, given, strict=True)]

    def device(self, *arguments: Any) -> Any:
        """Compute with Triton, or with PyTorch operations in the strides that `fake` says."""
        checked = self._checked(arguments)
        if self.implementation.triton is not None and takes(
            arguments[0].device, arguments[0].dtype
        ):
            return self._by(self.implementation.triton, *checked)
        return one_or_all(laid_out(self._composite(*checked), self._empty(*checked)))


class Backward:
    """The rules of an op's backward."""

    def __init__(self, implementation: Implementation) -> None:
        self.implementation, self.definition = implementation, implementation.definition

    def _checked(self, arguments: Sequence[Any]) -> tuple[Any, ...]:
        inputs, settings, rest = self.definition.split(arguments)
        upstream, saved, wanted = self.definition.split_rest(rest)
        settings = self.implementation.check(inputs, settings)
        self.implementation.check_wanted(inputs, wanted)
        self._check_upstream(inputs, settings, upstream)
        return inputs, settings, upstream, saved, wanted

    def _check_upstream(self, inputs: Any, settings: Any, upstream: Any) -> None:
        for output, t in zip(self.definition.differentiable, upstream, strict=True):
            if t is None:
                continue
            shape = self.implementation.output_shape(output.name, inputs, settings)
            if t.shape != shape or t.dtype != inputs[0].dtype:
                raise ValueError(
                    f"{output.gradient}: expected shape {tuple(shape)} and {inputs[0].dtype}, "
                    f"got {tuple(t.shape)} and {t.dtype}"
                )

    def rust(self, *arguments: Any) -> list[Tensor]:
        """Compute with the Rust kernels, which check the arguments."""
        inputs, settings, rest = self.definition.split(arguments)
        upstream, saved, wanted = self.definition.split_rest(rest)
        found = self.implementation.rust.backward(inputs, settings, upstream, saved, wanted)
        return [t for t in found if t is not None]

    def fake(self, *arguments: Any) -> list[Tensor]:
        """Only the shapes and strides."""
        inputs, *_, wanted = self._checked(arguments)
        return [t for t in empty_gradients(inputs, wanted) if t is not None]

    def composite(self, *arguments: Any) -> list[Tensor]:
        """Compute with PyTorch operations, whose derivatives PyTorch knows."""
        inputs, settings, upstream, _, wanted = self._checked(arguments)
        found = self.implementation.gradient_formula(inputs, settings, upstream, wanted)
        return [t for t in found if t is not None]

    def device(self, *arguments: Any) -> list[Tensor]:
        """Compute with Triton, or with PyTorch operations in the strides that `fake` says."""
        triton = self.implementation.triton
        if triton is not None and takes(arguments[0].device, arguments[0].dtype):
            found = triton.backward(*self._checked(arguments))
            return [t for t in found if t is not None]
        return list(laid_out(self.composite(*arguments), self.fake(*arguments)))


def one_or_all(outputs: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
    """Return outputs as torch.library expects them: one is not in a tuple."""
    return outputs[0] if len(outputs) == 1 else tuple(outputs)
