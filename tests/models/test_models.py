"""Every network of the registry, by being there; and what single ones promise."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ewa_rs.models import create_model, list_models, model_options

SHAPES = [(1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 9, 13)]


def build(name: str, shape: tuple[int, int, int] = (1, 8, 8), **options: Any) -> nn.Module:
    return create_model(name, input_shape=shape, num_classes=10, **options)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", list_models())
def test_trains(name: str, shape: tuple[int, int, int]) -> None:
    """A few steps on one batch lower its loss, and every parameter gets a gradient."""
    model = build(name, shape)
    x, labels = torch.randn(16, *shape), torch.arange(16) % 10
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    losses = []
    for _ in range(15):
        logits = model(x)
        assert logits.shape == (16, 10)
        loss = nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize("name", list_models())
def test_copies_compute_the_same(name: str) -> None:
    model = build(name).eval()
    x = torch.randn(3, 1, 8, 8)
    fresh = build(name).eval()
    fresh.load_state_dict(model.state_dict())
    for other in (fresh, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(other(x), model(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", list_models())
def test_images_do_not_mix(name: str) -> None:
    """In evaluation, an image's output does not depend on the rest of the batch."""
    model = build(name).double().eval()
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]))


def test_counts_of_parameters() -> None:
    assert parameters(build("vgg_like", (1, 28, 28))) == 436_202
    for name in ("ewa", "dot_product", "linear"):
        assert parameters(build(name, (1, 28, 28))) <= 0.03 * 436_202
        coloured = parameters(build("vgg_like", (3, 32, 32)))
        assert parameters(build(name, (3, 32, 32))) <= 0.5 * coloured
    # Dot-product attention between the rows has the same number as three arrays of the image.
    options = {"bias": False, "hidden": 0, "layers": 2}
    counts = {parameters(build(n, (1, 28, 28), **options)) for n in ("ewa", "dot_product")}
    assert counts == {2 * 3 * 784 + 7850}


@pytest.mark.parametrize(("pool", "more"), [("max", 0), ("attention", 224), ("average", 0)])
def test_vgg_like_with_another_pool(pool: str, more: int) -> None:
    model = build("vgg_like", (1, 28, 28), pool=pool)
    assert parameters(model) == 436_202 + more
    x = torch.randn(2, 1, 28, 28)
    other = build("vgg_like", (1, 28, 28))
    other.load_state_dict(model.state_dict(), strict=not more)
    assert torch.equal(model.eval()(x), other.eval()(x)) == (pool == "max")


def test_ewa_without_layers_is_the_control() -> None:
    ewa = build("ewa", layers=0, hidden=7)
    control = build("linear", normalise=False, hidden=7)
    control.load_state_dict(dict(zip(control.state_dict(), ewa.state_dict().values(), strict=True)))
    x = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(ewa(x), control(x), rtol=0, atol=0)


@pytest.mark.parametrize("axis", [None, -1, 1, (1, 2), (0, 1, 2)], ids=str)
def test_ewa_by_its_formula(axis: int | tuple[int, ...] | None) -> None:
    """One layer, written out in float64."""
    shape = (2, 3, 4)
    options: dict[str, Any] = {"axis": axis, "bias": True, "residual": True, "normalise": True}
    model = build("ewa", shape, layers=1, hidden=0, **options).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    w = {n.rpartition(".")[2]: p.reshape(shape) for n, p in model.named_parameters() if "_" in n}
    x = torch.randn(5, *shape, dtype=torch.float64)
    u = (x - x.mean((1, 2, 3), keepdim=True)) / (
        x.var((1, 2, 3), correction=0, keepdim=True) + 1e-5
    ).sqrt()
    axes = (0, 1, 2) if axis is None else (axis,) if isinstance(axis, int) else axis
    dims = [a + 1 if a >= 0 else a for a in axes]
    n = math.prod(shape[a] for a in axes)
    z = (u * w["w_q"] + w["b_q"]) * (u * w["w_k"] + w["b_k"]) / n**0.5
    a = (z - z.amax(dims, keepdim=True)).exp()
    a = a / a.sum(dims, keepdim=True)
    y = u + n * a * (u * w["w_v"] + w["b_v"])
    torch.testing.assert_close(model(x), model[-1](y.flatten(1)))


def test_backends_agree() -> None:
    rust, torch_ = build("ewa", backend="rust"), build("ewa", backend="torch")
    torch_.load_state_dict(rust.state_dict())
    x = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(rust(x), torch_(x), rtol=1e-5, atol=1e-5)


def test_dot_product_mixes_rows() -> None:
    model = build("dot_product", layers=1, normalise=False).eval()
    attention = model[1]
    x = torch.randn(1, 8, 8)
    changed = x.clone()
    changed[:, 3] += 1

    def output(tokens: Tensor) -> Tensor:
        result: Tensor = attention(tokens)
        return result

    assert not torch.isclose(output(x)[:, 0], output(changed)[:, 0]).all()
    weights = torch.softmax(attention.query(x) @ attention.key(x).mT / 8**0.5, -1)
    torch.testing.assert_close(output(x), x + weights @ attention.value(x))


@pytest.mark.parametrize(
    ("error", "arguments", "words"),
    [
        (ValueError, {"name": "vgg"}, "model.*'vgg'.*vgg_like"),
        (ValueError, {"input_shape": (28, 28)}, r"input_shape.*\(28, 28\)"),
        (ValueError, {"num_classes": 0}, "num_classes.*0"),
        (TypeError, {"depth": 3}, "no option depth.*layers"),
        (TypeError, {"bias": "False"}, "bias: expected true or false, got 'False'"),
        (ValueError, {"layers": -1}, "layers.*-1"),
        (ValueError, {"hidden": "wide"}, "hidden.*'wide'"),
        (ValueError, {"gain": "m"}, "gain.*'m'"),
        (ValueError, {"name": "vgg_like", "input_shape": (1, 7, 9)}, "7×9 is too small"),
        (ValueError, {"name": "vgg_like", "pool": "min"}, "pool.*'min'"),
    ],
)
def test_refuses(error: type[Exception], arguments: dict[str, Any], words: str) -> None:
    good: dict[str, Any] = {"name": "ewa", "input_shape": (1, 8, 8), "num_classes": 10}
    with pytest.raises(error, match=words):
        create_model(**good | arguments)


def test_options_are_listed_with_their_defaults() -> None:
    assert model_options("vgg_like") == {"dense": 128, "pool": "max"}
    for name in list_models():
        build(name, **model_options(name))
