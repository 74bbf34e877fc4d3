"""The ops that the tests know. An op in `OPS` is tested by being there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
from tests.bounds import attention_bounds, self_attention_bounds

import ewa_rs
from ewa_rs.ops.elementwise_attention import reference as attention
from ewa_rs.ops.elementwise_self_attention import reference as self_attention

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Op:
    """An op and what it is compared with."""

    name: str
    function: Callable[..., Any]
    reference: Callable[..., tuple[Array, Array]]
    reference_grad: Callable[..., dict[str, Array]]
    dot_product_reference: Callable[..., tuple[torch.Tensor, torch.Tensor]]
    bounds: Callable[..., dict[str, Array]]
    operands: tuple[str, ...]
    optional: tuple[str, ...] = ()
    large: float = 100.0  # operands of this size give scores of ±1e4

    def __call__(self, operands: Mapping[str, Any], **options: Any) -> Any:
        return self.call(self.function, operands, **options)

    def call(
        self, function: Callable[..., Any], operands: Mapping[str, Any], **options: Any
    ) -> Any:
        """Call with the required operands by position and the optional ones by name."""
        named = {name: operands[name] for name in self.optional if name in operands}
        return function(*(operands[name] for name in self.operands), **named, **options)


OPS = {
    op.name: op
    for op in (
        Op(
            name="elementwise_attention",
            function=ewa_rs.elementwise_attention,
            reference=attention.reference,
            reference_grad=attention.reference_grad,
            dot_product_reference=attention.dot_product_reference,
            bounds=attention_bounds,
            operands=("q", "k", "v"),
        ),
        Op(
            name="elementwise_self_attention",
            function=ewa_rs.elementwise_self_attention,
            reference=self_attention.reference,
            reference_grad=self_attention.reference_grad,
            dot_product_reference=self_attention.dot_product_reference,
            bounds=self_attention_bounds,
            operands=("x", "w_q", "w_k", "w_v"),
            optional=("b_q", "b_k", "b_v"),
            large=10.0,
        ),
    )
}
