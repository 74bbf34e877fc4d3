"""Attention pooling on torch tensors: what its results are like, and which code runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ewa_rs.ops import _arguments
from ewa_rs.ops._backends import choose_backend
from ewa_rs.ops._definition import DEFINITIONS
from ewa_rs.ops._implementation import Batched, Implementation
from ewa_rs.ops._operator import Operator
from ewa_rs.ops.elementwise_attention_pool2d.formula import (
    formula,
    gradient_formula,
    laid_out,
    memory_format,
)
from ewa_rs.ops.elementwise_attention_pool2d.window import output_shape

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors
    from ewa_rs.ops.elementwise_attention_pool2d.window import Pair


class Pooling(Implementation):
    """Pooling of x by w over windows of a kernel size and a stride; none are the whole image."""

    def check(self, inputs: Tensors, settings: Sequence[Any]) -> tuple[Any, ...]:
        """Check types and devices, shapes and sizes."""
        self.check_types(inputs)
        self.output_shape("y", inputs, settings)
        return tuple(settings)

    def output_shape(self, name: str, inputs: Tensors, settings: Sequence[Any]) -> Sequence[int]:
        """Return the shape of the output."""
        x, w = inputs
        assert x is not None and w is not None
        return output_shape(x.shape, w.shape, *settings)

    def empty_output(self, name: str, inputs: Tensors, settings: Sequence[Any]) -> Tensor:
        """Return the output, channels-last if x is."""
        x: Any = inputs[0]
        shape = self.output_shape(name, inputs, settings)
        order = memory_format(x)
        return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=order)

    def formula(self, inputs: Tensors, settings: Sequence[Any]) -> tuple[Tensor, ...]:
        """Return the output."""
        x, w = inputs
        assert x is not None and w is not None
        return (formula(x, w, *settings),)

    def gradient_formula(
        self, inputs: Tensors, settings: Sequence[Any], upstream: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Return the wanted gradients of x and w."""
        (x, w), (grad,), (kernel, stride) = inputs, upstream, settings
        assert x is not None and w is not None and grad is not None
        return gradient_formula(x, w, kernel, stride, grad, wanted)

    def vmap(self, op: Any, size: int, batched: Batched, *rest: Any) -> tuple[Any, Any]:
        """Run once: as more images, or as more channels if each has a w of its own."""
        (x, d), (w, d_of_w) = batched
        settings, _ = rest
        if d_of_w is None:
            assert x is not None and d is not None
            return op(x.movedim(d, 0), w, *settings), 0
        y = op(_more_channels(x, d, size), _first(w, d_of_w, size), *settings)
        return y.unflatten(-3, (size, -1)), y.ndim - 3

    def vmap_backward(self, op: Any, size: int, batched: Batched, *rest: Any) -> tuple[Any, Any]:
        """Run once, the batch being more channels, so that each has a gradient of w of its own."""
        settings, (upstream,), wanted = rest
        x, grad = (_more_channels(t, d, size) for t, d in (batched[0], upstream))
        found = iter(op(x, _first(*batched[1], size), *settings, grad, wanted))
        results, placed = [], []
        for want, axis in zip(wanted, (x.ndim - 3, 0), strict=True):
            if want:
                results.append(next(found).unflatten(axis, (size, -1)))
                placed.append(axis)
        return results, placed


def _more_channels(t: Tensor | None, d: int | None, size: int) -> Tensor:
    """Put the batch before the channels, and make one axis of the two."""
    assert t is not None
    if d is None:
        t = t.unsqueeze(-4).expand(*t.shape[:-3], size, *t.shape[-3:])
    else:
        t = t.movedim(d, -4)
    return t.flatten(-4, -3)


def _first(w: Tensor | None, d: int | None, size: int) -> Tensor:
    """Put the batch before the channels of w, and make one axis of the two."""
    assert w is not None
    w = w.expand(size, *w.shape) if d is None else w.movedim(d, 0)
    return w.flatten(0, 1)


OPERATOR = Operator(Pooling(DEFINITIONS["elementwise_attention_pool2d"]))


def elementwise_attention_pool2d(
    x: Tensor,
    w: Tensor,
    kernel_size: Pair | None = None,
    stride: Pair | None = None,
    backend: str | None = None,
) -> Tensor:
    """Compute on tensors; see `ewa_rs.elementwise_attention_pool2d`."""
    x, w = _arguments.promote(OPERATOR.names, (x, w), OPERATOR.required)
    sizes = (list(kernel_size or ()), list(stride or ()))
    chosen = chosen_backend(backend, x)
    if chosen == "torch":
        OPERATOR.implementation.check((x, w), sizes)
    (y,) = OPERATOR.run(chosen, (x, w), sizes)
    assert y is not None
    return laid_out(y, x) if chosen == "torch" else y


def chosen_backend(backend: str | None, x: Tensor) -> str:
    """Return 'rust' or 'torch': there are no Triton kernels."""
    if backend == "triton":
        raise ValueError(
            "backend: expected None, 'rust' or 'torch', which elementwise_attention_pool2d has, "
            f"got 'triton' for tensors on {x.device}: CUDA is left to PyTorch operations"
        )
    chosen = choose_backend(backend, x)
    return "torch" if chosen == "triton" else chosen
