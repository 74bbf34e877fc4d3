"""Checks of arguments that the ops share."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    Tensor = torch.Tensor

BACKENDS = (None, "rust", "torch")


def are_tensors(**arguments: Any) -> bool:
    """Whether the arguments that are there are torch tensors; a TypeError if only some are."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    tensor = torch.Tensor
    kinds_found = {isinstance(value, tensor) for value in arguments.values() if value is not None}
    if len(kinds_found) == 1:
        return kinds_found.pop()
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


def promote(**tensors: Tensor | None) -> list[Any]:
    """Return the tensors in their common floating-point type, on their common device."""
    import torch

    values = list(tensors.values())
    given = [t for t in values if t is not None]
    dtype, device = given[0].dtype, given[0].device
    floats = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    if dtype in floats and all(t.dtype is dtype and t.device == device for t in given):
        return values
    for name, t in tensors.items():
        if t is not None and t.dtype not in floats:
            raise TypeError(
                f"{name}: expected float16, bfloat16, float32 or float64, got {_dtype(t)}; "
                f"cast it, for example with {name}.float()"
            )
    check_devices(**{name: t for name, t in tensors.items() if t is not None})
    for t in given:
        dtype = torch.promote_types(dtype, t.dtype)
    return [None if t is None else t.to(dtype) for t in values]


def check_devices(**tensors: Tensor) -> None:
    """Raise a ValueError unless all tensors are on one device."""
    if len({t.device for t in tensors.values()}) > 1:
        devices = ", ".join(f"{name} on {t.device}" for name, t in tensors.items())
        raise ValueError(f"{devices}: expected tensors on one device")


def broadcast_shape(**tensors: Tensor | None) -> torch.Size:
    """Return the common shape by NumPy's rules."""
    import torch

    shapes = [t.shape for t in tensors.values() if t is not None]
    # The two usual cases: all are alike, or the others are the last dimensions of the longest.
    shape = max(shapes, key=len)
    if all(s == shape or s == shape[len(shape) - len(s) :] for s in shapes):
        return shape
    try:
        return torch.Size(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        given = {name: t for name, t in tensors.items() if t is not None}
        listed = ", ".join(f"{name} {tuple(t.shape)}" for name, t in given.items())
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


def default_scale(scale: float | None, shape: Sequence[int], axes: Sequence[int]) -> float:
    """Return 1/√n for the n elements of a slice, unless a scale is given."""
    if scale is not None:
        if isinstance(scale, str) or not hasattr(scale, "__float__"):
            raise TypeError(f"scale: expected a number, got {scale!r}")
        return float(scale)
    n = math.prod(shape[d] for d in axes)
    return 1.0 / math.sqrt(max(n, 1))


def check_mask(mask: Tensor | None, like: Tensor, shape: Sequence[int]) -> Tensor | None:
    """Return the mask, boolean or in the type of `like`, if it broadcasts to `shape`."""
    import torch

    if mask is None:
        return None
    check_devices(mask=mask, inputs=like)
    trailing = tuple(shape)[len(shape) - mask.ndim :] if mask.ndim <= len(shape) else None
    pairs = zip(mask.shape, trailing or (), strict=False)
    if trailing is None or any(m not in (1, s) for m, s in pairs):
        raise ValueError(
            f"mask: expected a shape that broadcasts to {tuple(shape)}, the shape of the result, "
            f"got {tuple(mask.shape)}"
        )
    if mask.dtype == torch.bool:
        return mask
    if not mask.dtype.is_floating_point:
        raise TypeError(
            f"mask: expected bool, float16, bfloat16, float32 or float64, got {_dtype(mask)}; "
            "cast it, for example with mask.bool()"
        )
    return mask.to(like.dtype)


def choose_backend(backend: str | None, like: Tensor) -> str:
    """Return 'rust' or 'torch': what is asked for, if it can, else Rust for CPU tensors."""
    if backend is None:
        return "rust" if like.is_cpu else "torch"
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected None, 'rust' or 'torch', got {backend!r}")
    if backend == "rust" and like.device.type != "cpu":
        raise ValueError(f"backend: 'rust' takes tensors on the CPU, got tensors on {like.device}")
    return backend


def empty_result(shape: torch.Size, *inputs: Tensor) -> Tensor:
    """Return an uninitialised tensor in the memory order of the first input of that shape."""
    import torch

    for t in inputs:
        if t.shape == shape:
            return torch.empty_like(t)
    return inputs[0].new_empty(shape)


def write_out(out: Tensor | None, y: Tensor, *inputs: Tensor | None) -> Tensor:
    """Return `y`, or `out` with `y` written into it."""
    import torch

    if out is None:
        return y
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (out, *inputs)):
        raise ValueError("out: expected no arguments that require gradients, got some that do")
    if out.dtype != y.dtype:
        raise TypeError(f"out: expected dtype {_dtype(y)}, got {_dtype(out)}")
    if out.shape != y.shape:
        raise ValueError(f"out: expected shape {tuple(y.shape)}, got {tuple(out.shape)}")
    check_devices(out=out, inputs=y)
    return out.copy_(y)


def _dtype(t: Tensor) -> str:
    return str(t.dtype).removeprefix("torch.")
