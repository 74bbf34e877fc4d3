"""A picture of what the networks of a comparison take for what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ewa_rs.utils.figures import save

_COLUMNS = 3


def confusion_picture(
    matrices: Mapping[str, Sequence[Sequence[int]]], class_names: Sequence[str], path: Path
) -> None:
    """Draw the confusion matrix of each network: of a class, the percentage taken for each.

    Of several seeds the sum of their counts is given, a row a true class in the order of the names.
    """
    columns = min(_COLUMNS, len(matrices))
    rows = math.ceil(len(matrices) / columns)
    figure = Figure(figsize=(0.6 + 3.6 * columns, 0.9 + 3.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for each in axes.flat[len(matrices) :]:
        each.set_axis_off()
    for each, (label, counts) in zip(axes.flat, matrices.items(), strict=False):
        _draw_matrix(each, np.array(counts), class_names)
        each.set_title(label, fontsize=9)
    figure.supxlabel("taken for", fontsize=8)
    figure.supylabel("is", fontsize=8)
    save(figure, path)


def _draw_matrix(axes: Axes, counts: NDArray[np.int64], class_names: Sequence[str]) -> None:
    percent = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # Errors are what is to be seen: the square root keeps them from drowning in the diagonal.
    axes.imshow(np.sqrt(percent), cmap="Blues", vmin=0, vmax=10)
    names = [name[:12] for name in class_names]
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    axes.set_yticks(range(len(names)), names, fontsize=6)
    for (i, j), value in np.ndenumerate(percent):
        if value >= 0.5:
            colour = "white" if value > 40 else "black"
            axes.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=5, color=colour)
