"""Attention pooling on torch tensors: which code runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import _SingleLevelFunction

from ewa_rs.ops import _arguments
from ewa_rs.ops._backends import choose_backend
from ewa_rs.ops._operator import is_eager
from ewa_rs.ops.elementwise_attention_pool2d import registration
from ewa_rs.ops.elementwise_attention_pool2d.formula import formula, laid_out

if TYPE_CHECKING:
    from ewa_rs.ops.elementwise_attention_pool2d.window import Pair

NAMES = ("x", "w")


def elementwise_attention_pool2d(
    x: Tensor,
    w: Tensor,
    kernel_size: Pair | None = None,
    stride: Pair | None = None,
    backend: str | None = None,
) -> Tensor:
    """Compute on tensors; see `ewa_rs.elementwise_attention_pool2d`."""
    x, w = _arguments.promote(NAMES, (x, w), 2)
    sizes = (list(kernel_size or ()), list(stride or ()))
    backend = chosen_backend(backend, x)
    if backend == "torch":
        return laid_out(formula(x, w, *sizes), x)
    if not is_eager((x, w)):
        return registration.OP(x, w, *sizes)  # type: ignore[no-any-return]
    if torch.is_grad_enabled() and (x.requires_grad or w.requires_grad):
        return _Eager.apply(x, w, *sizes)  # type: ignore[attr-defined,no-any-return]
    return registration.run(x, w, *sizes)


def chosen_backend(backend: str | None, x: Tensor) -> str:
    """Return 'rust' or 'torch': there are no Triton kernels."""
    if backend == "triton":
        raise ValueError(
            "backend: expected None, 'rust' or 'torch', which elementwise_attention_pool2d has, "
            f"got 'triton' for tensors on {x.device}: CUDA is left to PyTorch operations"
        )
    chosen = choose_backend(backend, x)
    return "torch" if chosen == "triton" else chosen


class _Eager(_SingleLevelFunction):
    """An eager call of the kernels, which saves x and w."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, kernel: list[int], stride: list[int]) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.sizes = kernel, stride
        return registration.run(x, w, kernel, stride)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        wanted = ctx.needs_input_grad[:2]
        (x, w), (kernel, stride) = ctx.saved_tensors, ctx.sizes
        return *registration.gradients(x, w, kernel, stride, grad, wanted), None, None
