"""The Triton kernels on CPU tensors, under Triton's interpreter.

Run by test_triton.py in a process with TRITON_INTERPRET=1, which Triton reads when it is imported.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.checks import check_backend
from tests.registry import ALONG_SLICES, Op
from tests.strategies import VALUES, Example, examples, numbers, rounded

from ewa_rs.ops import _arguments
from ewa_rs.ops._triton import Triton

pytestmark = [
    pytest.mark.usefixtures("poisoned_memory"),
    # NumPy's own arithmetic, which the interpreter computes with, warns of NaN and infinity.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


class Kernels(torch.autograd.Function):
    """The kernels by their contract, for autograd to call."""

    @staticmethod
    def forward(ctx: Any, triton: Any, settings: Any, *inputs: Any):  # type: ignore[no-untyped-def]
        y, a, statistics = triton.forward(inputs, settings, (True,))
        ctx.save_for_backward(*inputs, statistics)
        ctx.call = (triton, settings)
        return y, a

    @staticmethod
    def backward(ctx: Any, grad_y: Any, grad_a: Any):  # type: ignore[no-untyped-def]
        *inputs, statistics = ctx.saved_tensors
        triton, settings = ctx.call
        wanted = ctx.needs_input_grad[2:]
        upstream, saved = (grad_y, grad_a), (statistics,)
        gradients = triton.backward(inputs, settings, upstream, saved, wanted)
        return None, None, *gradients


def interpreted(op: Op, residual: bool = False) -> Op:
    """`op` with its Triton kernels in place of the public function."""
    module = importlib.import_module(f"ewa_rs.ops.{op.name}.torch")
    triton = module.OPERATOR.implementation.triton

    def function(*operands: Any, axis: Any, scale: Any, mask: Any, **named: Any) -> Any:
        inputs = [*operands, *(named.get(n) for n in op.optional), mask]
        shape = torch.broadcast_shapes(*(t.shape for t in inputs[:-1] if t is not None))
        axes = _arguments.normalize_axes(axis, shape)
        return Kernels.apply(triton, (axes, scale, residual), *inputs)

    return dataclasses.replace(op, function=function)


every_op = pytest.mark.parametrize("op", ALONG_SLICES.values(), ids=ALONG_SLICES)
# The interpreter is slow: fewer and smaller examples. It cuts bfloat16 off instead of rounding.
DTYPES = ("float32", "float16")
quick = settings(max_examples=25, suppress_health_check=[HealthCheck.filter_too_much])


@every_op
@quick
@given(data=st.data())
def test_whatever_is_drawn(op: Op, data: st.DataObject) -> None:
    example = data.draw(examples(op, values=(*VALUES, "special"), dtypes=DTYPES))
    assume(example.grad.size <= 1500)
    check_backend(interpreted(op), example, "triton")


def example(op: Op, shape: tuple[int, ...], axis: Any = -1, **small: tuple[int, ...]) -> Example:
    """Operands of the full shape, unless `small` says otherwise."""
    rng = np.random.default_rng(0)
    drawn = {
        n: rounded(numbers(rng, "normal", small.get(n, shape), 1.0, "float32"), "float32")
        for n in (*op.operands, *op.optional)
    }
    grads = (rounded(rng.normal(size=shape), "float32") for _ in range(2))
    return Example("float32", drawn, *grads, axis=axis)


# One operand (the layer's arrays) over the batch: a sum over the group, over the lanes of a tile,
# over both; slices longer than a tile, with elements or slices as neighbours in memory.
LAYOUTS = {
    "rows of images": ((9, 4, 28), -1, (4, 28)),
    "whole images": ((9, 300), -1, (300,)),
    "long rows": ((3, 2500), -1, (2500,)),
    "long columns": ((700, 5), 0, (5,)),
    "channels": ((6, 40, 50), 1, (40, 50)),
    "channels, one number each": ((6, 40, 50), 1, (40, 1)),
    "many short rows": ((700, 3), -1, (3,)),
    "two axes apart": ((5, 6, 7, 8), (1, 3), (6, 1, 8)),
    "one number": ((5, 17), -1, ()),
}


@every_op
@pytest.mark.parametrize(("shape", "axis", "small"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(op: Op, shape: tuple[int, ...], axis: Any, small: tuple[int, ...]) -> None:
    others = dict.fromkeys((*op.operands[1:], *op.optional), small)
    check_backend(interpreted(op), example(op, shape, axis, **others), "triton")


@every_op
def test_bfloat16(op: Op) -> None:
    drawn = example(op, (5, 33))
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        tensors = {n: torch.tensor(x).bfloat16().to(dtype) for n, x in drawn.operands.items()}
        leaves = [x.requires_grad_() for x in tensors.values()]
        y, a = interpreted(op)(tensors, axis=-1, scale=None, mask=None)
        results.append([y, a, *torch.autograd.grad(y.float().sum(), leaves)])
    for exact, got in zip(*results, strict=True):
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.float(), exact, rtol=2**-7, atol=0)


@every_op
def test_an_additive_mask_of_the_lowest_numbers_keeps_all(op: Op) -> None:
    drawn = example(op, (4, 33))
    tensors = {n: torch.tensor(x) for n, x in drawn.operands.items()}
    mask = torch.full((4, 33), torch.finfo(torch.float32).min)
    mask[1, 1:] = mask[2] = -math.inf
    mask[3, 0] = math.nan
    _, a = interpreted(op)(tensors, axis=-1, scale=None, mask=mask)
    torch.testing.assert_close(a[0].sum(), torch.tensor(1.0))
    assert torch.equal(a[1], torch.eye(33)[0])
    assert (a[2] == 0).all()
    assert a[3].isnan().all()


def test_residual_adds_the_input_in_the_same_pass() -> None:
    op = ALONG_SLICES["elementwise_self_attention"]
    drawn = example(op, (4, 33), w_q=(33,), w_k=(33,), w_v=(33,))
    results = []
    for residual in (False, True):
        tensors = {n: torch.tensor(x, requires_grad=True) for n, x in drawn.operands.items()}
        y, _ = interpreted(op, residual)(tensors, axis=-1, scale=None, mask=None)
        y.backward(torch.from_numpy(drawn.grad))
        results.append((y.detach(), tensors["x"].grad, tensors["w_q"].grad))
    (y, dx, dw), (y_added, dx_added, dw_added) = results
    torch.testing.assert_close(y_added, y + torch.from_numpy(drawn.operands["x"]))
    torch.testing.assert_close(dx_added, dx + torch.from_numpy(drawn.grad))
    torch.testing.assert_close(dw_added, dw)


@every_op
def test_only_the_gradients_that_are_wanted(op: Op) -> None:
    drawn = example(op, (5, 33))

    def gradients(names: list[str]) -> dict[str, torch.Tensor]:
        tensors = {n: torch.tensor(x) for n, x in drawn.operands.items()}
        leaves = [tensors[n].requires_grad_() for n in names]
        y, _ = interpreted(op)(tensors, axis=-1, scale=None, mask=None)
        return dict(zip(names, torch.autograd.grad(y.square().sum(), leaves), strict=True))

    for name, grad in gradients(list(drawn.operands)).items():
        assert torch.equal(gradients([name])[name], grad), name


def test_float64_is_refused() -> None:
    op = ALONG_SLICES["elementwise_attention"]
    tensors = {n: torch.zeros(3, dtype=torch.float64) for n in op.operands}
    with pytest.raises(TypeError, match="'triton' takes float32, float16 and bfloat16, got float6"):
        interpreted(op)(tensors, axis=-1, scale=None, mask=None)


def test_axes_may_be_counted_from_the_end() -> None:
    q, k, v = torch.randn(3, 4, 33)
    from_end, from_front = (
        Triton(project=False).forward((q, k, v, None), ([axis], 0.5, False), (True,))
        for axis in (-1, 1)
    )
    for got, expected in zip(from_end, from_front, strict=True):
        assert torch.equal(got, expected)
