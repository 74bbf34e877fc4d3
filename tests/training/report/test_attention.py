"""The weights that are drawn are those of the layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ewa_rs.models import create_model
from ewa_rs.nn import ElementwiseSelfAttention
from ewa_rs.training.data import Split
from ewa_rs.training.report.attention import (
    attention_picture,
    attention_weights,
    has_attention,
    sample_images,
)


def test_weights_are_the_softmax_of_each_layer() -> None:
    options = {"layers": 2, "axis": None, "bias": False, "normalise": False}
    model = create_model("ewa", input_shape=(1, 6, 5), num_classes=3, **options)
    x = torch.randn(4, 1, 6, 5)
    first, second = attention_weights(model, x)
    (layer, _) = (m for m in model.modules() if isinstance(m, ElementwiseSelfAttention))
    scores = x.flatten(1).square() * layer.w_q * layer.w_k / 30**0.5
    torch.testing.assert_close(first, scores.softmax(-1))
    assert second.shape == (4, 30)
    torch.testing.assert_close(second.sum(-1), torch.ones(4))
    assert not any(module._forward_hooks for module in model.modules())


def test_weights_of_a_softmax_over_rows_keep_the_images_shape() -> None:
    model = create_model("ewa", input_shape=(3, 6, 5), num_classes=3, layers=1, axis=-1)
    (weights,) = attention_weights(model, torch.randn(2, 3, 6, 5))
    assert weights.shape == (2, 3, 6, 5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 6))


def test_other_networks_have_none() -> None:
    model = create_model("linear", input_shape=(1, 6, 5), num_classes=3)
    assert not has_attention(model)
    assert attention_weights(model, torch.randn(2, 1, 6, 5)) == []


def test_samples_are_those_of_classes_that_have_images() -> None:
    split = Split(
        torch.arange(6, dtype=torch.uint8)[:, None, None, None], torch.tensor([4, 2, 2, 0, 0, 4])
    )
    images, labels = sample_images(split, 2)
    assert labels.tolist() == [0, 2]
    assert images.flatten().tolist() == [3, 1]


@pytest.mark.parametrize("channels", [1, 3])
def test_picture_of_uniform_attention(channels: int, tmp_path: Path) -> None:
    images = torch.randint(256, (2, channels, 6, 5), dtype=torch.uint8)
    uniform = torch.full((2, channels * 30), 1 / (channels * 30))
    attention_picture(images, [uniform], ["a", "b"], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000
