"""Attention pooling: against its formula and dot-product attention, and what is special to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.checks import BACKENDS
from tests.strategies import LAYOUTS, lay_out

import ewa_rs
from ewa_rs import elementwise_attention_pool2d
from ewa_rs.ops.elementwise_attention_pool2d.reference import (
    dot_product_reference,
    reference,
    reference_grad,
)

pytestmark = pytest.mark.usefixtures("poisoned_memory")
every_backend = pytest.mark.parametrize("backend", BACKENDS)
every_kind = pytest.mark.parametrize("kind", ["numpy", "rust", "torch"])
WINDOWS: dict[str, Any] = {
    "pairs": {"kernel_size": (2, 2)},
    "whole image": {},
    "overlapping": {"kernel_size": (3, 2), "stride": (1, 2)},
    "apart": {"kernel_size": (2, 1), "stride": (3, 2)},
}
every_window = pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)


@every_window
@pytest.mark.parametrize("per_place", [False, True])
def test_the_formula_is_dot_product_attention(window: Any, per_place: bool) -> None:
    kernel = window.get("kernel_size", (5, 6)) if per_place else ()
    x, w = (
        torch.randn(s, dtype=torch.float64).requires_grad_() for s in ((2, 3, 5, 6), (3, *kernel))
    )
    y = dot_product_reference(x, w, **window)
    grad = torch.randn_like(y)
    found = torch.autograd.grad(y, (x, w), grad)
    arrays = [t.detach().numpy() for t in (x, w)]
    expected = reference_grad(*arrays, grad.numpy(), **window)
    np.testing.assert_allclose(y.detach().numpy(), reference(*arrays, **window), rtol=1e-12)
    for got, want in zip(found, expected.values(), strict=True):
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-11, atol=1e-13)


@every_window
@every_backend
@pytest.mark.parametrize("per_place", [False, True])
def test_gradients_of_gradients(window: Any, backend: str, per_place: bool) -> None:
    kernel = window.get("kernel_size", (4, 5)) if per_place else ()
    leaves = [
        torch.randn(s, dtype=torch.float64).requires_grad_() for s in ((2, 2, 4, 5), (2, *kernel))
    ]

    def function(x: Any, w: Any) -> Any:
        return elementwise_attention_pool2d(x, w, **window, backend=backend)

    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


@every_kind
@pytest.mark.parametrize("kernel_size", [2, 3, None])
def test_average_and_maximum_are_its_limits(kind: str, kernel_size: int | None) -> None:
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    size = kernel_size or 6
    for w, limit in (
        (0.0, torch.nn.functional.avg_pool2d(x, size)),
        (1e6, torch.nn.functional.max_pool2d(x, size)),
        (-1e6, -torch.nn.functional.max_pool2d(-x, size)),
    ):
        got = pooled(kind, x.numpy(), np.full(3, w), kernel_size=kernel_size)
        np.testing.assert_allclose(got, limit.numpy(), rtol=1e-13, atol=1e-15)


def pooled(kind: str, x: Any, w: Any, **window: Any) -> Any:
    """Call with arrays or with tensors, and give arrays back."""
    if kind == "numpy":
        return elementwise_attention_pool2d(x, w, **window)
    tensors = (torch.tensor(np.asarray(t)) for t in (x, w))
    return elementwise_attention_pool2d(*tensors, **window, backend=kind).numpy()


@every_kind
@every_window
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinities_stay_in_their_windows(kind: str, window: Any, value: float) -> None:
    x, w = np.random.standard_normal((3, 9, 12)).astype("f4"), np.ones(3, "f4")
    expected = pooled(kind, x, w, **window)
    x[1, 3, 4] = value
    with np.errstate(all="ignore"):
        touched = np.isnan(reference(x, w, **window))
    got = pooled(kind, x, w, **window)
    np.testing.assert_array_equal(np.isnan(got), touched)
    np.testing.assert_array_equal(got[~touched], expected[~touched])


@every_backend
@every_window
def test_gradients_of_nan_stay_there(backend: str, window: Any) -> None:
    x = torch.randn(2, 3, 9, 12)
    x[1, 2, 3, 4] = torch.nan
    w = torch.ones(3, requires_grad=True)
    x.requires_grad_()
    y = elementwise_attention_pool2d(x, w, **window, backend=backend)
    dx, dw = torch.autograd.grad(y.sum(), (x, w))
    expected = reference_grad(*(t.detach().numpy() for t in (x, w, torch.ones_like(y))), **window)
    assert torch.equal(dx.isnan(), torch.from_numpy(np.isnan(expected["x"])))
    assert dw.isnan().tolist() == np.isnan(expected["w"]).tolist()


@every_kind
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_scores_of_ten_thousand(kind: str, dtype: str) -> None:
    x, w = np.full((1, 4, 4), 100, dtype), np.full(1, 100, dtype)
    x[0, 1, 1] = -100
    got = pooled(kind, x, w, kernel_size=2)
    np.testing.assert_allclose(got, np.full((1, 2, 2), 100), rtol=2 * np.finfo(dtype).eps)


@every_kind
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (0, 4, 4), (2, 0, 3, 4, 4)], ids=str)
def test_nothing_to_pool(kind: str, shape: tuple[int, ...]) -> None:
    y = pooled(kind, np.ones(shape, "f4"), np.ones(shape[-3], "f4"), kernel_size=2)
    assert y.shape == (*shape[:-2], 2, 2)


@every_backend
def test_gradients_of_nothing(backend: str) -> None:
    x, w = torch.ones(0, 3, 4, 4, requires_grad=True), torch.ones(3, requires_grad=True)
    elementwise_attention_pool2d(x, w, backend=backend).sum().backward()
    assert x.grad is not None and w.grad is not None
    assert x.grad.shape == x.shape
    assert w.grad.tolist() == [0, 0, 0]


@every_window
def test_layouts_of_numpy(window: Any) -> None:
    x, w = np.random.standard_normal((2, 20, 9, 12)).astype("f4"), np.ones(20, "f4")
    expected = elementwise_attention_pool2d(x, w, **window)
    for kind in LAYOUTS:
        got = elementwise_attention_pool2d(lay_out(kind, x), lay_out(kind, w), **window)
        np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-7)
    last = np.moveaxis(np.moveaxis(x, 1, -1).copy(), -1, 1)
    got = elementwise_attention_pool2d(last, w, **window)
    np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-7)
    assert np.moveaxis(got, 1, -1).flags.c_contiguous


@every_backend
@every_window
def test_channels_last_stays_channels_last(backend: str, window: Any) -> None:
    x, w = torch.randn(2, 20, 9, 12), torch.randn(20, requires_grad=True)
    last = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    x.requires_grad_()
    y, expected = (elementwise_attention_pool2d(t, w, **window, backend=backend) for t in (last, x))
    torch.testing.assert_close(y, expected)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert expected.is_contiguous()
    grads = (torch.autograd.grad(t.sin().sum(), (u, w)) for t, u in ((y, last), (expected, x)))
    got, want = grads
    torch.testing.assert_close(got, want)
    if backend == "rust":
        assert got[0].is_contiguous(memory_format=torch.channels_last)


@every_window
@pytest.mark.parametrize("last", [False, True])
def test_the_same_bits_with_any_number_of_threads(window: Any, last: bool) -> None:
    x, w = torch.randn(40, 20, 9, 12), torch.randn(20, requires_grad=True)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    before, results = ewa_rs.get_num_threads(), []
    try:
        for n in (1, 2, 3, 8):
            ewa_rs.set_num_threads(n)
            y = elementwise_attention_pool2d(x, w, **window)
            results.append((y, *torch.autograd.grad(y.sin().sum(), (x, w))))
    finally:
        ewa_rs.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], result, strict=True))


@every_backend
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_are_summed_in_float32(backend: str, dtype: torch.dtype) -> None:
    x = torch.ones(1, 100, 100, dtype=dtype, requires_grad=True)
    w = torch.zeros(1, dtype=dtype)
    y = elementwise_attention_pool2d(x, w, backend=backend)
    assert y.item() == 1
    y = elementwise_attention_pool2d(x, w, kernel_size=4, stride=1, backend=backend)
    (dx,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(dx[0, 5:-5, 5:-5], torch.ones(90, 90, dtype=dtype), rtol=0, atol=0)


def test_mixed_floats_promote() -> None:
    x, w = np.ones((1, 2, 2), np.float16), np.ones(1)
    assert elementwise_attention_pool2d(x, w).dtype == np.float64
    assert elementwise_attention_pool2d(torch.tensor(x), torch.tensor(w)).dtype == torch.float64
    half = torch.ones(1, 2, 2).bfloat16().requires_grad_()
    elementwise_attention_pool2d(half, torch.ones(1)).sum().backward()
    assert half.grad is not None
    assert half.grad.dtype == torch.bfloat16


@every_kind
@pytest.mark.parametrize(
    ("error", "words", "given"),
    [
        (ValueError, r"^x: expected a shape .* \(4, 4\)", {"x": np.ones((4, 4))}),
        (ValueError, r"^x: .*pixel.*\(3, 0, 4\)", {"x": np.ones((3, 0, 4))}),
        (ValueError, r"^w: .*\(3,\) or \(3, 4, 4\), got \(4,\)", {"w": np.ones(4)}),
        (ValueError, r"^w: .*\(3, 2, 2\)", {"w": np.ones((3, 2, 2))}),
        (ValueError, r"^w: .*got \(\)", {"w": np.ones(())}),
        (TypeError, r"^x: .*int64.*cast", {"x": np.ones((3, 4, 4), int)}),
        (TypeError, r"^w: .*bool.*cast", {"w": np.ones(3, bool)}),
        (ValueError, r"^kernel_size: .*\(4, 4\), got \(5, 2\)", {"kernel_size": (5, 2)}),
        (ValueError, r"^kernel_size: .*at least 1, got 0", {"kernel_size": 0}),
        (ValueError, r"^kernel_size: .*\(1, 2, 3\)", {"kernel_size": (1, 2, 3)}),
        (TypeError, r"^kernel_size: .*1.5", {"kernel_size": 1.5}),
        (TypeError, r"^kernel_size: .*'2'", {"kernel_size": "2"}),
        (TypeError, r"^stride: .*True", {"stride": True}),
        (ValueError, r"^stride: .*-1", {"kernel_size": 2, "stride": (2, -1)}),
        (ValueError, r"^backend: .*'cuda'", {"backend": "cuda"}),
        (ValueError, r"^backend: .*'triton'", {"backend": "triton"}),
    ],
)
def test_refuses(kind: str, error: type[Exception], words: str, given: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"x": np.ones((3, 4, 4)), "w": np.ones(3)} | given
    if kind != "numpy":
        for name in ("x", "w"):
            arguments[name] = torch.tensor(arguments[name])
        arguments.setdefault("backend", kind)
    with pytest.raises(error, match=words):
        elementwise_attention_pool2d(**arguments)


def test_refuses_arrays_with_tensors_and_other_devices() -> None:
    x, w = np.ones((3, 4, 4), "f4"), torch.ones(3)
    with pytest.raises(TypeError, match=r"x numpy.ndarray, w torch.Tensor"):
        elementwise_attention_pool2d(x, w)
    with pytest.raises(ValueError, match="w on meta"):
        elementwise_attention_pool2d(torch.tensor(x), w.to("meta"))
    with pytest.raises(ValueError, match=r"^backend: 'rust'.*meta"):
        elementwise_attention_pool2d(torch.tensor(x).to("meta"), w.to("meta"), backend="rust")
    with pytest.raises(TypeError, match=r"^x: .*dense"):
        elementwise_attention_pool2d(torch.tensor(x).to_sparse(), w)
