"""What the networks of a comparison share, so that they differ in their layers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

#: Width of the classifier's dense layer where ``hidden="auto"`` puts one.
AUTO_HIDDEN = 64


class Normalise(nn.Module):
    """Zero mean and unit variance over each image; nothing to learn."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over every axis but the first."""
        return nn.functional.group_norm(x, 1)  # as layer_norm, but twice as fast on a CPU


def classifier(
    input_shape: Sequence[int], num_classes: int, hidden: int | str | None
) -> nn.Sequential:
    """Flatten, an optional dense layer with ReLU, and the dense layer to the classes.

    ``hidden`` is the width of the optional layer; 0 or None leaves it out; "auto" has it for
    images of several channels only, 64 wide, which keeps the attention networks at 3×32×32 under
    half of `vgg_like`'s parameters.
    """
    if hidden == "auto":
        hidden = AUTO_HIDDEN if input_shape[0] > 1 else 0
    if isinstance(hidden, str) or (hidden or 0) < 0:
        raise ValueError(f"hidden: expected a width, 0 or 'auto', got {hidden!r}")
    features = math.prod(input_shape)
    if not hidden:
        return nn.Sequential(nn.Flatten(), nn.Linear(features, num_classes))
    return nn.Sequential(
        nn.Flatten(), nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, num_classes)
    )


def check_layers(layers: int) -> int:
    """Refuse a negative number of layers."""
    if layers < 0:
        raise ValueError(f"layers: expected 0 or more, got {layers}")
    return layers
