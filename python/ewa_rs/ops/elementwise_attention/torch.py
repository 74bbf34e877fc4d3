"""Element-wise attention on torch tensors: the Rust kernels with their backward, or PyTorch operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ewa_rs import _core
from ewa_rs.ops import _arguments


def elementwise_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    axis: int | Sequence[int] = -1,
    scale: float | None = None,
    mask: Tensor | None = None,
    out: Tensor | None = None,
    return_weights: bool = False,
    backend: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Check the arguments and run the chosen backend; see `ewa_rs.elementwise_attention`."""
    q, k, v = _arguments.promote(q=q, k=k, v=v)  # type: ignore[assignment]
    shape = _arguments.broadcast_shape(q=q, k=k, v=v)
    axes = _arguments.normalize_axes(axis, shape)
    scale = _arguments.default_scale(scale, shape, axes)
    mask = _arguments.check_mask(mask, q, shape)
    if _arguments.choose_backend(backend, q) == "rust":
        y, a = ElementwiseAttention.apply(q, k, v, mask, axes, scale, return_weights)
    else:
        y, a = composite(q, k, v, mask, axes, scale)
    y = _arguments.write_out(out, y, q, k, v, mask)
    return (y, a) if return_weights else y


def composite(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    axes: Sequence[int],
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Output and weights in PyTorch operations, for any device; float32 inside for 16 bits."""
    dtype = q.dtype
    compute = torch.promote_types(dtype, torch.float32)
    z = scale * q.to(compute) * k.to(compute)
    shape = torch.broadcast_shapes(z.shape, v.shape)
    if mask is None:
        z = z.expand(shape)
    elif mask.dtype == torch.bool:
        z = torch.where(mask, z, -torch.inf).expand(shape)
    else:
        z = (z + mask.to(compute)).expand(shape)
    a = safe_softmax(z, axes)
    y = torch.where(_keeps_nothing(z, axes), 0.0, a * v.to(compute))
    return y.to(dtype), a.to(dtype)


def safe_softmax(z: Tensor, axes: Sequence[int]) -> Tensor:
    """Softmax over `axes` together; zero where all scores of a slice are −∞."""
    if z.numel() == 0:
        return z
    shift = z.detach().amax(tuple(axes), keepdim=True)
    empty = shift == -torch.inf
    e = torch.exp(z.masked_fill(empty, 0.0) - shift.masked_fill(empty, 0.0)).masked_fill(empty, 0.0)
    return e / e.sum(tuple(axes), keepdim=True).masked_fill(empty, 1.0)


def _keeps_nothing(z: Tensor, axes: Sequence[int]) -> Tensor:
    if z.numel() == 0:
        return torch.zeros_like(z, dtype=torch.bool)
    return z.detach().amax(tuple(axes), keepdim=True) == -torch.inf


class ElementwiseAttention(torch.autograd.Function):
    """The Rust kernels. Saved for the backward: the inputs and two numbers a slice."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        axes: list[int],
        scale: float,
        return_weights: bool,
    ) -> tuple[Tensor, Tensor | None]:
        shape = torch.broadcast_shapes(q.shape, k.shape, v.shape)
        y = _arguments.empty_result(shape, q, k, v)
        a = torch.empty_like(y) if return_weights else None
        maximum, inverse = statistics(y, axes)
        _core.elementwise_attention_forward(
            (q, k, v, mask), axes, scale, False, (y, a, maximum, inverse)
        )
        ctx.save_for_backward(q, k, v, mask, maximum, inverse)
        ctx.settings = (axes, scale)
        return y, a

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor, grad_a: Tensor | None) -> tuple[Any, ...]:
        *inputs, maximum, inverse = ctx.saved_tensors
        axes, scale = ctx.settings
        wanted = ctx.needs_input_grad[:4]
        if torch.is_grad_enabled():
            return *differentiable_gradients(composite, inputs, wanted, grad_y, grad_a, axes, scale), *[None] * 3
        gradients = tuple(
            torch.empty_like(t) if want else None for t, want in zip(inputs, wanted, strict=True)
        )
        saved = (grad_y, grad_a, maximum, inverse)
        _core.elementwise_attention_backward(tuple(inputs), axes, scale, False, saved, gradients)
        return *gradients, None, None, None


def statistics(y: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Two uninitialised numbers a slice of `y`, in the type computed in."""
    shape = [1 if d in axes else size for d, size in enumerate(y.shape)]
    dtype = torch.promote_types(y.dtype, torch.float32)
    return y.new_empty(shape, dtype=dtype), y.new_empty(shape, dtype=dtype)


def differentiable_gradients(
    function: Any,
    inputs: Sequence[Tensor | None],
    wanted: Sequence[bool],
    grad_y: Tensor,
    grad_a: Tensor | None,
    *settings: Any,
) -> list[Tensor | None]:
    """Gradients that can be differentiated again (create_graph=True), through PyTorch operations."""
    y, a = function(*inputs, *settings)
    pairs = [(y, grad_y)] if grad_a is None else [(y, grad_y), (a, grad_a)]
    outputs, grads = zip(*pairs, strict=True)
    sources = [t for t, want in zip(inputs, wanted, strict=True) if want and t is not None]
    found = iter(torch.autograd.grad(outputs, sources, grads, create_graph=True, allow_unused=True))
    return [next(found) if want else None for want in wanted]
