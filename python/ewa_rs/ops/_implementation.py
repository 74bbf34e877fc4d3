"""What an op brings for torch tensors beside its definition, for the rules to be written once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from ewa_rs.ops._arguments import check_devices, dtype_name
from ewa_rs.ops._definition import Definition
from ewa_rs.ops._rust import Rust

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors

Batched: TypeAlias = "Sequence[tuple[Tensor | None, int | None]]"


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

    def check_types(self, inputs: Tensors) -> None:
        """Raise an error unless inputs are of one floating-point type, on one device."""
        first: Any = inputs[0]
        given: dict[str, Tensor] = {}
        for of_op, t in zip(self.definition.inputs, inputs, strict=True):
            if t is None:
                continue
            given[of_op.name] = t
            if of_op.is_mask and t.dtype == torch.bool:
                continue
            if not t.dtype.is_floating_point:
                raise TypeError(
                    f"{of_op.name}: expected float16, bfloat16, float32 or float64, "
                    f"got {dtype_name(t)}"
                )
            if t.dtype != first.dtype:
                raise TypeError(f"{of_op.name}: expected the type {first.dtype}, got {t.dtype}")
        check_devices(**given)

    def check_wanted(self, inputs: Tensors, wanted: Sequence[bool]) -> None:
        """Raise a ValueError where a gradient is wanted of what has none: a boolean mask."""
        if len(wanted) != len(inputs):
            count = len(inputs)
            raise ValueError(f"wanted: expected {count} bools, one an input, got {len(wanted)}")
        for of_op, t, want in zip(self.definition.inputs, inputs, wanted, strict=True):
            if want and t is not None and not (of_op.differentiable and t.is_floating_point()):
                raise ValueError(
                    f"wanted: expected False for {of_op.name}, which has no gradient, got True"
                )

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
    def vmap(self, op: Any, size: int, batched: Batched, *rest: Any) -> tuple[Any, Any]:
        """Run `op` once for a batch, and give the outputs and their dims.

        `batched` has inputs with the dims at which they have the batch; `rest`: settings, requests.
        """

    @abstractmethod
    def vmap_backward(self, op: Any, size: int, batched: Batched, *rest: Any) -> tuple[Any, Any]:
        """Run `op`, the backward; `rest`: settings, what follows them with its dims, wanted."""


@dataclass(frozen=True)
class Registered:
    """An op and its backward in torch.library, and what they compute."""

    implementation: Implementation
    op: Any
    op_backward: Any
