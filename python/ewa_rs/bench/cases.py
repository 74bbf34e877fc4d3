"""The registry: which ops on which shapes and dtypes, with operands and reference of each."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ewa_rs.ops._definition import DEFINITIONS
from ewa_rs.ops.elementwise_attention import reference as attention
from ewa_rs.ops.elementwise_self_attention import reference as self_attention

Array = npt.NDArray[Any]

REFERENCES = {"elementwise_attention": attention, "elementwise_self_attention": self_attention}
#: The arrays of an op that every call has.
OPERANDS = {name: DEFINITIONS[name].required for name in REFERENCES}


@dataclass(frozen=True)
class Case:
    """An op on one shape: softmax over `axis`, operands in `small` being of another shape."""

    name: str
    op: str
    shape: tuple[int, ...]
    axis: tuple[int, ...] = (-1,)
    dtype: str = "float32"
    small: dict[str, tuple[int, ...]] = field(default_factory=dict)
    mask: bool = False
    channels_last: bool = False

    @property
    def size(self) -> int:
        """The number of elements of the result."""
        return math.prod(self.shape)

    @property
    def id(self) -> str:
        """What filters match and tables show."""
        return f"{self.name} {self.dtype}"


def _attention_case(name: str, shape: tuple[int, ...], **settings: Any) -> Case:
    return Case(name, "elementwise_attention", shape, **settings)


def _layer_case(name: str, shape: tuple[int, ...], w: tuple[int, ...], **settings: Any) -> Case:
    small = {operand: w for operand in ("w_q", "w_k", "w_v")}
    return Case(name, "elementwise_self_attention", shape, small=small, **settings)


_MAPS = (64, 32, 28, 28)
_CHANNEL = (1, 32, 1, 1)
_FLOAT32 = (
    _attention_case("rows (8, 784)", (8, 784)),
    _attention_case("rows (128, 784)", (128, 784)),
    _attention_case("rows (1024, 784)", (1024, 784)),
    _attention_case("rows (12544, 784)", (12544, 784)),
    _attention_case("rows (128, 3072)", (128, 3072)),
    _attention_case("short (1000000, 10)", (1_000_000, 10)),
    _attention_case("long (16, 1000000)", (16, 1_000_000)),
    _attention_case("maps, spatial", _MAPS, axis=(-2, -1)),
    _attention_case("maps, channel", _MAPS, axis=(1,)),
    _attention_case("maps, spatial, channels last", _MAPS, axis=(-2, -1), channels_last=True),
    _attention_case("maps, channel, channels last", _MAPS, axis=(1,), channels_last=True),
    _attention_case("maps, spatial, q (1, C, 1, 1)", _MAPS, axis=(-2, -1), small={"q": _CHANNEL}),
    _attention_case("maps, channel, k (1, C, 1, 1)", _MAPS, axis=(1,), small={"k": _CHANNEL}),
    _attention_case("mask (1024, 784)", (1024, 784), mask=True),
    _layer_case("layer (1024, 784)", (1024, 784), (784,)),
    _layer_case("layer (1024, 3, 32, 32)", (1024, 3, 32, 32), (3, 32, 32), axis=(-3, -2, -1)),
)
_IN_EVERY_DTYPE = ("rows (1024, 784)", "short (1000000, 10)", "maps, channel", "layer (1024, 784)")
#: All cases, those of other dtypes last.
CASES = _FLOAT32 + tuple(
    Case(**{**case.__dict__, "dtype": dtype})
    for dtype in ("float64", "float16", "bfloat16")
    for case in _FLOAT32
    if case.name in _IN_EVERY_DTYPE
)
#: What `--quick` measures.
QUICK = ("rows (128, 784)", "rows (1024, 784)", "maps, channel", "layer (1024, 784)")


def select(ops: str | None, shapes: str | None, dtypes: str | None, *, quick: bool) -> list[Case]:
    """Return the cases whose op, name and dtype contain one of the words, which commas separate."""

    def wanted(words: str | None, text: str) -> bool:
        # Shapes have commas and blanks of their own: (8, 784) may also be called 8x784.
        plain = text.replace(", ", "x").replace(" ", "")
        listed = [w.strip() for w in re.split(r",(?![^(]*\))", words)] if words else []
        return not listed or any(w in text or w in plain for w in listed if w)

    cases = [
        case
        for case in CASES
        if wanted(ops, case.op) and wanted(shapes, case.name) and wanted(dtypes, case.dtype)
    ]
    if quick:
        cases = [case for case in cases if case.name in QUICK and case.dtype == "float32"]
    if not cases:
        names = ", ".join(dict.fromkeys(repr(case.name) for case in CASES))
        raise ValueError(f"no case fits the filters; the shapes are {names}")
    return cases


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return a dtype by name; bfloat16 is of the package ml_dtypes."""
    if name == "bfloat16":
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return dtype
    return np.dtype(name)


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array that starts at a cache line, as every peer's own arrays do."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


class Problem:
    """The operands of a case, the same memory for every peer, and what is to come out."""

    def __init__(self, case: Case, seed: int = 0) -> None:
        self.case = case
        rng = np.random.default_rng(seed)
        dtype = numpy_dtype(case.dtype)
        self.operands: dict[str, Array] = {}
        for name in (*OPERANDS[case.op], "grad"):
            # The memory of channels-last operands is (N, H, W, C).
            shape = case.small.get(name, case.shape)
            shape = tuple(shape[d] for d in self.order) if len(shape) == 4 else shape
            array = aligned(shape, dtype)
            array[...] = rng.standard_normal(shape, dtype=np.float32).astype(dtype)
            self.operands[name] = self.restored(array) if len(shape) == 4 else array
        self.mask = rng.random(case.shape) < 0.9 if case.mask else None
        self.scale = 1 / math.sqrt(math.prod(case.shape[d] for d in case.axis))

    @property
    def order(self) -> tuple[int, ...]:
        """The axes in the order of the memory."""
        return (0, 2, 3, 1) if self.case.channels_last else tuple(range(len(self.case.shape)))

    def dense(self, name: str) -> Array:
        """Return an operand with its axes in the order of the memory: contiguous, not copied."""
        x = self.operands[name]
        return x.transpose(self.order) if x.ndim == len(self.order) else x

    def restored(self, x: Array) -> Array:
        """Undo `dense`."""
        return x.transpose(np.argsort(self.order).tolist())

    @property
    def dense_axes(self) -> tuple[int, ...]:
        """The softmax axes of dense operands, from the end."""
        ndim = len(self.order)
        axes = {d % ndim for d in self.case.axis}
        return tuple(i - ndim for i, d in enumerate(self.order) if d in axes)

    def empty(self, name: str = "grad") -> Array:
        """Return memory for a result like an operand, in the same order."""
        x = self.operands[name]
        if x.ndim != len(self.order):
            return aligned(x.shape, x.dtype)
        return self.restored(aligned(self.dense(name).shape, x.dtype))

    @property
    def inputs(self) -> list[Array]:
        """The operands of the op, in its order."""
        return [self.operands[name] for name in OPERANDS[self.case.op]]

    @cached_property
    def expected(self) -> dict[str, Array]:
        """Output ``y`` and gradients by operand, by the literal formula in float64."""
        reference = REFERENCES[self.case.op]
        options = {"axis": self.case.axis, "mask": self.mask}
        inputs = [x.astype(np.float64) for x in self.inputs]
        grad = self.operands["grad"].astype(np.float64)
        gradients = reference.reference_grad(*inputs, grad, **options)
        return {"y": reference.reference(*inputs, **options)[0], **gradients}


#: Largest error, relative to the size of the element plus the root mean square of all: room for
#: what peers round between their steps, none for another formula.
TOLERANCES = {"float64": 1e-10, "float32": 2e-4, "float16": 2e-2, "bfloat16": 0.15}


def error_of(problem: Problem, results: dict[str, Array]) -> str | None:
    """Say what is wrong with results, a dict of ``y`` and gradients; None if nothing is."""
    for name, got in results.items():
        expected = problem.expected[name]
        if got.shape != expected.shape:
            return f"{name}: shape {got.shape}, expected {expected.shape}"
        size = np.abs(expected) + math.sqrt(float(np.mean(expected**2)))
        error = float(np.max(np.abs(got.astype(np.float64) - expected) / size))
        if not error <= TOLERANCES[problem.case.dtype]:
            return f"{name}: wrong, off by {error:.2g}"
    return None
