"""The ops on a CUDA device: the same matrix of examples as on the CPU, for both of its paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.checks import check_backend
from tests.registry import ALONG_SLICES, Op
from tests.strategies import DTYPES, VALUES, Example, examples, rounded

import ewa_rs
from ewa_rs.nn import ElementwiseSelfAttention

every_op = pytest.mark.parametrize("op", ALONG_SLICES.values(), ids=ALONG_SLICES)
every_backend = pytest.mark.parametrize("backend", ["torch", "triton"])
KERNEL_DTYPES = ("float32", "float16", "bfloat16")


def check_on_device(op: Op, drawn: Example, backend: str) -> None:
    with torch.device("cuda"):
        check_backend(op, drawn, backend)


@every_op
@every_backend
@given(data=st.data())
def test_whatever_is_drawn(op: Op, backend: str, data: st.DataObject) -> None:
    dtypes = DTYPES if backend == "torch" else KERNEL_DTYPES
    drawn = data.draw(examples(op, values=(*VALUES, "special"), dtypes=dtypes))
    check_on_device(op, drawn, backend)


@every_op
@every_backend
@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((2, 40_009), -1), ((40_009, 3), 0), ((150, 2, 150), (0, 2)), ((8, 64, 196), 1)],
    ids=str,
)
def test_long_slices(op: Op, backend: str, dtype: str, shape: Any, axis: Any) -> None:
    rng = np.random.default_rng(0)
    operands = {n: rounded(rng.normal(size=shape), dtype) for n in (*op.operands, *op.optional)}
    grads = (rounded(rng.normal(size=shape), dtype) for _ in range(2))
    check_on_device(op, Example(dtype, operands, *grads, axis=axis), backend)


@every_op
def test_broadcast_gradients_have_the_same_bits_every_time(op: Op) -> None:
    x = torch.randn(500, 3, 32, 32, device="cuda")
    small = [torch.randn(3, 32, 32, device="cuda", requires_grad=True) for _ in op.operands[1:]]
    runs = []
    for _ in range(3):
        y = op.function(x, *small, backend="triton")
        runs.append(torch.autograd.grad(y.square().sum(), small))
    for again in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], again, strict=True))


def test_triton_is_chosen_and_float64_goes_to_torch() -> None:
    pytest.importorskip("triton")
    assert ewa_rs.backend_for(torch.zeros(3, device="cuda")) == "triton"
    assert ewa_rs.backend_for(torch.zeros(3, device="cuda", dtype=torch.float64)) == "torch"


@pytest.mark.parametrize("axis", [-1, (0, 1, 2)])
def test_forward_and_backward_in_a_cuda_graph(axis: Any) -> None:
    """Captured, and replayed on another input, they give what a plain call gives."""
    layer = ElementwiseSelfAttention((3, 32, 32), axis=axis, bias=True, residual=True).cuda()
    x = torch.randn(16, 3, 32, 32, device="cuda")
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):  # compiles the kernels, which cannot be done in a capture
        layer(x).square().sum().backward()
    torch.cuda.current_stream().wait_stream(side)
    layer.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = layer(x)
        y.square().sum().backward()
    x.copy_(torch.randn_like(x))
    graph.replay()
    captured = [y.clone(), *(p.grad.clone() for p in layer.parameters())]
    layer.zero_grad(set_to_none=True)
    plain = layer(x)
    plain.square().sum().backward()
    for got, expected in zip(captured, [plain, *(p.grad for p in layer.parameters())], strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_scores_of_ten_thousand_in_float16_stay_finite() -> None:
    x = (100 * torch.randn(4, 784, device="cuda").sign()).half().requires_grad_()
    y = ewa_rs.elementwise_attention(x, x, x, scale=1.0)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
