"""The control: `ewa` with the attention taken out."""

from __future__ import annotations

from torch import nn

from ewa_rs.models.parts import Normalise, classifier
from ewa_rs.models.registry import register_model


@register_model
def linear(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    normalise: bool = False,
    hidden: int | str | None = "auto",
) -> nn.Sequential:
    """Build the classifier of `ewa` by itself: what attention adds is measured against it.

    Parameters
    ----------
    input_shape
        ``(channels, height, width)``.
    num_classes
        Number of classes.
    normalise
        Zero mean and unit variance of each image, without parameters, as `ewa` has it; here it
        costs accuracy, so that the control does without.
    hidden
        Width of the classifier's dense layer, 0 for none, "auto" for one with colour images only.
    """
    first = [Normalise()] if normalise else []
    return nn.Sequential(*first, *classifier(input_shape, num_classes, hidden))
