"""Element-wise attention on torch tensors: the Rust kernels, or PyTorch operations."""

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
    q, k, v = _arguments.promote(q=q, k=k, v=v)
    shape = _arguments.broadcast_shape(q=q, k=k, v=v)
    axes = _arguments.normalize_axes(axis, shape)
    scale = _arguments.default_scale(scale, shape, axes)
    mask = _arguments.check_mask(mask, q, shape)
    a: Tensor | None
    if _arguments.choose_backend(backend, q) == "torch":
        y, a = composite(q, k, v, mask, axes, scale)
    elif needs_grad(q, k, v, mask):
        y, a = ElementwiseAttention.apply(q, k, v, mask, shape, axes, scale, return_weights)
    else:
        y, a, _ = forward((q, k, v, mask), shape, axes, scale, return_weights)
    if out is not None:
        y = _arguments.write_out(out, y, q, k, v, mask)
    return y if a is None or not return_weights else (y, a)


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


def forward(
    inputs: Sequence[Tensor | None],
    shape: torch.Size,
    axes: list[int],
    scale: float,
    return_weights: bool,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Output, weights and statistics by the Rust kernels."""
    y = _arguments.empty_result(shape, *inputs[:3])  # type: ignore[arg-type]
    a = torch.empty_like(y) if return_weights else None
    stats = statistics(y, axes)
    _core.elementwise_attention_forward(inputs, axes, scale, False, (y, a, stats))
    return y, a, stats


class ElementwiseAttention(torch.autograd.Function):
    """The Rust kernels. Saved for the backward: the inputs and two numbers a slice."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor | None]:  # noqa: D102
        inputs, (shape, axes, scale, return_weights) = arguments[:4], arguments[4:]
        y, a, stats = forward(inputs, shape, axes, scale, return_weights)
        ctx.save_for_backward(*inputs, stats)
        ctx.settings = (axes, scale)
        return y, a

    @staticmethod
    def backward(  # noqa: D102
        ctx: Any, grad_y: Tensor, grad_a: Tensor | None
    ) -> tuple[Any, ...]:
        *inputs, stats = ctx.saved_tensors
        axes, scale = ctx.settings
        wanted = ctx.needs_input_grad[:4]
        if torch.is_grad_enabled():
            gradients = differentiable_gradients(
                composite, inputs, wanted, grad_y, grad_a, axes, scale
            )
        else:
            gradients = empty_gradients(inputs, wanted)
            saved = (grad_y, grad_a, stats)
            _core.elementwise_attention_backward(inputs, axes, scale, False, saved, gradients)
        return *gradients, None, None, None, None


def empty_gradients(inputs: Sequence[Tensor | None], wanted: Sequence[bool]) -> list[Tensor | None]:
    """Uninitialised gradients of the inputs that want one."""
    pairs = zip(inputs, wanted, strict=True)
    return [torch.empty_like(t) if want and t is not None else None for t, want in pairs]


def statistics(y: Tensor, axes: Sequence[int]) -> Tensor:
    """Two uninitialised numbers for each slice of `y`, in the type computed in."""
    shape = list(y.shape)
    for d in axes:
        shape[d] = 1
    dtype = torch.float64 if y.dtype is torch.float64 else torch.float32
    return torch.empty((2, *shape), dtype=dtype)


def needs_grad(*tensors: Tensor | None) -> bool:
    """Whether autograd has to know about a call with these arguments."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def differentiable_gradients(
    function: Any,
    inputs: Sequence[Tensor | None],
    wanted: Sequence[bool],
    grad_y: Tensor,
    grad_a: Tensor | None,
    *settings: Any,
) -> list[Tensor | None]:
    """Gradients that can be differentiated again (create_graph=True), by PyTorch operations."""
    y, a = function(*inputs, *settings)
    pairs = [(y, grad_y)] if grad_a is None else [(y, grad_y), (a, grad_a)]
    outputs, grads = zip(*pairs, strict=True)
    sources = [t for t, want in zip(inputs, wanted, strict=True) if want and t is not None]
    found = iter(torch.autograd.grad(outputs, sources, grads, create_graph=True, allow_unused=True))
    return [next(found) if want else None for want in wanted]
