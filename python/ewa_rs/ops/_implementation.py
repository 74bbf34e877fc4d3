"""What an op brings for torch tensors beside its definition, for the rules to be written once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ewa_rs.ops._definition import Definition
from ewa_rs.ops._rust import Rust

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors


class Implementation(ABC):
    """The formulas and kernels of an op, what its results are like, and how it takes a batch.

    `inputs` and `settings` are those of the definition, in its order; `requests` says which of the
    outputs that are given on request are asked for; `upstream` holds the gradients of the outputs.
    """

    def __init__(self, definition: Definition, triton: Any = None) -> None:
        self.definition = definition
        self.rust = Rust(definition.name)
        self.triton = triton

    def kernels(self, backend: str) -> Any:
        """Return what has a `forward` and a `backward`; None for PyTorch operations."""
        return {"rust": self.rust, "triton": self.triton}.get(backend)

    @abstractmethod
    def check(self, inputs: Tensors, settings: Sequence[Any]) -> tuple[Any, ...]:
        """Raise an error unless all fits together; return the settings in their usual form."""

    @abstractmethod
    def output_shape(self, name: str, inputs: Tensors, settings: Sequence[Any]) -> Sequence[int]:
        """Return the shape of an output that has a gradient."""

    @abstractmethod
    def empty_output(self, name: str, inputs: Tensors, settings: Sequence[Any]) -> Tensor:
        """Return one output, uninitialised."""

    @abstractmethod
    def formula(self, inputs: Tensors, settings: Sequence[Any]) -> tuple[Tensor, ...]:
        """Return the outputs that have gradients, in PyTorch operations that can be derived."""

    @abstractmethod
    def gradient_formula(
        self, inputs: Tensors, settings: Sequence[Any], upstream: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Return the wanted gradients, in PyTorch operations that can be derived."""

    @abstractmethod
    def vmap(
        self,
        op: Any,
        size: int,
        dims: Sequence[int | None],
        inputs: Tensors,
        settings: Sequence[Any],
        requests: Sequence[bool],
    ) -> tuple[Any, Any]:
        """Run `op` once for a batch, which is at `dims` of the inputs; outputs and their dims."""

    @abstractmethod
    def vmap_backward(
        self,
        op: Any,
        size: int,
        dims: Sequence[int | None],
        inputs: Tensors,
        settings: Sequence[Any],
        saved: Sequence[tuple[Tensor | None, int | None]],
        wanted: Sequence[bool],
    ) -> tuple[Any, Any]:
        """Run `op`, the backward, once for a batch; `saved`: what follows the settings."""
