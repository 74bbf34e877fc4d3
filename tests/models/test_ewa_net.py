"""What the family ewa_net promises beside what every network does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ewa_rs.models import create_model
from ewa_rs.models.ewa_net import Context, Excitation
from ewa_rs.models.pooling import POOLINGS, SigmoidGate, SqueezeExcitation, make_pooling
from ewa_rs.nn import ElementwiseAttentionPool2d

FASHION, CIFAR = (1, 28, 28), (3, 32, 32)


def build(name: str, shape: tuple[int, int, int], **options: str | bool) -> nn.Module:
    return create_model(name, input_shape=shape, num_classes=10, **options)


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "share"),
    [
        ("ewa_net_s", FASHION, 0.03),
        ("ewa_net_s", CIFAR, 0.03),
        ("ewa_net_m", FASHION, 0.25),
        ("ewa_net_m", CIFAR, 0.25),
        ("ewa_net_l", CIFAR, 0.50),
    ],
)
def test_sizes_are_a_share_of_the_baseline(
    name: str, shape: tuple[int, int, int], share: float
) -> None:
    baseline = parameters(build("vgg_like", shape))
    assert 0.4 * share * baseline < parameters(build(name, shape)) <= share * baseline


def test_documented_numbers_of_parameters() -> None:
    counts = [parameters(build(f"ewa_net_{size}", FASHION)) for size in "sm"]
    assert [*counts, parameters(build("ewa_net_l", CIFAR))] == [12_998, 107_338, 231_562]
    counts = [parameters(build("ewa_net_s", FASHION, pool=pool)) for pool in POOLINGS]
    assert dict(zip(POOLINGS, counts, strict=True)) == {
        **{"attention": 12_998, "softpool": 12_998, "gate": 12_998, "se": 13_130},
        **dict.fromkeys(("plain", "average", "max"), 12_866),
    }


@pytest.mark.parametrize(("weight", "pool"), [(0.0, "average"), (1e12, "max")])
def test_attention_lies_between_average_and_maximum(weight: float, pool: str) -> None:
    """Weights of 0 make it the same network as with average pooling, large ones as with max."""
    model = build("ewa_net_s", FASHION).double().eval()
    for module in model.modules():
        if isinstance(module, ElementwiseAttentionPool2d):
            assert module.weight is not None
            nn.init.constant_(module.weight, weight)
    x = torch.randn(2, *FASHION, dtype=torch.float64)
    for other in ("average", "max"):
        peer = build("ewa_net_s", FASHION, pool=other).double().eval()
        peer.load_state_dict(model.state_dict(), strict=False)
        assert torch.allclose(model(x), peer(x)) is (other == pool)


def test_softpool_is_attention_that_is_not_trained() -> None:
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    pool = make_pooling("softpool", 3, 2)
    windows = x.reshape(2, 3, 2, 2, 2, 2).transpose(3, 4).flatten(-2)
    expected = (windows.softmax(-1) * windows).sum(-1)
    torch.testing.assert_close(pool(x), expected)
    gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in (pool(x), expected)]
    torch.testing.assert_close(*gradients)
    assert not any(parameter.requires_grad for parameter in pool.parameters())


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (40, 33)], ids=str)
def test_takes_images_of_other_sizes(size: tuple[int, int]) -> None:
    assert build("ewa_net_s", CIFAR)(torch.randn(2, 3, *size)).shape == (2, 10)


def test_context_starts_as_nothing_and_is_its_formula() -> None:
    model, plain = build("ewa_net_s", CIFAR, context=True), build("ewa_net_s", CIFAR)
    assert parameters(model) - parameters(plain) == 3 * (24 + 48 + 60)
    contexts = [module for module in model if isinstance(module, Context)]
    x = torch.randn(2, 24, 5, 6, dtype=torch.float64)
    context = contexts[0].double()
    assert len(contexts) == 3
    assert torch.equal(context(x), x)
    with torch.no_grad():
        for parameter in context.parameters():
            parameter.copy_(torch.randn(24))
    w, q, g = (p[:, None, None] for p in (context.pool.weight, context.query, context.gain))
    a = (w * x).flatten(-2).softmax(-1).view_as(x)
    y = x + g * torch.sigmoid(q * x) * (a * x).sum((-2, -1), keepdim=True)
    torch.testing.assert_close(context(x), y)


def test_excitation_is_its_formula() -> None:
    model, plain = build("ewa_net_s", CIFAR, excitation=True), build("ewa_net_s", CIFAR)
    assert parameters(model) - parameters(plain) == 3 * (24 + 48 + 60)
    excitations = [module for module in model if isinstance(module, Excitation)]
    x = torch.randn(2, 24, 5, 6, dtype=torch.float64)
    excitation = excitations[0].double()
    assert len(excitations) == 3
    torch.testing.assert_close(excitation(x), x / (1 + torch.exp(torch.tensor(-1.0))))
    with torch.no_grad():
        for parameter in excitation.parameters():
            parameter.copy_(torch.randn(24))
    parts = excitation.pool.weight, excitation.weight, excitation.bias
    w, s, b = (p[:, None, None] for p in parts)
    a = (w * x).flatten(-2).softmax(-1).view_as(x)
    z = s * (a * x).sum((-2, -1), keepdim=True) + b
    torch.testing.assert_close(excitation(x), x / (1 + torch.exp(-z)))


@pytest.mark.parametrize("layer", [Context, Excitation, SigmoidGate, SqueezeExcitation])
def test_mixed_precision_stays_mixed(layer: type[nn.Module]) -> None:
    """Parameters in float32 do not make float32 of the images, which would take twice as long."""
    x = torch.randn(2, 3, 4, 4, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(3)(x).dtype is torch.bfloat16


def test_gate_and_squeeze_excitation_are_their_formulas() -> None:
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    gate, se = (make_pooling(name, 3, 2).double() for name in ("gate", "se"))
    w, s, b = torch.randn(3, 3, dtype=torch.float64)
    for parameter, value in zip([*gate.parameters(), *se.parameters()], (w, s, b), strict=True):
        nn.init.zeros_(parameter).data.add_(value)

    def windows(gated: Tensor) -> Tensor:
        return gated.reshape(2, 3, 2, 2, 2, 2).amax((3, 5))

    torch.testing.assert_close(gate(x), windows(x / (1 + torch.exp(-w[:, None, None] * x))))
    z = torch.einsum("c,nchw->nc", s, x) / 16 + b
    torch.testing.assert_close(se(x), windows(x / (1 + torch.exp(-z[..., None, None]))))


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"pool: expected one of 'attention'.*, got 'sum'"):
        build("ewa_net_s", FASHION, pool="sum")
    with pytest.raises(ValueError, match=r"input_shape: ewa_net_m halves .*; 3×28 is too small"):
        build("ewa_net_m", (1, 3, 28))
