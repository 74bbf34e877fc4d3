"""Pictures of what the element-wise attention of a trained network attends to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor, nn

from ewa_rs.nn.layer import AttentionLayer
from ewa_rs.training.data import DataSet, Split
from ewa_rs.training.data.batches import Normaliser
from ewa_rs.utils.checkpoint_info import CheckpointInfo
from ewa_rs.utils.figures import save

_SAMPLES = 8


def has_attention(model: nn.Module) -> bool:
    """Whether a network has element-wise attention to draw."""
    return bool(_attention_layers(model))


def draw_attention(model: nn.Module, info: CheckpointInfo, data: DataSet, path: Path) -> None:
    """Draw what a trained network attends to in a test image of each of the first classes."""
    images, labels = sample_images(data.test, _SAMPLES)
    weights = attention_weights(model, Normaliser(info.mean, info.std)(images))
    attention_picture(images, weights, [data.class_names[i] for i in labels], path)


@torch.no_grad()
def attention_weights(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the softmax weights of every element-wise layer for a batch, in order of the call.

    They have the shape of the layer's input. `images` are what the network takes, normalised as in
    training; a network without such layers gives an empty list.
    """
    weights: list[Tensor] = []

    def keep(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, AttentionLayer)
        weights.append(layer.attention_weights(inputs[0]))

    hooks = [layer.register_forward_hook(keep) for layer in _attention_layers(model)]
    try:
        model.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
    return weights


def _attention_layers(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, AttentionLayer)]


def sample_images(split: Split, count: int) -> tuple[Tensor, Tensor]:
    """Return the first image of each of the first ``count`` classes that have one, and labels."""
    firsts = [(split.labels == label).nonzero()[0, 0] for label in split.labels.unique()[:count]]
    chosen = torch.stack(firsts)
    return split.images[chosen], split.labels[chosen]


def attention_picture(
    images: Tensor, weights: Sequence[Tensor], titles: Sequence[str], path: Path
) -> None:
    """Draw each image, and below it each layer's weights on a logarithmic scale.

    Weights are given as multiples of what uniform attention would give, the channels of a pixel
    averaged.
    """
    rows, columns = 1 + len(weights), len(images)
    figure = Figure(figsize=(1.05 * columns + 1.2, 1.1 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for each in axes.flat:
        each.set(xticks=[], yticks=[])
        each.spines[:].set_visible(False)
    for column, (image, title) in enumerate(zip(images, titles, strict=False)):
        axes[0, column].set_title(title, fontsize=8)
        axes[0, column].imshow(image.permute(1, 2, 0).cpu().numpy(), cmap="gray_r")
    for row, a in enumerate(weights, 1):
        maps = _relative(a, a.shape[1:] if a.ndim == 4 else images.shape[1:])
        low, high = (max(float(torch.quantile(maps, q)), 1e-6) for q in (0.01, 0.995))
        high = max(high, 1.01 * low)  # an untrained layer is uniform
        norm = LogNorm(low, high, clip=True)
        for column, each in enumerate(maps):
            drawn = axes[row, column].imshow(each.cpu().numpy(), cmap="magma", norm=norm)
        axes[row, 0].set_ylabel(f"layer {row}", fontsize=8)
        bar = figure.colorbar(drawn, ax=axes[row, :], fraction=0.03, pad=0.01)
        bar.set_ticks([low, high], labels=[f"{low:.2g}", f"{high:.2g}"])
        bar.minorticks_off()
        bar.ax.tick_params(labelsize=7)
    figure.supxlabel("attention weights as multiples of uniform ones, logarithmic", fontsize=8)
    save(figure, path)


def _relative(a: Tensor, image_shape: Sequence[int]) -> Tensor:
    """Weights as multiples of uniform ones, ``(batch, height, width)``."""
    maps = a.reshape(len(a), *image_shape)
    terms = a.sum() / len(a)  # the slices of an image: each of them sums to one
    return (maps * (math.prod(image_shape) / terms)).mean(1)
