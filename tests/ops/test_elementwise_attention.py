"""Edge cases of element-wise attention by name, and the errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from tests.paths import attend, every_backend, every_path, normal

from ewa_rs import elementwise_attention
from ewa_rs.ops.elementwise_attention.reference import dot_product_reference, reference

pytestmark = pytest.mark.usefixtures("poisoned_memory")


@every_path
def test_weights_sum_to_one_and_favour_large_scores(path: str) -> None:
    q = normal(6, 50, dtype=float)
    _, a = attend(path, q, np.ones_like(q), q, return_weights=True)
    np.testing.assert_allclose(a.sum(-1), 1, rtol=1e-14)
    assert (np.argsort(a) == np.argsort(q)).all()


@every_path
def test_scale_is_one_over_the_root_of_the_slice(path: str) -> None:
    q, k, v = (normal(4, 5, 6, dtype=float) for _ in range(3))
    for axis, n in [(0, 4), (-1, 6), ((0, -1), 24), ((0, 1, 2), 120)]:
        got = attend(path, q, k, v, axis=axis)
        expected = attend(path, q, k, v, axis=axis, scale=1 / math.sqrt(n))
        np.testing.assert_array_equal(got, expected)


@every_path
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", ["boolean", "additive", "scores", "scores and mask"])
def test_a_slice_that_keeps_nothing_is_zero(path: str, dtype: Any, kind: str) -> None:
    q, k, v = (normal(3, 9, dtype=dtype) for _ in range(3))
    keep = np.ones((3, 1), bool)
    keep[1] = False
    mask = keep if kind == "boolean" else np.where(keep, 0, -np.inf).astype(dtype)
    if kind in ("scores", "scores and mask"):
        q[1], k[1] = -np.inf, 1
        mask = None if kind == "scores" else np.zeros((3, 1), dtype)
    y, a = attend(path, q, k, v, mask=mask, return_weights=True)
    for result in (y, a):
        assert (result[1] == 0).all()
        assert np.isfinite(result).all()
    np.testing.assert_array_equal(y[[0, 2]], attend(path, q[[0, 2]], k[[0, 2]], v[[0, 2]]))


@every_path
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("n", [3, 40])
def test_an_additive_mask_of_the_lowest_numbers_keeps_all_or_the_rest(
    path: str, dtype: Any, n: int
) -> None:
    """Only -inf excludes, in the mask or in the scores."""
    q, v = normal(4, n, dtype=dtype), normal(4, n, dtype=dtype)
    mask = np.full((4, n), np.finfo(dtype).min)
    q[1, :-1] = -np.inf
    mask[2, :-1] = -np.inf
    mask[3, 0] = 0
    _, a = attend(path, q, np.ones_like(q), v, mask=mask, return_weights=True)
    np.testing.assert_allclose(a[0].astype(float).sum(), 1, rtol=1e-3)
    for row, place in [(1, -1), (2, -1), (3, 0)]:
        np.testing.assert_array_equal(a[row], np.eye(n, dtype=dtype)[place])


@every_backend
@pytest.mark.parametrize("kind", ["boolean", "additive"])
def test_a_slice_that_keeps_nothing_has_zero_gradients(backend: str, kind: str) -> None:
    q, k, v = (torch.randn(3, 9, requires_grad=True) for _ in range(3))
    keep = torch.tensor([True, False, True])[:, None].expand(3, 9)
    mask = keep if kind == "boolean" else torch.where(keep, 0.0, -math.inf)
    outputs = elementwise_attention(q, k, v, mask=mask, return_weights=True, backend=backend)
    sum(x.sin().sum() for x in outputs).backward()
    for x in (q, k, v):
        assert (x.grad[1] == 0).all()
        assert x.grad.isfinite().all()
        assert (x.grad[0] != 0).any()


def test_a_slice_that_keeps_nothing_has_zero_gradients_in_rust_whatever_it_holds() -> None:
    q, k, v = (torch.full((2, 9), math.nan, requires_grad=True) for _ in range(3))
    mask = torch.zeros(2, 1, dtype=torch.bool)
    y, a = elementwise_attention(q, k, v, mask=mask, return_weights=True, backend="rust")
    (y.sum() + a.sum()).backward()
    for x in (y, a, q.grad, k.grad, v.grad):
        assert (x == 0).all()


def test_a_slice_that_keeps_nothing_is_zero_in_sdpa_too() -> None:
    """The rule is PyTorch's: SDPA's softmax gives zeros there, and zero gradients."""
    q, k, v = (torch.randn(2, 5, dtype=torch.float64, requires_grad=True) for _ in range(3))
    for mask in (torch.zeros(2, 1, dtype=torch.bool), torch.full((2, 1), -math.inf)):
        y, a = dot_product_reference(q, k, v, mask=mask)
        grads = torch.autograd.grad(y.sum() + a.sum(), (q, k, v))
        assert all((x == 0).all() for x in (y, a, *grads))


@every_path
def test_true_takes_part(path: str) -> None:
    q, k, v = (normal(4, 9, dtype=float) for _ in range(3))
    keep = np.random.random((4, 9)) < 0.6
    keep[:, 0] = True
    y, a = attend(path, q, k, v, mask=keep, return_weights=True)
    assert (a[~keep] == 0).all()
    assert (a[keep] > 0).all()
    for i in range(4):
        alone = attend(path, q[i, keep[i]], k[i, keep[i]], v[i, keep[i]], scale=1 / 3)
        np.testing.assert_allclose(y[i, keep[i]], alone, rtol=1e-14)


@every_path
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_a_boolean_mask_excludes_does_not_matter(path: str, bad: float) -> None:
    q, k, v = (normal(2, 9) for _ in range(3))
    keep = np.ones((2, 9), bool)
    keep[:, 4] = False
    expected = attend(path, q, k, v, mask=keep, return_weights=True)
    q[:, 4] = bad
    for got, want in zip(
        attend(path, q, k, v, mask=keep, return_weights=True), expected, strict=True
    ):
        np.testing.assert_array_equal(got, want)


@every_path
def test_the_output_of_an_excluded_element_is_zero_times_its_value(path: str) -> None:
    v = np.array([[1.0, np.inf, np.nan, 2.0]])
    keep = np.array([[True, False, False, True]])
    y = attend(path, np.ones((1, 4)), np.ones((1, 4)), v, mask=keep)
    np.testing.assert_array_equal(y, [[0.5, np.nan, np.nan, 1.0]])


@every_path
@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (0, 0), (3, 0, 4), (2, 3, 0)])
def test_zero_size(path: str, shape: tuple[int, ...]) -> None:
    for axis in (*range(len(shape)), tuple(range(len(shape)))):
        y, a = attend(path, *[normal(*shape)] * 3, axis=axis, return_weights=True)
        assert y.shape == a.shape == shape
        assert y.dtype == a.dtype == np.float32


@every_backend
@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_zero_size_gradients(backend: str, shape: tuple[int, ...]) -> None:
    """The gradient of an operand that was broadcast to nothing is zero; of an empty one, empty."""
    full = torch.randn(shape, requires_grad=True)
    smaller = torch.randn(1, 5 if shape[1] else 1, requires_grad=True)
    no_strides = torch.empty_strided((0, 1), (0, 0)) if shape[0] == 0 else torch.empty((5, 0))
    no_strides.requires_grad_()
    elementwise_attention(full, smaller, no_strides, backend=backend).sum().backward()
    assert full.grad.shape == shape
    assert torch.equal(smaller.grad, torch.zeros_like(smaller))
    assert no_strides.grad.shape == no_strides.shape


@every_path
def test_a_slice_of_one_has_weight_one(path: str) -> None:
    q, v = normal(4, 1), normal(4, 1)
    y, a = attend(path, q, q, v, return_weights=True)
    np.testing.assert_array_equal(a, np.ones((4, 1)))
    np.testing.assert_array_equal(y, v)


@every_path
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("axis", [0, 1])
def test_nan_and_infinity_stay_in_their_slice(path: str, dtype: Any, bad: float, axis: int) -> None:
    q, v = normal(20, 37, dtype=dtype), normal(20, 37, dtype=dtype)
    k = np.ones_like(q)
    expected = attend(path, q, k, v, axis=axis, return_weights=True)
    q[3, 30] = bad
    for got, clean in zip(
        attend(path, q, k, v, axis=axis, return_weights=True), expected, strict=True
    ):
        got, clean = np.moveaxis(got, axis, -1), np.moveaxis(clean, axis, -1)
        own = 3 if axis == 1 else 30
        assert np.isnan(got[own]).all()
        np.testing.assert_array_equal(np.delete(got, own, 0), np.delete(clean, own, 0))


@every_backend
@pytest.mark.parametrize("axis", [0, 1])
def test_gradients_of_nan_stay_in_their_slice(backend: str, axis: int) -> None:
    def gradients(bad: float) -> list[torch.Tensor]:
        torch.manual_seed(0)
        q, k, v = (torch.randn(20, 37) for _ in range(3))
        q[3, 30] = bad
        leaves = [x.requires_grad_() for x in (q, k, v)]
        elementwise_attention(q, k, v, axis=axis, backend=backend).sin().sum().backward()
        return [np.moveaxis(x.grad.numpy(), axis, -1) for x in leaves]  # type: ignore[union-attr]

    own = 3 if axis == 1 else 30
    for got, clean in zip(gradients(math.nan), gradients(1.0), strict=True):
        assert np.isnan(got[own]).all()
        np.testing.assert_array_equal(np.delete(got, own, 0), np.delete(clean, own, 0))


@every_path
def test_a_score_of_minus_infinity_has_weight_zero(path: str) -> None:
    z = np.array([[-np.inf, 0.0, 1.0]])
    y, a = attend(path, z, np.ones((1, 3)), np.ones((1, 3)), scale=1.0, return_weights=True)
    np.testing.assert_allclose(a, reference(z, [1.0], [1.0, 1.0, 1.0], scale=1.0)[1], rtol=1e-15)
    np.testing.assert_array_equal(y, a)
    assert a[0, 0] == 0


@every_path
def test_scores_of_ten_thousand_in_float16(path: str) -> None:
    """q·k is beyond the largest float16; the weights of the two equal maxima are a half each."""
    q = np.full((1, 8), 300, np.float16)
    k = np.array([[300, -300, 299, 300, 0, -1, 1, 2]], np.float16)
    y, a = attend(path, q, k, np.ones_like(q), scale=1 / 9, return_weights=True)
    np.testing.assert_array_equal(a, np.array([[0.5, 0, 0, 0.5, 0, 0, 0, 0]], np.float16))
    np.testing.assert_array_equal(y, a)


@every_path
def test_large_scores_do_not_overflow(path: str) -> None:
    for dtype in (np.float32, np.float64):
        z = np.array([[1e30, -1e30, 0, 1e30]], dtype)
        _, a = attend(path, z, np.ones_like(z), z, scale=1.0, return_weights=True)
        np.testing.assert_array_equal(a, [[0.5, 0, 0, 0.5]])
