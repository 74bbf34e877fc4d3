"""The ops that the tests know: all of the table. An op in `OPS` is tested by being there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
from tests.bounds import attention_bounds, pool_bounds, self_attention_bounds

import ewa_rs
from ewa_rs.ops._definition import DEFINITIONS, Definition
from ewa_rs.ops.elementwise_attention import reference as attention
from ewa_rs.ops.elementwise_attention_pool2d import reference as pooling
from ewa_rs.ops.elementwise_self_attention import reference as self_attention

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Op:
    """An op and what it is compared with."""

    definition: Definition
    function: Callable[..., Any]
    reference: Callable[..., Any]
    reference_grad: Callable[..., dict[str, Array]]
    dot_product_reference: Callable[..., Any]
    bounds: Callable[..., dict[str, Array]]
    large: float = 100.0  # operands of this size give scores of ±1e4

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def operands(self) -> tuple[str, ...]:
        return self.definition.required

    @property
    def optional(self) -> tuple[str, ...]:
        return self.definition.operands[len(self.operands) :]

    def has(self, setting: str) -> bool:
        """Whether the op has such a setting."""
        return any(setting == each.name for each in self.definition.settings)

    def __call__(self, operands: Mapping[str, Any], **options: Any) -> Any:
        return self.call(self.function, operands, **options)

    def call(
        self, function: Callable[..., Any], operands: Mapping[str, Any], **options: Any
    ) -> Any:
        """Call with the required operands by position and the optional ones by name."""
        named = {name: operands[name] for name in self.optional if name in operands}
        return function(*(operands[name] for name in self.operands), **named, **options)

    def outputs(self, operands: Mapping[str, Any], **options: Any) -> tuple[Any, ...]:
        """All outputs that have gradients, those on request too."""
        return listed(self(operands, **options, **dict.fromkeys(self.definition.requests, True)))


def listed(outputs: Any) -> tuple[torch.Tensor, ...]:
    """Outputs in a tuple, if there is one or several."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _op(name: str, reference: Any, bounds: Callable[..., Any], **settings: Any) -> Op:
    return Op(
        definition=DEFINITIONS[name],
        function=getattr(ewa_rs, name),
        reference=reference.reference,
        reference_grad=reference.reference_grad,
        dot_product_reference=reference.dot_product_reference,
        bounds=bounds,
        **settings,
    )


OPS = {
    op.name: op
    for op in (
        _op("elementwise_attention", attention, attention_bounds),
        _op("elementwise_attention_pool2d", pooling, pool_bounds),
        _op("elementwise_self_attention", self_attention, self_attention_bounds, large=10.0),
    )
}
# The ops whose softmax goes along axes of the result, which have masks, weights and `out`.
ALONG_SLICES = {name: op for name, op in OPS.items() if op.has("axes")}
