"""One check for every op: each path against the formula, and that against dot-product attention.

`check_op` takes whatever `strategies.examples` draws for an op of `registry.OPS` and runs NumPy,
torch through the Rust kernels and torch through PyTorch operations; outputs and all gradients.
`bounds` derives the tolerance of each element; `TOLERANCES` holds the precisions it starts from.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tests.registry import Op, listed
from tests.strategies import Example

Array = npt.NDArray[Any]
BACKENDS = ("rust", "torch")
OUTPUTS = ("output", "weights")  # as expectations and bounds call them


@dataclass(frozen=True)
class Tolerance:
    """Precision of the arithmetic, and of the result that it is rounded to once at the end."""

    compute: torch.dtype
    result: torch.dtype

    @property
    def eps(self) -> float:
        # The reference rounds too, in long double where the platform has it.
        return torch.finfo(self.compute).eps + float(np.finfo(np.longdouble).eps)

    @property
    def tiny(self) -> float:
        return torch.finfo(self.compute).tiny

    def rounding(self, expected: Array) -> Array:
        """Half a unit in the last place of the result type, where it is the narrower one."""
        if self.compute == self.result:
            return np.zeros_like(expected)
        info = torch.finfo(self.result)
        return 0.5 * np.maximum(info.eps * np.abs(expected), info.tiny * info.eps) * (1 + 1e-3)


TOLERANCES = {
    "float16": Tolerance(torch.float32, torch.float16),
    "bfloat16": Tolerance(torch.float32, torch.bfloat16),
    "float32": Tolerance(torch.float32, torch.float32),
    "float64": Tolerance(torch.float64, torch.float64),
}


def wide(x: Array) -> Array:
    """`x` in the widest float there is (booleans stay)."""
    return x if x.dtype == np.bool_ else x.astype(np.longdouble)


def to_torch(x: Array, dtype: str) -> torch.Tensor:
    """Tensor with the values and, as far as torch allows, the strides of `x`."""
    kind = torch.bool if x.dtype == np.bool_ else getattr(torch, dtype)
    strides = [abs(s) // x.itemsize for s in x.strides]
    return torch.empty_strided(x.shape, strides, dtype=kind).copy_(torch.from_numpy(x.copy("C")))


def settle_nan(got: torch.Tensor, expected: Array, backend: str, example: Example) -> torch.Tensor:
    """Take what is expected where a gradient beside NaN or infinity may be either.

    Where the formula gives NaN, autograd of a masked score gives 0; where it gives infinity, a
    weight that is flushed to zero makes that NaN. In a slice that keeps nothing the formula gives
    0, and PyTorch's operations (SDPA too) multiply that 0 with the infinity; the Rust kernels
    don't, nor does a NaN leave its slice (which has a test of its own).
    """
    wanted = torch.tensor(expected.astype(float)).to(got.dtype)
    either = ~wanted.isfinite()
    if backend == "torch" and not example.finite:
        either |= got.isnan()
    return torch.where(either, wanted, got)


def to_numpy(x: Any) -> Array:
    """The values of an array or a tensor of any dtype, widened."""
    if isinstance(x, torch.Tensor):
        x = x.detach().double().cpu().numpy()
    return np.asarray(x).astype(np.longdouble)


def assert_close(got: Any, expected: Any, bound: Any, tolerance: Tolerance, what: str) -> None:
    """Every element within its bound and the final rounding; names the worst one otherwise."""
    got, expected = to_numpy(got), wide(np.asarray(expected))
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    with np.errstate(all="ignore"):
        allowed = np.broadcast_to(bound, expected.shape) + tolerance.rounding(expected)
        beyond = np.abs(expected) + allowed > torch.finfo(tolerance.result).max
        same = (got == expected) | (np.isnan(got) & np.isnan(expected))
        same |= np.isinf(expected) & np.isnan(bound) & np.isnan(got)
        same |= beyond & (got == np.sign(expected) * np.inf)
        excess = np.where(same, 0, np.abs(got - expected) / allowed)
        excess = np.where(np.isnan(excess), np.inf, excess)
        if not (excess > 1).any():
            return
        worst = np.unravel_index(excess.argmax(), excess.shape)
        unit = torch.finfo(tolerance.result).eps * np.abs(expected[worst])
        error = np.abs(got[worst] - expected[worst]) / unit
        limit = allowed[worst] / unit
    raise AssertionError(
        f"{what}: {(excess > 1).sum()} of {excess.size} elements are off; the worst, at index "
        f"{tuple(int(i) for i in worst)}: got {got[worst]:.9g}, expected {expected[worst]:.9g}; "
        f"an error of {error:.3g} eps, allowed {limit:.3g} eps "
        f"(eps of {tolerance.result}, relative to the expected number)"
    )


def check_op(op: Op, example: Example) -> None:
    """Compare every path of `op` with the formula, and the formula with dot-product attention."""
    expected, bounds = expectations(op, example)
    tolerance = TOLERANCES[example.dtype]
    limits = bounds(tolerance.eps, tolerance.tiny)
    if example.dtype != "bfloat16":
        check_numpy(op, example, expected, limits)
    for backend in BACKENDS:
        check_torch(op, example, expected, limits, backend)
    if example.finite and example.grad.size and example.slice_length <= 128:
        # SDPA multiplies query and keys by the root of the scale each: a few more roundings.
        double = TOLERANCES["float64"]
        check_dot_product(op, example, expected, bounds(4 * double.eps, double.tiny))


def check_backend(op: Op, example: Example, backend: str) -> None:
    """Compare one torch backend of `op` with the formula."""
    expected, bounds = expectations(op, example)
    tolerance = TOLERANCES[example.dtype]
    check_torch(op, example, expected, bounds(tolerance.eps, tolerance.tiny), backend)


def expectations(
    op: Op, example: Example
) -> tuple[dict[str, Array], Callable[[float, float], dict[str, Array]]]:
    """Outputs and gradients by the formula, and how far from them a precision may be."""
    operands = {name: wide(x) for name, x in example.operands.items()}
    grads = [wide(grad) for grad in example.grads]
    options = dict(example.options)
    if example.mask is not None:
        options["mask"] = wide(example.mask)

    def bounds(eps: float, tiny: float) -> dict[str, Array]:
        with np.errstate(all="ignore"):
            return op.bounds(operands, *grads, eps=eps, tiny=tiny, **options)

    named = {n: operands[n] for n in op.optional if n in operands}
    required = (operands[n] for n in op.operands)
    outputs = listed(op.call(op.reference, operands, **options))
    expected = dict(zip(OUTPUTS, outputs, strict=False))
    expected |= op.reference_grad(*required, *grads, **named, **options)
    return expected, bounds


def check_numpy(
    op: Op, example: Example, expected: dict[str, Array], bounds: dict[str, Array]
) -> None:
    """Outputs of the NumPy path: values, type, and inputs left alone."""
    before = copy.deepcopy((example.operands, example.mask))
    outputs = op.outputs(example.operands, **example.options)
    alone = op(example.operands, **example.options)
    for name, got in (*zip(OUTPUTS, outputs, strict=False), ("output", alone)):
        what = f"{op.name} numpy {example.dtype} {name}"
        assert type(got) is np.ndarray, f"{what}: {type(got)}"
        assert got.dtype == np.dtype(example.dtype), f"{what}: dtype {got.dtype}"
        assert_close(got, expected[name], bounds[name], TOLERANCES[example.dtype], what)
    np.testing.assert_array_equal(outputs[0], alone, "a request changed the output")
    np.testing.assert_equal((example.operands, example.mask), before, "an input was modified")


def check_dot_product(
    op: Op, example: Example, expected: dict[str, Array], bounds: dict[str, Array]
) -> None:
    """The formula itself against dot-product attention in float64, gradients by autograd."""
    leaves = {n: torch.from_numpy(x.astype(float)) for n, x in example.operands.items()}
    options = dict(example.options)
    if example.mask is not None:
        options["mask"] = torch.from_numpy(example.mask.copy("C"))
        if example.additive:
            leaves["mask"] = options["mask"] = options["mask"].double()
    for x in leaves.values():
        x.requires_grad_()
    outputs = listed(op.call(op.dot_product_reference, leaves, **options))
    given = [torch.from_numpy(g.astype(float)) for g in example.grads]
    grads = torch.autograd.grad(outputs, list(leaves.values()), given)
    results = zip((*OUTPUTS[: len(outputs)], *leaves), (*outputs, *grads), strict=True)
    for name, got in results:
        what = f"{op.name} dot-product {name}"
        assert_close(got, expected[name], bounds[name], TOLERANCES["float64"], what)


def check_torch(
    op: Op, example: Example, expected: dict[str, Array], bounds: dict[str, Array], backend: str
) -> None:
    """Outputs and gradients of one torch backend."""
    tensors = {n: to_torch(x, example.dtype) for n, x in example.operands.items()}
    options = dict(example.options)
    if example.mask is not None:
        options["mask"] = to_torch(example.mask, example.dtype)
    leaves = dict(tensors) | ({"mask": options["mask"]} if example.additive else {})
    before = {n: x.clone() for n, x in leaves.items()}
    for x in leaves.values():
        x.requires_grad_()
    outputs = op.outputs(tensors, **options, backend=backend)
    given = [to_torch(grad, example.dtype) for grad in example.grads]
    grads = torch.autograd.grad(outputs, list(leaves.values()), given)
    names = (*OUTPUTS[: len(outputs)], *leaves)
    results = dict(zip(names, (*outputs, *grads), strict=True))
    for name, got in results.items():
        kind = "gradient of " if name in leaves else ""
        what = f"{op.name} {backend} {example.dtype} {kind}{name}"
        if kind:
            got = settle_nan(got, expected[name], backend, example)
        assert got.dtype == getattr(torch, example.dtype), f"{what}: dtype {got.dtype}"
        assert_close(got, expected[name], bounds[name], TOLERANCES[example.dtype], what)
    for name, x in leaves.items():
        torch.testing.assert_close(x, before[name], rtol=0, atol=0, equal_nan=True)
