"""Element-wise attention on torch tensors: the formula, and the op that has it or kernels run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ewa_rs.ops._attention import Attention, AttentionOperator
from ewa_rs.ops._formula import attend, score_gradients, summed, widened

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors


def formula(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    axes: Sequence[int],
    scale: float,
    residual: bool = False,
) -> tuple[Tensor, Tensor]:
    """Output and weights in PyTorch operations, for any device; float32 inside for 16 bits."""
    dtype = q.dtype
    q, k, v = widened(q, k, v)
    y, a = attend(q, k, v, mask, axes, scale)
    return y.to(dtype), a.to(dtype)


def gradient_formula(
    inputs: Tensors,
    axes: Sequence[int],
    scale: float,
    residual: bool,
    grad_y: Tensor,
    grad_a: Tensor | None,
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of the inputs in PyTorch operations, to be differentiated again."""
    *operands, mask = inputs
    q, k, v = widened(*operands)  # type: ignore[arg-type]
    dz, dv = score_gradients(q, k, v, mask, axes, scale, grad_y, grad_a)
    full: list[Callable[[], Tensor]]
    full = [lambda: scale * dz * k, lambda: scale * dz * q, lambda: dv, lambda: dz]
    return [
        None if t is None or not want else summed(gradient(), t)
        for t, want, gradient in zip(inputs, wanted, full, strict=True)
    ]


OPERATOR = AttentionOperator(
    Attention("elementwise_attention", formula, gradient_formula, project=False)
)
