"""A layer of which training knows nothing is drawn and exported by what it says of itself."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

import ewa_rs
from ewa_rs.inference import CheckpointInfo, load, load_where
from ewa_rs.models import registry
from ewa_rs.nn import (
    AttentionLayer,
    ElementwiseAttentionPool2d,
    ElementwiseSelfAttention,
    ExportableLayer,
)
from ewa_rs.training.checkpoint import save_checkpoint
from ewa_rs.training.export import export_onnx
from ewa_rs.training.report.attention import attention_weights, has_attention

SHAPE = (1, 4, 4)


class NewLayer(nn.Module):
    """Attention by the kernels, unless it was made ready for export."""

    portable = False

    def forward(self, x: Tensor) -> Tensor:
        if self.portable:
            return self.attention_weights(x) * x
        return ewa_rs.elementwise_attention(x, x, x, scale=1.0, backend="rust")

    def attention_weights(self, x: Tensor) -> Tensor:
        return (x * x).softmax(-1)

    def prepare_for_export(self) -> None:
        self.portable = True


def new_network(input_shape: tuple[int, int, int], num_classes: int) -> nn.Sequential:
    return nn.Sequential(NewLayer(), nn.Flatten(), nn.Linear(16, num_classes))


@pytest.mark.parametrize(
    "layer", [NewLayer(), ElementwiseAttentionPool2d(3), ElementwiseSelfAttention(4)], ids=type
)
def test_layers_say_what_they_are(layer: nn.Module) -> None:
    assert isinstance(layer, AttentionLayer)
    assert isinstance(layer, ExportableLayer)
    assert not isinstance(nn.ReLU(), (AttentionLayer, ExportableLayer))


def test_a_new_layer_is_drawn() -> None:
    model, x = new_network(SHAPE, 3), torch.randn(2, *SHAPE)
    assert has_attention(model)
    (weights,) = attention_weights(model, x)
    torch.testing.assert_close(weights, (x * x).softmax(-1))


def test_a_new_layer_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._BUILDERS, "new", new_network)
    info = CheckpointInfo(
        model="new", model_options={}, input_shape=SHAPE, class_names=("a", "b", "c"), mean=(0.5,),
        std=(0.2,), data="digits", seed=0, val_fraction=0.1, image_size=None, channels=None,
    )  # fmt: skip
    save_checkpoint(tmp_path / "x.safetensors", new_network(SHAPE, 3), info)
    written = export_onnx(tmp_path / "x.safetensors", tmp_path / "x.onnx")
    assert {node.domain for node in onnx.load(written).graph.node} == {""}
    pixels = torch.randint(256, (3, *SHAPE), dtype=torch.uint8).numpy()
    expected = load_where(tmp_path / "x.safetensors").logits(pixels)
    torch.testing.assert_close(*map(torch.from_numpy, (load(written).logits(pixels), expected)))
