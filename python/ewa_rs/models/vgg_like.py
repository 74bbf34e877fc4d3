"""The baseline: a small network of the VGG kind."""

from __future__ import annotations

from torch import nn

from ewa_rs.models.pooling import make_pooling
from ewa_rs.models.registry import register_model

WIDTHS = (32, 64, 128)


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
        ``'max'``, ``'attention'`` or another of `ewa_rs.models.pooling.make_pooling`.
    """
    channels, height, width = input_shape
    if min(height, width) < 8:
        raise ValueError(
            f"input_shape: vgg_like halves images thrice; {height}×{width} is too small"
        )
    layers: list[nn.Module] = []
    for out in WIDTHS:
        for _ in range(2):
            layers += [
                nn.Conv2d(channels, out, 3, padding=1),
                nn.BatchNorm2d(out),
                nn.ReLU(inplace=True),
            ]
            channels = out
        layers.append(make_pooling(pool, channels, 2))
    features = channels * (height // 8) * (width // 8)
    layers += [nn.Flatten(), nn.Linear(features, dense), nn.ReLU(), nn.Linear(dense, num_classes)]
    return nn.Sequential(*layers)
