"""What all plots share. Figures are drawn without pyplot, so no display is ever needed."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from ewa_rs.utils.files import atomic_path

COLOURS = ("#4477aa", "#ee6677", "#228833", "#aa3377", "#66ccee", "#ccbb44", "#777777")
MARKERS = "osD^vPXp"


def style(axes: Axes) -> None:
    """Draw a light grid behind the points, and no frame above and on the right."""
    axes.grid(visible=True, color="#e5e5e5")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def add_legend(figure: Figure) -> None:
    """Put the legend outside the axes, where it covers no point wherever the results fall."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG of few colours, a third of the size and as good to look at."""
    with io.BytesIO() as buffer:
        figure.savefig(buffer, dpi=110)
        with Image.open(buffer) as image:
            few = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    with atomic_path(path) as temporary:
        few.save(temporary, format="png", optimize=True)
