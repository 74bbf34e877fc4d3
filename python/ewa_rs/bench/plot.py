"""The plot of a benchmark: a row a case, a mark a peer, on a logarithmic axis of ratios."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from ewa_rs.bench.results import label_of, lines_of, peers_of, thread_text, threads_of
from ewa_rs.utils.figures import COLOURS, MARKERS, add_legend, save, style


def ratio_plot(results: dict[str, Any], path: Path) -> None:
    """Plot the ratios of the forward into `out` and of training, with all threads."""
    threads = threads_of(results)[-1]
    panels = {
        direction: lines
        for direction in ("out", "training")
        if (lines := [x for x in lines_of(results, direction, threads) if x.get("ratios")])
    }
    if not panels:
        return
    count = max(map(len, panels.values()))
    figure = Figure(figsize=(11, 1.6 + 0.27 * count), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for panel, (direction, lines) in zip(axes, panels.items(), strict=True):
        _draw_panel(panel, lines, peers_of(results))
        title = "forward into out" if direction == "out" else "forward and backward"
        panel.set_title(f"{title}, {thread_text(threads)}")
    add_legend(figure)
    save(figure, path)


def _draw_panel(panel: Axes, lines: list[dict[str, Any]], peers: list[str]) -> None:
    for peer, colour, marker in zip(peers, COLOURS, MARKERS, strict=False):
        points = [(i, x["ratios"][peer]) for i, x in enumerate(lines) if peer in x["ratios"]]
        rows = [i for i, _ in points]
        middle = [ratio["median"] for _, ratio in points]
        panel.hlines(rows, [r["low"] for _, r in points], [r["high"] for _, r in points],
                     color=colour, linewidth=1)  # fmt: skip
        panel.plot(middle, rows, marker, color=colour, markersize=5, label=peer)
    panel.axvline(1, color="black", linewidth=1)
    panel.set_yticks(range(len(lines)), [label_of(line) for line in lines], fontsize=8)
    panel.set_ylim(len(lines) - 0.5, -0.5)
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    style(panel)
    panel.set_xlabel("times faster than")
