"""Attention pooling registered with torch.library, for all that is not a plain eager call.

`ewa_rs::elementwise_attention_pool2d(x, w, kernel_size, stride) -> y` and
`ewa_rs::elementwise_attention_pool2d_backward(x, w, kernel_size, stride, grad, wanted)`, which
gives the wanted gradients. No kernel size is the whole image, no stride the kernel size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._functorch.autograd_function import (  # type: ignore[attr-defined]
    enable_single_level_autograd_function,
)
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

from ewa_rs import _core
from ewa_rs.ops import _arguments, _library, _rules
from ewa_rs.ops._operator import is_eager
from ewa_rs.ops.elementwise_attention_pool2d import formula as formulas

Sizes = list[int]
_SCHEMA = "(Tensor x, Tensor w, int[] kernel_size, int[] stride"
OP = _library.define(f"elementwise_attention_pool2d{_SCHEMA}) -> Tensor")
OP_BACKWARD = _library.define(
    f"elementwise_attention_pool2d_backward{_SCHEMA}, Tensor grad, bool[] wanted) -> Tensor[]"
)


def run(x: Tensor, w: Tensor, kernel: Sizes, stride: Sizes) -> Tensor:
    """Output by the Rust kernels."""
    y = formulas.empty_output(x, w, kernel, stride)
    _core.elementwise_attention_pool2d_forward((x, w), kernel or None, stride or None, y)
    return y


def run_backward(
    x: Tensor,
    w: Tensor,
    kernel: Sizes,
    stride: Sizes,
    grad: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of x and w, as far as wanted, by the Rust kernels."""
    found = [torch.empty_like(t) if want else None for t, want in zip((x, w), wanted, strict=True)]
    sizes = (kernel or None, stride or None)
    _core.elementwise_attention_pool2d_backward((x, w), *sizes, grad, found)
    return found


def gradients(
    x: Tensor,
    w: Tensor,
    kernel: Sizes,
    stride: Sizes,
    grad: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of x and w, as far as wanted, by what fits the tensors."""
    plain = x.is_cpu and not torch.is_grad_enabled() and is_eager((x, w, grad))
    if plain:
        return run_backward(x, w, kernel, stride, grad, wanted)
    given = iter(OP_BACKWARD(x, w, kernel, stride, grad, wanted))
    return [next(given) if want else None for want in wanted]


def check(x: Tensor, w: Tensor, grad: Tensor | None = None) -> None:
    """Raise an error unless the tensors have one type and are on one device."""
    given = {"x": x, "w": w} | ({} if grad is None else {"grad": grad})
    _arguments.check_devices(**given)
    for name, t in given.items():
        if t.dtype != x.dtype:
            raise TypeError(f"{name}: expected the type {x.dtype}, got {t.dtype}")


def rust(x: Tensor, w: Tensor, kernel: Sizes, stride: Sizes) -> Tensor:
    """Compute with the kernels."""
    check(x, w)
    return run(x, w, kernel, stride)


def fake(x: Tensor, w: Tensor, kernel: Sizes, stride: Sizes) -> Tensor:
    """Only the shape and strides."""
    check(x, w)
    return formulas.empty_output(x, w, kernel, stride)


def composite(x: Tensor, w: Tensor, kernel: Sizes, stride: Sizes) -> Tensor:
    """Compute with PyTorch operations, whose derivatives PyTorch knows."""
    check(x, w)
    return formulas.formula(x, w, kernel, stride)


def device(x: Tensor, w: Tensor, kernel: Sizes, stride: Sizes) -> Tensor:
    """Compute with PyTorch operations, in the strides that `fake` says."""
    return formulas.laid_out(composite(x, w, kernel, stride), x)


def vmap(info: Any, in_dims: Any, x: Tensor, w: Tensor, kernel: Sizes, stride: Sizes) -> Any:
    """Run once: as more images, or as more channels if each has a w of its own."""
    if in_dims[1] is None:
        return OP(x.movedim(in_dims[0], 0), w, kernel, stride), 0
    size = info.batch_size
    y = OP(_more_channels(x, in_dims[0], size), _first(w, in_dims[1], size), kernel, stride)
    return y.unflatten(-3, (size, -1)), y.ndim - 3


def _more_channels(t: Tensor, d: int | None, size: int) -> Tensor:
    """Put the batch before the channels, and make one axis of the two."""
    if d is None:
        t = t.unsqueeze(-4).expand(*t.shape[:-3], size, *t.shape[-3:])
    else:
        t = t.movedim(d, -4)
    return t.flatten(-4, -3)


def _first(w: Tensor, d: int | None, size: int) -> Tensor:
    """Put the batch before the channels of w, and make one axis of the two."""
    w = w.expand(size, *w.shape) if d is None else w.movedim(d, 0)
    return w.flatten(0, 1)


def autograd(keyset: Any, x: Tensor, w: Tensor, kernel: Sizes, stride: Sizes) -> Tensor:
    """Remember x and w; forward-mode derivatives are those of the formula."""
    if _rules.has_tangents((x, w)):
        return composite(x, w, kernel, stride)
    if _rules.wants_gradients((x, w)):
        with enable_single_level_autograd_function():  # this level's; the dispatcher has others
            return _Traced.apply(keyset, x, w, kernel, stride)  # type: ignore[attr-defined,no-any-return]
    return _rules.below_autograd(OP, keyset, (x, w, kernel, stride))  # type: ignore[no-any-return]


class _Traced(_SingleLevelFunction):
    """A call through the dispatcher, which may be one of several levels of transforms."""

    @staticmethod
    def forward(ctx: Any, keyset: Any, x: Tensor, w: Tensor, *sizes: Sizes) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.sizes = sizes
        # A Function's forward runs without gradients, which the levels below may want.
        with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
            return _rules.below_autograd(OP, keyset, (x, w, *sizes))  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        wanted = ctx.needs_input_grad[1:3]
        (x, w), (kernel, stride) = ctx.saved_tensors, ctx.sizes
        found = gradients(x, w, kernel, stride, grad, wanted)
        return None, *found, None, None


def rust_backward(*arguments: Any) -> list[Tensor]:
    """Compute with the kernels."""
    x, w, _, _, grad, _ = arguments
    check(x, w, grad)
    return [t for t in run_backward(*arguments) if t is not None]


def fake_backward(
    x: Tensor, w: Tensor, kernel: Sizes, stride: Sizes, grad: Tensor, wanted: Sequence[bool]
) -> list[Tensor]:
    """Only the shapes and strides."""
    return [torch.empty_like(t) for t, want in zip((x, w), wanted, strict=True) if want]


def composite_backward(*arguments: Any) -> list[Tensor]:
    """Compute with PyTorch operations, whose derivatives PyTorch knows."""
    x, w, _, _, grad, _ = arguments
    check(x, w, grad)
    return formulas.gradient_formula(*arguments)


def device_backward(*arguments: Any) -> list[Tensor]:
    """Compute with PyTorch operations, in the strides that `fake_backward` says."""
    likes = fake_backward(*arguments)
    return list(_rules.laid_out(composite_backward(*arguments), likes))


def autograd_backward(keyset: Any, *arguments: Any) -> list[Tensor]:
    """Compute below autograd; derivatives of derivatives are those of the formula."""
    tensors = [t for t in arguments if isinstance(t, Tensor)]
    if _rules.has_tangents(tensors) or _rules.wants_gradients(tensors):
        return composite_backward(*arguments)
    return _rules.below_autograd(OP_BACKWARD, keyset, arguments)  # type: ignore[no-any-return]


def vmap_backward(info: Any, in_dims: Any, *arguments: Any) -> tuple[Any, Any]:
    """Run once, the batch being more channels, so that each has a gradient of w of its own."""
    x, w, kernel, stride, grad, wanted = arguments
    size = info.batch_size
    x, grad = (_more_channels(t, in_dims[i], size) for i, t in ((0, x), (4, grad)))
    found = iter(OP_BACKWARD(x, _first(w, in_dims[1], size), kernel, stride, grad, wanted))
    results, dims = [], []
    for want, axis in zip(wanted, (x.ndim - 3, 0), strict=True):
        if want:
            results.append(next(found).unflatten(axis, (size, -1)))
            dims.append(axis)
    return results, dims


def autocast(key: torch._C.DispatchKey) -> Callable[..., Tensor]:
    """Cast x and w to the type of autocast, except with one in float64."""

    def cast(x: Tensor, w: Tensor, kernel: Sizes, stride: Sizes) -> Tensor:
        dtype = _arguments.common_dtype((x, w))
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key)):
            return OP(x.to(dtype), w.to(dtype), kernel, stride)  # type: ignore[no-any-return]

    return cast


_library.implement(OP, rust, device, composite, fake, autograd, vmap)
_library.implement(
    OP_BACKWARD,
    rust_backward,
    device_backward,
    composite_backward,
    fake_backward,
    autograd_backward,
    vmap_backward,
)
_library.implement_autocast(OP, autocast)
