"""Element-wise self-attention on torch tensors: the formula, and the op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ewa_rs.ops import _formula
from ewa_rs.ops._attention import Attention, AttentionOperator

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors


def formula(
    x: Tensor,
    w_q: Tensor,
    w_k: Tensor,
    w_v: Tensor,
    b_q: Tensor | None,
    b_k: Tensor | None,
    b_v: Tensor | None,
    mask: Tensor | None,
    axes: Sequence[int],
    scale: float,
    residual: bool = False,
) -> tuple[Tensor, Tensor]:
    """Output and weights in PyTorch operations, for any device; float32 inside for 16 bits."""
    (wide,) = _formula.widened(x)
    q, k, v = projections((x, w_q, w_k, w_v, b_q, b_k, b_v))
    y, a = _formula.attend(q, k, v, mask, axes, scale)
    return (y + wide if residual else y).to(x.dtype), a.to(x.dtype)


def projections(inputs: Tensors) -> list[Tensor]:
    """q, k and v, in the type to compute in."""
    x, *arrays = (None if t is None else _formula.widened(t)[0] for t in inputs)
    return [
        x * w if b is None else x * w + b  # type: ignore[operator]
        for w, b in zip(arrays[:3], arrays[3:], strict=True)
    ]


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
    q, k, v = projections(operands)
    dz, dv = _formula.score_gradients(q, k, v, mask, axes, scale, grad_y, grad_a)
    dq, dk = scale * dz * k, scale * dz * q
    x, w_q, w_k, w_v = _formula.widened(*operands[:4])  # type: ignore[arg-type]

    def dx() -> Tensor:
        total = dq * w_q + dk * w_k + dv * w_v
        return total + grad_y.to(total.dtype) if residual else total

    full: list[Callable[[], Tensor]] = [dx, lambda: dq * x, lambda: dk * x, lambda: dv * x]
    full += [lambda: dq, lambda: dk, lambda: dv, lambda: dz]
    return [
        None if t is None or not want else _formula.summed(gradient(), t)
        for t, want, gradient in zip(inputs, wanted, full, strict=True)
    ]


OPERATOR = AttentionOperator(
    Attention("elementwise_self_attention", formula, gradient_formula, project=True)
)
