"""What hypothesis draws for an op: shapes, broadcasting, axes, types, strides, masks and values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import strategies as st
from tests.registry import Op

Array = npt.NDArray[Any]

# One element, and around the widths of SIMD registers and their multiples.
SIZES = (5, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 100, 1000, 0)
SMALL_SIZES = (2, 1, 3, 5, 0)
DTYPES = ("float64", "float32", "float16", "bfloat16")
SCALES = (None, 1.0, 0.0, -1.5, 20.0)
LAYOUTS = ("contiguous", "fortran", "reversed", "sliced", "transposed", "readonly", "unaligned")
VALUES = ("normal", "ties", "large", "tiny")
MASKS = ("none", "boolean", "empty slices", "additive", "infinite")


@dataclass
class Example:
    """Operands (NumPy arrays of the dtype's values) and options of one call."""

    dtype: str
    operands: dict[str, Array]
    grad: Array
    grad_weights: Array | None = None
    axis: Any = -1
    scale: float | None = None
    mask: Array | None = None
    values: str = "normal"
    window: dict[str, Any] | None = None  # of a pooling, which has neither axis nor scale nor mask

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """For hypothesis: what matters of a failing example, not all its numbers."""
        arrays = self.operands | {"grad": self.grad, "mask": self.mask}
        printer.text(f"<{self.values} {self.dtype}, axis={self.axis}, scale={self.scale}")
        for name, x in arrays.items():
            if x is not None:
                printer.text(f"\n  {name}: {x.dtype}{x.shape} strides {x.strides}")
        printer.text(">")

    @property
    def options(self) -> dict[str, Any]:
        if self.window is not None:
            return self.window
        return {"axis": self.axis, "scale": self.scale, "mask": self.mask}

    @property
    def grads(self) -> list[Array]:
        """The gradients of the outputs."""
        return [self.grad] if self.grad_weights is None else [self.grad, self.grad_weights]

    @property
    def slice_length(self) -> int:
        """How many elements the softmax goes over."""
        if self.window is not None:
            return math.prod(self.window["kernel_size"] or self.operands["x"].shape[-2:])
        axes = (self.axis,) if isinstance(self.axis, int) else self.axis
        return math.prod(self.shape[a] for a in axes)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.grad.shape

    @property
    def finite(self) -> bool:
        return all(bool(np.isfinite(x).all()) for x in self.operands.values())

    @property
    def additive(self) -> bool:
        return self.mask is not None and self.mask.dtype != np.bool_


@st.composite
def examples(
    draw: st.DrawFn, op: Op, values: Sequence[str] = VALUES, dtypes: Sequence[str] = DTYPES
) -> Example:
    """One call of `op`, with all its arguments."""
    if not op.has("axes"):
        return draw(pooling_examples(values, dtypes))
    shape, axes = draw(shapes_and_axes())
    dtype = draw(st.sampled_from(dtypes))
    kind = draw(st.sampled_from(values))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = [*op.operands, *(n for n in op.optional if draw(st.booleans()))]
    full = draw(st.sampled_from(names))
    operands = {}
    for name in names:
        size = shape if name == full else draw(broadcastable_to(shape))
        array = rounded(numbers(rng, kind, size, op.large, dtype), dtype)
        operands[name] = lay_out(draw(st.sampled_from(LAYOUTS)), array)
    mask = draw_mask(draw, rng, shape, axes)
    if mask is not None and mask.dtype != np.bool_:
        mask = rounded(mask, dtype)
    grad, grad_weights = (rounded(rng.normal(size=shape), dtype) for _ in range(2))
    return Example(
        dtype=dtype,
        operands=operands,
        grad=lay_out(draw(st.sampled_from(LAYOUTS)), grad),
        grad_weights=grad_weights,
        axis=draw_axis(draw, axes, len(shape)),
        scale=draw(st.sampled_from(SCALES)),
        mask=None if mask is None else lay_out(draw(st.sampled_from(LAYOUTS)), mask),
        values=kind,
    )


@st.composite
def pooling_examples(
    draw: st.DrawFn, values: Sequence[str] = VALUES, dtypes: Sequence[str] = DTYPES
) -> Example:
    """One call of attention pooling: images, windows, some of the arrays in an odd order."""
    image = [draw(st.sampled_from([1, 2, 3, 4, 7, 14, 17, 33])) for _ in range(2)]
    lead = draw(st.sampled_from([(), (1,), (3,), (2, 2), (0,)]))
    channels = draw(st.sampled_from([1, 2, 5, 16, 33, 0]))
    window: dict[str, Any] = {"kernel_size": None, "stride": None}
    if draw(st.booleans()):
        window["kernel_size"] = tuple(draw(st.sampled_from([2, 1, 3, 5])) for _ in image)
        window["kernel_size"] = tuple(map(min, window["kernel_size"], image))
        if draw(st.booleans()):
            window["stride"] = tuple(draw(st.integers(1, 4)) for _ in image)
    kernel = window["kernel_size"] or tuple(image)
    dtype = draw(st.sampled_from(dtypes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def array(size: tuple[int, ...], kind: str) -> Array:
        drawn = rounded(numbers(rng, kind, size, 100, dtype), dtype)
        return lay_out(draw(st.sampled_from(LAYOUTS)), drawn)

    kind = draw(st.sampled_from(values))
    x = array((*lead, channels, *image), kind)
    if draw(st.booleans()):  # channels last
        x = np.moveaxis(np.moveaxis(x, -3, -1).copy(), -1, -3)
    w = array((channels, *(kernel if draw(st.booleans()) else ())), "normal")
    step = window["stride"] or kernel
    out = [(n - k) // s + 1 for n, k, s in zip(image, kernel, step, strict=True)]
    grad = array((*lead, channels, *out), "normal")
    return Example(dtype, {"x": x, "w": w}, grad, values=kind, window=window)


def full_example(op: Op, shape: tuple[int, ...], dtype: str = "float32", **options: Any) -> Example:
    """Operands that are all of the full shape; images for a pooling, which pools them whole."""
    rng = np.random.default_rng(0)

    def draw(size: tuple[int, ...]) -> Array:
        return rounded(rng.normal(size=size), dtype)

    if op.has("axes"):
        operands = {n: draw(shape) for n in (*op.operands, *op.optional)}
        return Example(dtype, operands, draw(shape), draw(shape), **options)
    shape = (1,) * (3 - len(shape)) + shape
    operands = {"x": draw(shape), "w": draw(shape[-3:-2])}
    window = {"kernel_size": None, "stride": None}
    return Example(dtype, operands, draw((*shape[:-2], 1, 1)), window=window)


@st.composite
def shapes_and_axes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A broadcast shape, and the axes (counted from the front, in any order) of the softmax."""
    ndim = draw(st.integers(1, 4))
    axes = draw(st.permutations(range(ndim)))[: draw(st.integers(1, ndim))]
    shape = [draw(st.sampled_from(SMALL_SIZES)) for _ in range(ndim)]
    shape[axes[0]] = draw(st.sampled_from([n for n in SIZES if ndim <= 2 or n <= 100]))
    if draw(st.booleans()):  # a long axis beside the softmax's, for kernels that run across slices
        shape[draw(st.integers(0, ndim - 1))] = draw(st.sampled_from([17, 33, 40]))
    return tuple(shape), tuple(axes)


def draw_axis(draw: st.DrawFn, axes: tuple[int, ...], ndim: int) -> int | tuple[int, ...]:
    signed = tuple(a - ndim if draw(st.booleans()) else a for a in axes)
    return signed[0] if len(signed) == 1 and draw(st.booleans()) else signed


@st.composite
def broadcastable_to(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that broadcasts to `shape`: some axes of length 1, some leading ones missing."""
    stretched = draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    smaller = tuple(1 if s else n for n, s in zip(shape, stretched, strict=True))
    missing = draw(st.integers(0, len([1 for _ in leading_ones(smaller)])))
    return smaller[missing:]


def leading_ones(shape: tuple[int, ...]) -> list[int]:
    count = next((i for i, n in enumerate(shape) if n != 1), len(shape))
    return list(shape[:count])


def draw_mask(
    draw: st.DrawFn, rng: np.random.Generator, shape: tuple[int, ...], axes: tuple[int, ...]
) -> Array | None:
    """None, or a boolean or additive mask, some with slices that keep nothing."""
    kind = draw(st.sampled_from(MASKS))
    if kind == "none":
        return None
    size = draw(broadcastable_to(shape))
    keep = rng.random(size) < 0.7
    if kind in ("empty slices", "infinite"):
        missing = len(shape) - len(size)
        rows = [1 if i + missing in axes else n for i, n in enumerate(size)]
        keep &= rng.random(rows) < 0.6
    if kind in ("boolean", "empty slices"):
        return np.asarray(keep)
    added = rng.normal(size=size) * 3
    return np.asarray(added if kind == "additive" else np.where(keep, added, -np.inf))


def numbers(
    rng: np.random.Generator, kind: str, shape: tuple[int, ...], large: float, dtype: str
) -> Array:
    """Float64 numbers of one kind; `large` ones give scores of about ±1e4."""
    normal = rng.normal(size=shape)
    if kind == "ties":
        return rng.integers(-1, 2, shape).astype(float)
    if kind == "large":
        return large * np.sign(normal)
    if kind == "tiny":  # about the smallest normal number
        return normal * 4 * torch.finfo(getattr(torch, dtype)).tiny
    if kind == "special":
        odd = rng.choice([np.inf, -np.inf, np.nan, 0.0], shape)
        return np.asarray(np.where(rng.random(shape) < 0.03, odd, normal))
    return normal


def rounded(x: Array, dtype: str) -> Array:
    """`x` in `dtype`; for bfloat16, which NumPy lacks, in float32 with bfloat16's values."""
    tensor = torch.from_numpy(np.asarray(x, dtype=float)).to(getattr(torch, dtype))
    return (tensor.float() if dtype == "bfloat16" else tensor).numpy()


def lay_out(kind: str, x: Array) -> Array:
    """The same values in memory of another order, unaligned, or that may not be written."""
    if kind == "fortran":
        return x.copy("F")
    if kind == "reversed":
        return np.flip(np.flip(x).copy())[...]
    if kind == "transposed":  # the first axis runs fastest, the others keep their order
        return np.moveaxis(np.moveaxis(x, 0, -1).copy(), -1, 0) if x.ndim > 2 else x.T.copy().T
    if kind == "sliced":
        big = np.full([2 * n + 1 for n in x.shape], x.dtype == np.bool_ or np.nan, x.dtype)
        view = big[(..., *(slice(1, None, 2) for _ in x.shape))]
    elif kind == "unaligned":
        view = np.ndarray(x.shape, x.dtype, np.zeros(x.nbytes + 1, np.uint8)[1:])
    else:
        view = np.ndarray(x.shape, x.dtype)
    view[...] = x
    view.flags.writeable = kind != "readonly"
    return view
