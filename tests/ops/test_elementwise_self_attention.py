"""Edge cases of element-wise self-attention by name: the projections, fused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ewa_rs import elementwise_attention, elementwise_self_attention
from ewa_rs.ops.elementwise_self_attention.reference import dot_product_reference

pytestmark = pytest.mark.usefixtures("poisoned_memory")
every_backend = pytest.mark.parametrize("backend", ["rust", "torch"])


def drawn(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


@every_backend
@pytest.mark.parametrize("axis", [-1, 0, 1, (1, 2), (0, 1, 2)])
def test_it_is_element_wise_attention_of_the_projections(backend: str, axis: Any) -> None:
    x, *arrays = drawn((6, 5, 9), *[(5, 9)] * 6)
    w_q, w_k, w_v, b_q, b_k, b_v = arrays
    got = elementwise_self_attention(
        x, w_q, w_k, w_v, b_q=b_q, b_k=b_k, b_v=b_v, axis=axis, backend=backend
    )
    expected = elementwise_attention(
        x * w_q + b_q, x * w_k + b_k, x * w_v + b_v, axis=axis, backend="torch"
    )
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)
    grads = [torch.autograd.grad(y.sin().sum(), (x, *arrays)) for y in (got, expected)]
    torch.testing.assert_close(*grads, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("given", range(8))
def test_each_bias_may_be_absent(given: int) -> None:
    x, *arrays = (t.detach().numpy() for t in drawn((4, 9), *[(9,)] * 6))
    biases = dict(zip(("b_q", "b_k", "b_v"), arrays[3:], strict=True))
    some = {n: b for i, (n, b) in enumerate(biases.items()) if given >> i & 1}
    got = elementwise_self_attention(x, *arrays[:3], **some)
    zeros = {n: np.zeros(9) for n in biases} | some
    np.testing.assert_allclose(
        got, elementwise_self_attention(x, *arrays[:3], **zeros), rtol=1e-13, atol=1e-300
    )


@every_backend
def test_projections_by_diagonal_matrices_of_an_image(backend: str) -> None:
    """The feature shape (C, H, W), the softmax over H and W: as dot-product attention has it."""
    x, *weights = drawn((2, 3, 4, 5), *[(3, 4, 5)] * 3)
    got = elementwise_self_attention(x, *weights, axis=(-2, -1), backend=backend)
    expected, _ = dot_product_reference(x, *weights, axis=(-2, -1))
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)


@every_backend
def test_the_input_may_be_smaller_than_the_arrays(backend: str) -> None:
    x, *weights = drawn((9,), *[(4, 9)] * 3)
    got = elementwise_self_attention(x, *weights, backend=backend)
    expected, _ = dot_product_reference(x, *weights)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)
    grads = [torch.autograd.grad(y.sin().sum(), (x, *weights)) for y in (got, expected)]
    torch.testing.assert_close(*grads, rtol=1e-11, atol=1e-13)


@every_backend
def test_projections_are_not_rounded_to_sixteen_bits(backend: str) -> None:
    """x ∘ w_q is beyond float16's largest number, and the score is 1."""
    x = torch.full((1, 4), 300, dtype=torch.float16)
    w_q, w_k = torch.full((4,), 300.0).half(), torch.full((4,), 300.0).half()
    mask = torch.tensor([0.0, 1.0, 2.0, 3.0]).half()
    y, a = elementwise_self_attention(
        x, w_q, w_k, w_q / 300, mask=mask, scale=1e-9, return_weights=True, backend=backend
    )
    expected = torch.softmax(mask.float(), -1)[None].half()
    torch.testing.assert_close(a, expected, rtol=2e-3, atol=0)
    assert y.isfinite().all()


@every_backend
@pytest.mark.parametrize("boolean", [True, False])
def test_a_slice_that_keeps_nothing_is_zero(backend: str, boolean: bool) -> None:
    x, *arrays = drawn((3, 9), *[(9,)] * 6)
    keep = torch.tensor([True, False, True])[:, None]
    mask = keep if boolean else torch.where(keep, 0.0, -torch.inf)
    biases = dict(zip(("b_q", "b_k", "b_v"), arrays[3:], strict=True))
    outputs = elementwise_self_attention(
        x, *arrays[:3], **biases, mask=mask, return_weights=True, backend=backend
    )
    sum(y.sin().sum() for y in outputs).backward()
    for y in (*outputs, x.grad):
        assert y is not None
        assert (y[1] == 0).all()
        assert y.isfinite().all()
    together = [t.grad for t in arrays]
    for t in (x, *arrays):
        t.grad = None
    rows = elementwise_self_attention(
        x[[0, 2]], *arrays[:3], **biases, return_weights=True, backend=backend
    )
    sum(y.sin().sum() for y in rows).backward()
    torch.testing.assert_close(together, [t.grad for t in arrays], rtol=1e-12, atol=1e-14)


@every_backend
def test_nan_stays_in_its_row(backend: str) -> None:
    x, *weights = drawn((20, 37), *[(37,)] * 3, dtype=torch.float32)
    bad = x.detach().clone()
    bad[3, 30] = torch.nan
    bad.requires_grad_()
    results = []
    for rows in (x, bad):
        y = elementwise_self_attention(rows, *weights, backend=backend)
        (grad,) = torch.autograd.grad(y.sin().sum(), rows)
        results.append((y.detach(), grad))
    for clean, got in zip(*results, strict=True):
        assert got[3].isnan().all()
        others = [i for i in range(20) if i != 3]
        assert torch.equal(got[others], clean[others])
