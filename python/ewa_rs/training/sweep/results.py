"""The report of a sweep, made of the runs that are finished."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ewa_rs.training.checkpoint import load_checkpoint
from ewa_rs.training.report import read_run, write_report, write_table
from ewa_rs.training.report.attention import draw_attention, has_attention
from ewa_rs.training.report.confusion import confusion_picture
from ewa_rs.training.setup import configured_data
from ewa_rs.training.sweep.plan import Sweep
from ewa_rs.utils.files import read_json


def collect(sweep: Sweep) -> dict[str, Any]:
    """Return what results.json holds of the runs that are finished, in the order of the sweep."""
    runs = [
        {**read_run(task.folder.path, test=sweep.test), **sweep.row_of(task)}
        for task in sweep.tasks()
        if task.finished
    ]
    return {**sweep.about(), "runs": runs}


def write_figures(sweep: Sweep) -> dict[str, Any]:
    """Write results.json and table.md, if any run is finished, for an early look."""
    results = collect(sweep)
    if results["runs"]:
        write_table(sweep.output, results)
    return results


def write_results(sweep: Sweep) -> dict[str, Any]:
    """Write the whole report of the runs that are finished; nothing if there are none."""
    results = collect(sweep)
    if results["runs"]:
        write_report(sweep.output, results)
    return results


def draw_confusion(sweep: Sweep) -> None:
    """Draw what each network takes for what in the test images, all its seeds together."""
    sums: dict[str, NDArray[np.int64]] = {}
    names: list[str] = []
    for task in sweep.tasks() if sweep.test else ():
        if task.finished:
            result = read_json(task.folder.result)
            matrix = np.array(result["confusion_matrix"])
            sums[task.label] = sums[task.label] + matrix if task.label in sums else matrix
            names = list(result["class_accuracy"])
    if sums:
        in_order = {label: sums[label].tolist() for label in sweep.labels if label in sums}
        confusion_picture(in_order, names, sweep.output / "confusion.png")


def draw_attentions(sweep: Sweep) -> None:
    """Draw the attention of each network's first seed; the data are loaded if there is any.

    The pictures are of test images, so a sweep that leaves these alone has none.
    """
    data = None
    for task in sweep.tasks() if sweep.test else ():
        # Weights may have been left out of a copy of the folder.
        if task.config.seed == 0 and task.finished and task.folder.last.exists():
            model, info = load_checkpoint(task.folder.last)
            if has_attention(model):
                data = data or configured_data(task.config)
                name = task.folder.path.name.removesuffix("-seed0")
                draw_attention(model, info, data, sweep.output / f"attention-{name}.png")
