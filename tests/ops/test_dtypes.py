"""Element types, promotion and strides of element-wise attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.paths import attend, every_backend, every_path, normal

from ewa_rs import elementwise_attention
from ewa_rs.ops.elementwise_attention.reference import reference

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sixteen_bits_are_rounded_once(dtype: Any) -> None:
    """Adding up 5000 weights in float16 would stop at 2048."""
    v = np.ones(5000, dtype)
    y = elementwise_attention(np.zeros_like(v), v, v)
    np.testing.assert_array_equal(y, np.full(5000, 1 / 5000).astype(dtype))


@every_backend
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_gradients_are_summed_in_float32(backend: str, dtype: torch.dtype) -> None:
    v = torch.ones(1, dtype=dtype, requires_grad=True)
    q = torch.zeros(5000, 2, dtype=dtype)
    elementwise_attention(q, q, v, backend=backend).sum().backward()
    assert v.grad is not None
    assert v.grad.item() == torch.tensor(5000.0).to(dtype).item()


@pytest.mark.parametrize(
    "order",
    [np.asfortranarray, lambda x: x[::-1], lambda x: x[:, ::-1], lambda x: x[::2, 1::3]],
    ids=["fortran", "rows reversed", "columns reversed", "sliced"],
)
@pytest.mark.parametrize("axis", [0, 1, (0, 1)])
def test_strides(order: Callable[[Any], Any], axis: Any) -> None:
    q, k, v = (order(normal(20, 66)) for _ in range(3))
    for x in (q, k, v):
        x.flags.writeable = False
    got = elementwise_attention(q, k, v, axis=axis)
    copies = (np.ascontiguousarray(x) for x in (q, k, v))
    np.testing.assert_allclose(got, elementwise_attention(*copies, axis=axis), rtol=1e-6)


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0), (1, 3, 0, 2)])
@pytest.mark.parametrize("axis", [1, (2, 3)])
def test_results_have_the_order_in_memory_of_an_input(axes: Any, axis: Any) -> None:
    """Images whose channels come last stay so; `axes` is how the axes lie in memory."""
    shape = np.array((2, 3, 4, 5))
    q, k, v = (normal(*shape[list(axes)]).transpose(np.argsort(axes)) for _ in range(3))
    expected = elementwise_attention(*(x.copy("C") for x in (q, k, v)), axis=axis)
    strides = np.empty_like(q, order="K").strides
    for first in (q, q[:1]):  # that is not as large as the result does not say
        y, a = elementwise_attention(first, k, v, axis=axis, return_weights=True)
        assert y.strides == a.strides == strides
    np.testing.assert_allclose(elementwise_attention(q, k, v, axis=axis), expected, rtol=1e-6)


def test_the_result_of_a_repeated_row_has_memory_of_its_own() -> None:
    x = np.broadcast_to(normal(7), (3, 7))
    y = elementwise_attention(x, x, x)
    assert y.flags.writeable
    assert y.strides == np.empty_like(x, order="K").strides
    np.testing.assert_allclose(y, elementwise_attention(x.copy(), x, x), rtol=1e-6)


def test_lists_are_float64_arrays() -> None:
    y = elementwise_attention([0.0, 1.0], [1.0, 1.0], [1.0, 2.0], mask=[True, True])
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, reference([0.0, 1.0], [1.0, 1.0], [1.0, 2.0])[0], rtol=1e-15)


@pytest.mark.parametrize("path", ["numpy", "rust", "torch"])
def test_mixed_floats_promote(path: str) -> None:
    half, single, double = (normal(9, dtype=d) for d in (np.float16, np.float32, np.float64))
    for operands in [(half, single, half), (single, double, half), (half, half, double)]:
        wide = np.result_type(*operands)
        got = attend(path, *operands)
        assert got.dtype == wide
        np.testing.assert_array_equal(got, attend(path, *(x.astype(wide) for x in operands)))


def test_float16_and_bfloat16_promote_to_float32() -> None:
    x = torch.randn(9)
    y = elementwise_attention(x.half(), x.bfloat16(), x.half())
    assert y.dtype == torch.float32
    assert torch.equal(y, elementwise_attention(x.half().float(), x.bfloat16().float(), x.half()))


@every_path
def test_an_additive_mask_takes_the_operands_type(path: str) -> None:
    """-1e9 in a float16 mask is -inf: excluded, not merely unlikely."""
    q, k, v = (normal(2, 9, dtype=np.float16) for _ in range(3))
    mask = np.where(np.random.random((2, 9)) < 0.5, 0.1, -1e9)
    with np.errstate(over="ignore"):
        expected = attend(path, q, k, v, mask=mask.astype(np.float16))
        got = attend(path, q, k, v, mask=mask)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, expected)


def test_gradient_of_a_promoted_operand_has_its_own_type() -> None:
    q = torch.randn(9, dtype=torch.float16, requires_grad=True)
    mask = torch.randn(9, dtype=torch.float64, requires_grad=True)
    elementwise_attention(q, torch.randn(9), torch.randn(9), mask=mask).sum().backward()
    assert q.grad is not None
    assert q.grad.dtype == torch.float16
    assert mask.grad is not None
    assert mask.grad.dtype == torch.float64


def test_other_byte_order_is_right_or_refused() -> None:
    q = normal(9)
    swapped = q.astype(q.dtype.newbyteorder())
    try:
        got = elementwise_attention(swapped, q, q)
    except TypeError as error:
        assert "q" in str(error)
    else:
        np.testing.assert_array_equal(got, elementwise_attention(q, q, q))
