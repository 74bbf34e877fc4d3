"""Element-wise attention over the image: our reading of the paper's network."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from ewa_rs.models.parts import Normalise, check_layers, classifier
from ewa_rs.models.registry import register_model
from ewa_rs.nn import ElementwiseSelfAttention


@register_model
def ewa(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    layers: int = 1,
    axis: int | Sequence[int] | None = -1,
    residual: bool = False,
    gain: float | str | None = "n",
    bias: bool = True,
    normalise: bool = True,
    hidden: int | str | None = "auto",
    backend: str | None = None,
) -> nn.Sequential:
    """Build layers of element-wise self-attention over the image array, and a classifier.

    Only the abstract of the paper (arXiv 2302.05488) could be had: this is our reading of it,
    and what it leaves open is an option. A layer has three learned arrays of the image's shape,
    with biases six; the defaults have 12,554 parameters for 1×28×28 and ten classes, and were
    chosen by validation accuracy on Fashion-MNIST (``benchmarks/ewa_options.py``).

    Parameters
    ----------
    input_shape
        ``(channels, height, width)``.
    num_classes
        Number of classes.
    layers
        How many layers of attention.
    axis
        The axis or axes of ``(channels, height, width)`` that the softmax runs over: -1 takes
        each row by itself. None: over the whole image.
    residual
        Add a layer's input to its output.
    gain
        Factor of a layer's output; "n" is the number of elements under one softmax, which
        brings outputs of order 1/n back to order 1.
    bias
        Add learned arrays to queries, keys and values.
    normalise
        Zero mean and unit variance of each image before every layer, without parameters.
    hidden
        Width of the classifier's dense layer, 0 for none, "auto" for one with colour images only.
    backend
        See `ewa_rs.nn.ElementwiseSelfAttention`.
    """
    if axis is None:
        shape: tuple[int, ...] = (math.prod(input_shape),)
        axes: tuple[int, ...] = (-1,)
    else:
        shape, axes = input_shape, (axis,) if isinstance(axis, int) else tuple(axis)
    n = math.prod(shape[a] for a in axes)
    modules: list[nn.Module] = [nn.Flatten()] if axis is None else []
    for _ in range(check_layers(layers)):
        modules += [Normalise()] if normalise else []
        modules.append(
            ElementwiseSelfAttention(
                shape,
                axis=axes,
                bias=bias,
                residual=residual,
                gain=resolve_gain(gain, n),
                backend=backend,
            )
        )
    return nn.Sequential(*modules, *classifier(input_shape, num_classes, hidden))


def resolve_gain(gain: float | str | None, n: int) -> float | None:
    """Return the number that an option ``gain`` stands for."""
    if isinstance(gain, str):
        if gain != "n":
            raise ValueError(f"gain: expected a number or 'n', got {gain!r}")
        return float(n)
    return gain
