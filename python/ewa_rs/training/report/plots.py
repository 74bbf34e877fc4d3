"""The plots of a comparison."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from ewa_rs.training.report.summary import (
    Summary,
    baseline_of,
    epochs_of,
    paper_figure,
    published_figures,
    runs_of,
    split_of,
    summarise,
)
from ewa_rs.utils.figures import COLOURS, MARKERS, add_legend, save, style

LINES = ("-", "--", ":")


def accuracy_plot(results: dict[str, Any], path: Path) -> None:
    """Plot accuracy against parameters.

    With the front of the networks that none has both fewer parameters and more accuracy than, and,
    where the data set has them, the paper's point and published figures.
    """
    figure, axes = _figure()
    for s, (colour, marker, _) in zip(summarise(results), _styles(), strict=False):
        label = f"{s.model}: {100 * s.accuracy:.1f} %"
        spread = None if s.deviation is None else 100 * s.deviation
        axes.errorbar(s.parameters, 100 * s.accuracy, spread, fmt=marker, color=colour, label=label,
                      markersize=8, capsize=4)  # fmt: skip
    _draw_front(axes, summarise(results))
    _draw_published(axes, results["data"])
    _draw_paper(axes, results)
    axes.set_xscale("log")
    # Labels at 1, 2 and 5: networks of like size may have no power of ten between them.
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.1, 0.12)
    axes.set(xlabel="parameters", ylabel=f"{split_of(results)} accuracy (%)", title=_title(results))
    add_legend(figure)
    save(figure, path)


def curves_plot(results: dict[str, Any], path: Path) -> None:
    """Plot training loss and validation accuracy by epoch: the seeds' mean, their range shaded."""
    figure, axes = _figure(columns=2)
    for s, (colour, _, line) in zip(summarise(results), _styles(), strict=False):
        seeds = [run["epochs"] for run in runs_of(results, s.model)]
        losses = [[epoch["loss"] for epoch in epochs] for epochs in seeds]
        accuracies = [[_percent(epoch["val_accuracy"]) for epoch in epochs] for epochs in seeds]
        _draw_curve(axes[0], losses, colour, line, s.model)
        _draw_curve(axes[1], accuracies, colour, line, s.model)
    axes[0].set(xlabel="epoch", ylabel="training loss")
    axes[1].set(xlabel="epoch", ylabel="validation accuracy (%)")
    figure.suptitle(_title(results))
    add_legend(figure)
    save(figure, path)


def _percent(share: float | None) -> float:
    return math.nan if share is None else 100 * share  # None: no validation split


def _styles() -> Iterator[tuple[str, str, str]]:
    """Return colour, marker and line of one row after the other: no two rows of 21 look alike."""
    markers = cycle(MARKERS)
    for line in cycle(LINES):
        for colour in COLOURS:
            yield colour, next(markers), line


def _draw_curve(
    axes: Axes, seeds: Sequence[Sequence[float]], colour: str, line: str, label: str
) -> None:
    by_epoch = list(zip(*seeds, strict=True))
    x = range(1, len(by_epoch) + 1)
    axes.plot(x, [statistics.fmean(v) for v in by_epoch], line, color=colour, label=label)
    axes.fill_between(x, [min(v) for v in by_epoch], [max(v) for v in by_epoch],
                      color=colour, alpha=0.2, linewidth=0)  # fmt: skip


def _draw_front(axes: Axes, summaries: Sequence[Summary]) -> None:
    front: list[Summary] = []
    for s in sorted(summaries, key=lambda s: (s.parameters, -s.accuracy)):
        if not front or s.accuracy > front[-1].accuracy:
            front.append(s)
    axes.plot([s.parameters for s in front], [100 * s.accuracy for s in front],
              color="#bbbbbb", linewidth=1, zorder=1)  # fmt: skip


def _draw_published(axes: Axes, data: str) -> None:
    for (name, parameters, accuracy), marker in zip(published_figures(data), "<>", strict=False):
        axes.errorbar(parameters, accuracy, fmt=marker, color="black", markerfacecolor="none",
                      markersize=8, label=f"{name}: {accuracy:.1f} %")  # fmt: skip


def _draw_paper(axes: Axes, results: dict[str, Any]) -> None:
    paper, baseline = paper_figure(results["data"]), baseline_of(results)
    if paper is None or baseline is None:
        return
    share, ratio = paper
    axes.errorbar(share * baseline.parameters, 100 * ratio * baseline.accuracy, fmt="*",
                  markersize=14, markerfacecolor="none", color="black",
                  label=f"the paper's claim:\n{100 * ratio:.0f} % of {baseline.model}'s accuracy\n"
                        f"at {100 * share:.0f} % of its parameters")  # fmt: skip


def _figure(columns: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7.5 if columns == 1 else 9.5, 4.2), layout="constrained")
    axes = figure.subplots(1, columns)
    for each in [axes] if columns == 1 else axes:
        style(each)
    return figure, axes


def _title(results: dict[str, Any]) -> str:
    return f"{results['data'].removeprefix('imagefolder:')}, {epochs_of(results)}"
