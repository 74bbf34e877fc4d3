"""Element-wise self-attention on torch tensors: the fused Rust kernels, or PyTorch operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ewa_rs import _core
from ewa_rs.ops import _arguments
from ewa_rs.ops.elementwise_attention import torch as elementwise_attention


def elementwise_self_attention(
    x: Tensor,
    w_q: Tensor,
    w_k: Tensor,
    w_v: Tensor,
    b_q: Tensor | None = None,
    b_k: Tensor | None = None,
    b_v: Tensor | None = None,
    axis: int | Sequence[int] = -1,
    scale: float | None = None,
    mask: Tensor | None = None,
    out: Tensor | None = None,
    return_weights: bool = False,
    backend: str | None = None,
    residual: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Check the arguments and run the chosen backend; see `ewa_rs.elementwise_self_attention`.

    With `residual`, x is added to the output in the same pass.
    """
    inputs = {"x": x, "w_q": w_q, "w_k": w_k, "w_v": w_v, "b_q": b_q, "b_k": b_k, "b_v": b_v}
    promoted = _arguments.promote(**inputs)
    shape = _arguments.broadcast_shape(**inputs)
    axes = _arguments.normalize_axes(axis, shape)
    scale = _arguments.default_scale(scale, shape, axes)
    mask = _arguments.check_mask(mask, promoted[0], shape)
    settings = (axes, scale, residual)
    a: Tensor | None
    if _arguments.choose_backend(backend, x) == "torch":
        y, a = composite(*promoted, mask, *settings)  # type: ignore[call-arg]
    elif elementwise_attention.needs_grad(*promoted, mask):
        y, a = ElementwiseSelfAttention.apply(*promoted, mask, shape, *settings, return_weights)
    else:
        y, a, _ = forward((*promoted, mask), shape, *settings, return_weights)
    if out is not None:
        y = _arguments.write_out(out, y, *promoted, mask)
    return y if a is None or not return_weights else (y, a)


def composite(
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
    dtype = x.dtype
    compute = torch.promote_types(dtype, torch.float32)
    x = x.to(compute)
    q, k, v = (
        x * w.to(compute) if b is None else x * w.to(compute) + b.to(compute)
        for w, b in ((w_q, b_q), (w_k, b_k), (w_v, b_v))
    )
    y, a = elementwise_attention.composite(q, k, v, mask, axes, scale)
    return (y + x if residual else y).to(dtype), a.to(dtype)


def forward(
    inputs: Sequence[Tensor | None],
    shape: torch.Size,
    axes: list[int],
    scale: float,
    residual: bool,
    return_weights: bool,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Output, weights and statistics by the fused Rust kernels."""
    y = _arguments.empty_result(shape, inputs[0])  # type: ignore[arg-type]
    a = torch.empty_like(y) if return_weights else None
    stats = elementwise_attention.statistics(y, axes)
    _core.elementwise_self_attention_forward(inputs, axes, scale, residual, (y, a, stats))
    return y, a, stats


class ElementwiseSelfAttention(torch.autograd.Function):
    """The fused Rust kernels. Saved for the backward: the inputs and two numbers a slice."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor | None]:  # noqa: D102
        inputs, (shape, *settings, return_weights) = arguments[:8], arguments[8:]
        y, a, stats = forward(inputs, shape, *settings, return_weights)  # type: ignore[call-arg]
        ctx.save_for_backward(*inputs, stats)
        ctx.settings = settings
        return y, a

    @staticmethod
    def backward(  # noqa: D102
        ctx: Any, grad_y: Tensor, grad_a: Tensor | None
    ) -> tuple[Any, ...]:
        *inputs, stats = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:8]
        if torch.is_grad_enabled():
            gradients = elementwise_attention.differentiable_gradients(
                composite, inputs, wanted, grad_y, grad_a, *ctx.settings
            )
        else:
            gradients = elementwise_attention.empty_gradients(inputs, wanted)
            saved = (grad_y, grad_a, stats)
            axes, scale, residual = ctx.settings
            _core.elementwise_self_attention_backward(
                inputs, axes, scale, residual, saved, gradients
            )
        return *gradients, None, None, None, None, None
