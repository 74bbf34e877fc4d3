"""Checks of arguments that the ops share."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Tensors: TypeAlias = Sequence[Tensor | None]


def are_tensors(**arguments: Any) -> bool:
    """Whether the arguments that are there are torch tensors; a TypeError if only some are."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    tensor, found = torch.Tensor, None
    for value in arguments.values():
        if value is not None:
            if found is None:
                found = isinstance(value, tensor)
            elif isinstance(value, tensor) is not found:
                break
    else:
        return bool(found)
    given = {name: value for name, value in arguments.items() if value is not None}
    kinds = ", ".join(f"{name} {_type_name(value)}" for name, value in given.items())
    raise TypeError(f"{kinds}: expected torch tensors or NumPy arrays, not both")


def _type_name(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def check_array_backend(backend: str | None) -> None:
    """Arrays are always computed in Rust."""
    if backend not in (None, "rust"):
        raise ValueError(f"backend: expected None or 'rust' for NumPy arrays, got {backend!r}")


def promote(names: Sequence[str], tensors: Tensors, required: int) -> list[Any]:
    """Return the tensors in their common floating-point type, or in that of autocast.

    The first ones, so many as `required`, have to be there.
    """
    import torch

    for name, t in zip(names[:required], tensors, strict=False):
        if t is None:
            raise TypeError(f"{name}: expected a tensor, got None")
    first: Any = tensors[0]
    dtype, device = first.dtype, first.device
    floats = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    strided = torch.strided
    usual = dtype in floats and not casts_automatically(device.type)
    for t in tensors:
        if t is not None and not (
            usual and t.dtype is dtype and t.device == device and t.layout is strided
        ):
            break
    else:
        return list(tensors)
    given = {name: t for name, t in zip(names, tensors, strict=True) if t is not None}
    for name, t in given.items():
        check_dense(name, t)
        if t.dtype not in floats:
            raise TypeError(
                f"{name}: expected float16, bfloat16, float32 or float64, got {dtype_name(t)}; "
                f"cast it, for example with {name}.float()"
            )
    check_devices(**given)
    dtype = common_dtype(list(given.values()))
    return [None if t is None else t.to(dtype) for t in tensors]


def common_dtype(tensors: Sequence[Tensor]) -> torch.dtype:
    """Return the type that tensors are promoted to: that of autocast, unless one is float64."""
    import torch

    dtype = tensors[0].dtype
    for t in tensors:
        dtype = torch.promote_types(dtype, t.dtype)
    device = tensors[0].device.type
    if dtype != torch.float64 and casts_automatically(device):
        return torch.get_autocast_dtype(device)
    return dtype


def casts_automatically(device: str) -> bool:
    """Whether autocast is on for this kind of device, which may not know it."""
    import torch

    known = device in ("cpu", "cuda") or torch.amp.is_autocast_available(device)
    return known and torch.is_autocast_enabled(device)


def check_dense(name: str, t: Tensor) -> None:
    """Raise a TypeError for sparse, nested and quantised tensors."""
    import torch

    if t.is_nested or t.layout != torch.strided:
        kind = "a nested tensor" if t.is_nested else f"layout {t.layout}"
        raise TypeError(f"{name}: expected a dense (strided) tensor, got {kind}")
    if t.is_quantized:
        raise TypeError(
            f"{name}: expected float16, bfloat16, float32 or float64, got {dtype_name(t)}; "
            f"{name}.dequantize() makes it one"
        )


def check_devices(**tensors: Tensor) -> None:
    """Raise a ValueError unless all tensors are on one device."""
    if len({t.device for t in tensors.values()}) > 1:
        devices = ", ".join(f"{name} on {t.device}" for name, t in tensors.items())
        raise ValueError(f"{devices}: expected tensors on one device")


def broadcast_shape(names: Sequence[str], tensors: Tensors) -> torch.Size:
    """Return the common shape by NumPy's rules."""
    import torch

    shapes = [t.shape for t in tensors if t is not None]
    # The usual case: all are alike, or the others are the last dimensions of the longest.
    shape = shapes[0]
    for s in shapes:
        if len(s) > len(shape):
            shape = s
    ndim = len(shape)
    # Sizes that are symbols are compared with no others than their own.
    if all(s == (shape if len(s) == ndim else shape[ndim - len(s) :]) for s in shapes):
        return shape
    try:
        return torch.Size(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        pairs = [(name, t) for name, t in zip(names, tensors, strict=True) if t is not None]
        listed = ", ".join(f"{name} {tuple(t.shape)}" for name, t in pairs)
        message = f"{listed}: expected shapes that broadcast against each other"
        raise ValueError(message) from None


def normalize_axes(axis: int | Sequence[int], shape: Sequence[int]) -> list[int]:
    """Return `axis` as a list of axes counted from the front."""
    ndim = len(shape)
    if type(axis) is int and -ndim <= axis < ndim:
        return [axis + ndim if axis < 0 else axis]
    try:
        if isinstance(axis, bool):
            raise TypeError
        listed = axis if isinstance(axis, tuple) else (operator.index(axis),)  # type: ignore[arg-type]
        if any(isinstance(item, bool) for item in listed):
            raise TypeError
        listed = tuple(operator.index(item) for item in listed)
    except TypeError:
        raise TypeError(f"axis: expected an int or a tuple of ints, got {axis!r}") from None
    if not listed:
        raise ValueError("axis: expected at least one axis, got ()")
    axes: list[int] = []
    for item in listed:
        d = item + ndim if item < 0 else item
        if not 0 <= d < ndim:
            raise ValueError(
                f"axis: {item} is out of range for the broadcast shape {tuple(shape)} "
                f"of {ndim} dimensions"
            )
        if d in axes:
            raise ValueError(f"axis: {item} is there twice in {axis!r}")
        axes.append(d)
    return axes


def check_scale(scale: float | None) -> float | None:
    """Return the scale as a float, if there is one."""
    if scale is None or type(scale) is float:
        return scale
    if isinstance(scale, str) or not hasattr(scale, "__float__"):
        raise TypeError(f"scale: expected a number, got {scale!r}")
    if getattr(scale, "requires_grad", False):
        raise TypeError(
            "scale: expected a number, got a tensor that requires a gradient, which it would not "
            "get; multiply the first input by it and pass scale=1.0"
        )
    return float(scale)


def default_scale(scale: float | None, shape: Sequence[int], axes: Sequence[int]) -> float:
    """Return 1/√n for the n elements of a slice, unless a scale is given."""
    if scale is not None:
        return scale
    n = 1
    for d in axes:
        n = n * shape[d]
    if n <= 1:
        return 1.0
    # Of a size that is a symbol the root is one too.
    return 1.0 / (math.sqrt(n) if isinstance(n, int) else sys.modules["torch"].sym_sqrt(n))


def cast_mask(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """Return a mask as it is if it is boolean, otherwise in the type of `like`."""
    import torch

    if mask is None:
        return None
    check_dense("mask", mask)
    check_devices(mask=mask, inputs=like)
    if mask.dtype == torch.bool:
        return mask
    if not mask.dtype.is_floating_point:
        raise TypeError(
            f"mask: expected bool, float16, bfloat16, float32 or float64, got {dtype_name(mask)}; "
            "cast it, for example with mask.bool()"
        )
    return mask.to(like.dtype)


def check_mask(mask: Tensor | None, shape: Sequence[int]) -> None:
    """Raise a ValueError unless the mask broadcasts to `shape`."""
    if mask is None:
        return
    trailing = tuple(shape)[len(shape) - mask.ndim :] if mask.ndim <= len(shape) else None
    pairs = zip(mask.shape, trailing or (), strict=False)
    if trailing is None or any(m not in (1, s) for m, s in pairs):
        raise ValueError(
            f"mask: expected a shape that broadcasts to {tuple(shape)}, the shape of the result, "
            f"got {tuple(mask.shape)}"
        )


def dtype_name(t: Tensor) -> str:
    """Return the name of a tensor's type, such as float32."""
    return str(t.dtype).removeprefix("torch.")
