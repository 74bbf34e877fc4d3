"""The baseline: a small network of the VGG kind."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from ewa_rs.models.registry import register_model
from ewa_rs.nn import ElementwiseAttentionPool2d

WIDTHS = (32, 64, 128)
POOLS: dict[str, Callable[[int], nn.Module]] = {
    "max": lambda channels: nn.MaxPool2d(2),
    "attention": lambda channels: ElementwiseAttentionPool2d(channels, 2),
    "average": lambda channels: nn.AvgPool2d(2),
}


@register_model
def vgg_like(
    input_shape: tuple[int, int, int], num_classes: int, *, dense: int = 128, pool: str = "max"
) -> nn.Sequential:
    """Build the baseline, 436,202 parameters for 1×28×28 and ten classes.

    Three pairs of 3×3 convolutions of 32, 64 and 128 channels, each with batch norm and ReLU,
    a 2×2 max-pool after each pair, a dense layer, and a dense layer to the classes.
    Another `pool` shows what pooling matters: attention adds one parameter a channel, 224 in all.

    Parameters
    ----------
    input_shape
        ``(channels, height, width)``, at least 8 pixels high and wide.
    num_classes
        Number of classes.
    dense
        Width of the dense layer.
    pool
        ``'max'``, ``'attention'`` or ``'average'``.
    """
    channels, height, width = input_shape
    if min(height, width) < 8:
        raise ValueError(
            f"input_shape: vgg_like halves images thrice; {height}×{width} is too small"
        )
    if pool not in POOLS:
        raise ValueError(f"pool: expected one of {', '.join(map(repr, POOLS))}, got {pool!r}")
    layers: list[nn.Module] = []
    for out in WIDTHS:
        for _ in range(2):
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(True)]
            channels = out
        layers.append(POOLS[pool](channels))
    features = channels * (height // 8) * (width // 8)
    layers += [nn.Flatten(), nn.Linear(features, dense), nn.ReLU(), nn.Linear(dense, num_classes)]
    return nn.Sequential(*layers)
