"""The pooling layer as an ordinary nn.Module."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from ewa_rs import elementwise_attention_pool2d
from ewa_rs.nn import ElementwiseAttentionPool2d
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.optimizer import make_optimizer

pytestmark = pytest.mark.usefixtures("poisoned_memory")
every_backend = pytest.mark.parametrize("backend", [None, "rust", "torch"])
SETTINGS: list[dict[str, Any]] = [
    {},
    {"kernel_size": 2},
    {"kernel_size": (3, 2), "stride": (1, 2)},
    {"kernel_size": 2, "per_place": True},
]
every_setting = pytest.mark.parametrize("settings", SETTINGS, ids=str)


def layer(channels: int = 3, **settings: Any) -> ElementwiseAttentionPool2d:
    """A layer whose parameter does not have its initial value."""
    made = ElementwiseAttentionPool2d(channels, **settings)
    with torch.no_grad():
        for p in made.parameters():
            p.normal_()
    return made


@every_backend
@every_setting
def test_forward_is_the_op(backend: Any, settings: dict[str, Any]) -> None:
    made = layer(backend=backend, **settings).double()
    (w,) = made.parameters()
    window = {name: settings.get(name) for name in ("kernel_size", "stride")}
    for shape in ((2, 3, 6, 8), (3, 6, 8)):
        x = torch.randn(shape, dtype=torch.float64)
        expected = elementwise_attention_pool2d(x, w, **window, backend="torch")
        torch.testing.assert_close(made(x), expected, rtol=1e-12, atol=1e-13)


@every_setting
def test_attention_weights_are_those_of_the_op(settings: dict[str, Any]) -> None:
    """They sum up x to the op's output: over its windows, and where these overlap, over all."""
    made = layer(**settings).double()
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    weights = made.attention_weights(x)
    assert weights.shape == x.shape
    torch.testing.assert_close((weights * x).sum((2, 3)), made(x).sum((2, 3)))
    if settings.get("stride") is None:
        sizes = made.kernel_size or (6, 8)
        ones = nn.functional.avg_pool2d(weights, sizes) * (sizes[0] * sizes[1])
        torch.testing.assert_close(ones, torch.ones_like(made(x)))


@pytest.mark.parametrize("settings", [(2,), (3, 2), ((2, 3),), ((3, 2), (1, 2))], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 9, 11), (3, 8, 8)], ids=str)
def test_its_shapes_are_those_of_max_pooling(settings: Any, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    expected = nn.MaxPool2d(*settings)(x)
    assert ElementwiseAttentionPool2d(3, *settings)(x).shape == expected.shape


@every_setting
def test_one_parameter_that_starts_at_one(settings: dict[str, Any]) -> None:
    made = ElementwiseAttentionPool2d(3, **settings)
    ((name, parameter),) = made.named_parameters()
    per_place = settings.get("per_place", False)
    assert name == ("place_weight" if per_place else "weight")
    assert torch.equal(parameter, torch.ones((3, 2, 2) if per_place else 3))
    with torch.no_grad():
        parameter.zero_()
    made.reset_parameters()
    assert parameter.eq(1).all()


@every_setting
def test_weight_decay_leaves_it_alone(settings: dict[str, Any]) -> None:
    optimizer = make_optimizer(ElementwiseAttentionPool2d(3, **settings), TrainConfig())
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0]


@every_setting
@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_is_equal_and_independent(again: Any, settings: dict[str, Any]) -> None:
    made, x = layer(**settings), torch.randn(2, 3, 6, 8)
    expected = made(x)
    expected.sum().backward()
    other = again(made)
    assert repr(other) == repr(made)
    with torch.no_grad():
        next(made.parameters()).zero_()
    assert torch.equal(other(x), expected)


@every_setting
def test_state_dict_goes_into_another_layer(settings: dict[str, Any]) -> None:
    first, second, x = layer(**settings), layer(**settings), torch.randn(2, 3, 6, 8)
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    assert str(second.load_state_dict(torch.load(buffer))) == "<All keys matched successfully>"
    assert torch.equal(first(x), second(x))


@every_backend
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_to_another_dtype(backend: Any, dtype: torch.dtype) -> None:
    made, x = layer(kernel_size=2, backend=backend), torch.randn(2, 3, 6, 8)
    exact = made(x)
    converted = copy.deepcopy(made).to(dtype)
    y = converted(x.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), exact, rtol=0, atol=20 * torch.finfo(dtype).eps + 1e-6)
    y.sum().backward()
    (p,) = converted.parameters()
    assert p.grad is not None
    assert p.grad.dtype == dtype
    assert p.grad.isfinite().all()


def test_device_and_dtype() -> None:
    assert ElementwiseAttentionPool2d(3, dtype=torch.bfloat16).weight.dtype == torch.bfloat16
    on_meta = ElementwiseAttentionPool2d(3, 2, device="meta")
    filled = on_meta.to_empty(device="cpu")
    assert next(filled.parameters()).isnan().all()
    filled.reset_parameters()
    assert next(filled.parameters()).eq(1).all()


@every_backend
def test_training_finds_the_maximum(backend: Any) -> None:
    made, x = ElementwiseAttentionPool2d(4, 2, backend=backend), torch.randn(64, 4, 8, 8)
    target = nn.functional.max_pool2d(x, 2)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.3)
    losses = []
    for _ in range(40):
        loss = (made(x) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert next(made.parameters()).gt(2).all()


@pytest.mark.parametrize(
    ("error", "words", "arguments"),
    [
        (ValueError, "channels.*0", {"channels": 0}),
        (ValueError, "channels.*'3'", {"channels": "3"}),
        (ValueError, "channels.*True", {"channels": True}),
        (ValueError, "kernel_size.*0", {"kernel_size": 0}),
        (TypeError, "stride.*1.5", {"kernel_size": 2, "stride": 1.5}),
        (ValueError, "kernel_size.*per_place", {"per_place": True}),
        (ValueError, "backend.*'cuda'", {"backend": "cuda"}),
    ],
)
def test_refuses(error: type[Exception], words: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(error, match=words):
        ElementwiseAttentionPool2d(**{"channels": 3} | arguments)


def test_images_of_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^w: .*\(4,\).*got \(3,\)"):
        layer(kernel_size=2)(torch.randn(2, 4, 6, 8))


def test_repr_shows_the_settings() -> None:
    shown = repr(ElementwiseAttentionPool2d(3, 2, (1, 2), per_place=True, backend="rust"))
    assert shown == (
        "ElementwiseAttentionPool2d(3, kernel_size=(2, 2), stride=(1, 2), "
        "per_place=True, backend='rust')"
    )
