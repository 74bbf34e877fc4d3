"""The layer as an ordinary nn.Module."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ewa_rs import elementwise_self_attention
from ewa_rs.nn import ElementwiseSelfAttention

pytestmark = pytest.mark.usefixtures("poisoned_memory")
every_backend = pytest.mark.parametrize("backend", [None, "rust", "torch"])


def layer(*args: Any, **options: Any) -> ElementwiseSelfAttention:
    """A layer none of whose parameters has its initial value."""
    made = ElementwiseSelfAttention(*args, **options)
    with torch.no_grad():
        for p in made.parameters():
            p.normal_()
    return made


def test_a_layer_has_three_parameters_a_feature() -> None:
    def count(made: ElementwiseSelfAttention) -> int:
        return sum(p.numel() for p in made.parameters())

    assert count(ElementwiseSelfAttention(784)) == 2352
    assert count(ElementwiseSelfAttention((3, 32, 32))) == 9216
    assert count(ElementwiseSelfAttention((3, 32, 32), bias=True)) == 2 * 9216


@pytest.mark.parametrize("bias", [False, True])
def test_parameters_have_names_and_finite_initial_values(bias: bool) -> None:
    state = ElementwiseSelfAttention((3, 4), bias=bias).state_dict()
    names = ["w_q", "w_k", "w_v"] + (["b_q", "b_k", "b_v"] if bias else [])
    assert list(state) == names
    for value in state.values():
        assert value.shape == (3, 4)
        assert value.isfinite().all()


def test_queries_and_keys_start_apart() -> None:
    """Equal w_q and w_k would have equal gradients for ever."""
    made = ElementwiseSelfAttention(100)
    assert (made.w_q != made.w_k).any()


@every_backend
@pytest.mark.parametrize("axis", [-1, 0, (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_forward_is_the_op(backend: Any, axis: Any, bias: bool, residual: bool) -> None:
    """Axes count from the front of the feature shape; gain scales the attention alone."""
    made = layer(
        (2, 3, 4), axis=axis, bias=bias, residual=residual, gain=24.0, scale=0.7, backend=backend
    ).double()
    x = torch.randn(5, 2, 3, 4, dtype=torch.float64)
    behind = tuple(a % 3 - 3 for a in ((axis,) if isinstance(axis, int) else axis))
    biases = {"b_q": made.b_q, "b_k": made.b_k, "b_v": made.b_v}
    y = elementwise_self_attention(
        x, made.w_q, made.w_k, made.w_v, **biases, axis=behind, scale=0.7, backend="torch"
    )
    expected = 24 * y + x if residual else 24 * y
    torch.testing.assert_close(made(x), expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(made(x[0]), expected[0], rtol=1e-12, atol=1e-13)


@every_backend
@pytest.mark.parametrize("options", [{}, {"bias": True, "residual": True, "gain": 6.0}], ids=str)
def test_gradcheck(backend: Any, options: dict[str, Any]) -> None:
    made = layer((2, 3), axis=(0, 1), backend=backend, **options).double()
    parameters = dict(made.named_parameters())

    def function(x: Tensor, *values: Tensor) -> Any:
        named = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(made, named, (x,))

    x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (x, *parameters.values()))


@pytest.mark.parametrize("bias", [False, True])
def test_state_dict_goes_into_another_layer(bias: bool) -> None:
    x = torch.randn(2, 9)
    first, second = layer(9, bias=bias), layer(9, bias=bias)
    assert not torch.equal(first(x), second(x))
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    assert str(second.load_state_dict(torch.load(buffer))) == "<All keys matched successfully>"
    assert torch.equal(first(x), second(x))


def test_state_dict_of_another_shape_is_refused() -> None:
    with pytest.raises(RuntimeError, match="w_q"):
        layer(9).load_state_dict(layer(8).state_dict())


@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_is_equal_and_independent(again: Any) -> None:
    options = {"axis": (0, 1), "bias": True, "residual": True, "gain": 3.0, "scale": 0.5}
    made = layer((3, 4), backend="torch", **options)
    x = torch.randn(2, 3, 4)
    expected = made(x)
    expected.sum().backward()
    other = again(made)
    assert repr(other) == repr(made)
    with torch.no_grad():
        made.w_q.zero_()
    assert torch.equal(other(x), expected)


def test_a_whole_layer_survives_torch_save(tmp_path: Path) -> None:
    made, x = layer(9, bias=True), torch.randn(2, 9)
    torch.save(made, tmp_path / "layer.pt")
    assert torch.equal(torch.load(tmp_path / "layer.pt", weights_only=False)(x), made(x))


@every_backend
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_to_another_dtype(backend: Any, dtype: torch.dtype) -> None:
    made = layer((4, 9), bias=True, residual=True, backend=backend)
    x = torch.randn(3, 4, 9)
    exact = made(x)
    converted = copy.deepcopy(made).to(dtype)
    y = converted(x.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), exact, rtol=0, atol=20 * torch.finfo(dtype).eps + 1e-6)
    y.sum().backward()
    for p in converted.parameters():
        assert p.grad is not None
        assert p.grad.dtype == dtype
        assert p.grad.isfinite().all()


def test_half_and_device() -> None:
    assert layer(9).half().w_q.dtype == torch.float16
    assert ElementwiseSelfAttention(9, dtype=torch.bfloat16).w_v.dtype == torch.bfloat16
    on_meta = ElementwiseSelfAttention(9, bias=True, device="meta")
    assert {p.device.type for p in on_meta.parameters()} == {"meta"}
    filled = on_meta.to_empty(device="cpu")
    assert filled.w_q.isnan().all()
    filled.reset_parameters()
    assert all(p.isfinite().all() for p in filled.parameters())


@every_backend
def test_training_lowers_the_loss(backend: Any) -> None:
    made = ElementwiseSelfAttention((4, 8), axis=-1, bias=True, gain=8.0, backend=backend)
    x, target = torch.randn(64, 4, 8), torch.randn(4, 8).expand(64, 4, 8)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        loss = (made(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@every_backend
def test_autocast_keeps_the_layer_usable(backend: Any) -> None:
    made, x = layer(9, backend=backend), torch.randn(3, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = made(torch.nn.functional.linear(x, torch.eye(9)))
    y.float().sum().backward()
    torch.testing.assert_close(y.float(), made(x), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("feature_shape", [0, -1, (), (3, 0), "ab", 1.5, None, (2, 1.5)], ids=str)
def test_feature_shapes_that_are_refused(feature_shape: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="feature_shape"):
        ElementwiseSelfAttention(feature_shape)


@pytest.mark.parametrize(
    ("axis", "error"),
    [(2, ValueError), (-3, ValueError), ((0, 0), ValueError), ((), ValueError), (1.5, TypeError)],
    ids=str,
)
def test_axes_that_are_refused(axis: Any, error: Any) -> None:
    with pytest.raises(error, match="axis"):
        ElementwiseSelfAttention((3, 4), axis=axis)


def test_backends_that_are_refused() -> None:
    with pytest.raises(ValueError, match="backend"):
        ElementwiseSelfAttention(3, backend="cuda")


@pytest.mark.parametrize("shape", [(), (4,), (3,), (2, 4, 3), (2, 3, 1), (3, 4, 1)], ids=str)
def test_inputs_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^x: .*\(3, 4\)") as error:
        layer((3, 4))(torch.randn(shape))
    assert str(shape) in str(error.value)


def test_repr_shows_the_settings() -> None:
    shown = repr(ElementwiseSelfAttention((3, 4), axis=(0, 1), bias=True, gain=12.0))
    for part in ("(3, 4)", "axis=", "bias=True", "gain=12.0"):
        assert part in shown
