"""An op on torch tensors: which code runs.

Kernels in Rust or Triton look into the memory of plain tensors; everything else (tracing,
transforms, modes, subclasses) goes through the op that is registered with torch.library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ewa_rs.ops._eager import Launched
from ewa_rs.ops._implementation import Implementation
from ewa_rs.ops._registration import register
from ewa_rs.ops._rust import is_eager

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors


class Operator:
    """An op that is registered with torch.library."""

    def __init__(self, implementation: Implementation) -> None:
        self.implementation = implementation
        self.names = implementation.definition.names
        self.operands = implementation.definition.operands
        self.required = len(implementation.definition.required)
        self.outputs = len(implementation.definition.differentiable)
        self.registered = register(implementation)

    def run(
        self, backend: str, inputs: Tensors, settings: Sequence[Any], requests: Sequence[bool] = ()
    ) -> Sequence[Tensor | None]:
        """Give the outputs that have gradients, by a backend; inputs and settings are checked."""
        kernels = self.implementation.kernels(backend)
        if kernels is None:
            return self.implementation.formula(inputs, settings)
        if not is_eager(inputs):
            found = self.registered.op(*inputs, *settings, *requests)
            return (found,) if isinstance(found, Tensor) else found[: self.outputs]
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs):
            launch = (self.registered, kernels, settings, requests)
            return Launched.apply(launch, *inputs)  # type: ignore[attr-defined,no-any-return]
        return kernels.forward(inputs, settings, requests)[: self.outputs]  # type: ignore[no-any-return]
