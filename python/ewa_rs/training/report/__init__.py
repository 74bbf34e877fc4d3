"""The files of a comparison's report: results.json, table.md and the plots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ewa_rs.training.report.summary import markdown
from ewa_rs.training.run_folder import RunFolder
from ewa_rs.utils.files import read_json, write_json, write_text

# A run's folder has more: the rest of its settings, its confusion matrix, its weights.
_CONFIG = ("model", "model_options", "seed")
_RESULT = (
    *("parameters", "precision", "device", "test_accuracy", "val_accuracy", "class_accuracy"),
    *("seconds_per_epoch", "total_seconds", "hardware", "versions", "command"),
)
_OF_THE_TEST_SET = ("test_accuracy", "class_accuracy")
_EPOCH = ("loss", "train_accuracy", "val_loss", "val_accuracy", "seconds")

# The pictures of a comparison's folder; the last ones need the trained networks.
PICTURES = ("accuracy.png", "curves.png", "confusion.png", "attention-*.png")


def read_run(path: Path, *, test: bool = True) -> dict[str, Any]:
    """Read what a report needs of a finished run; damaged files are a ValueError that names it.

    Without `test`, what comes of the test set is left out, which the run may not have used.
    """
    folder = RunFolder(path)
    result = read_json(folder.result)
    try:
        epochs = [json.loads(line) for line in folder.epochs.read_text("utf-8").splitlines()]
        curve = [{name: epoch[name] for name in _EPOCH} for epoch in epochs]
        settings = {name: result["config"][name] for name in _CONFIG}
        figures = {name: result[name] for name in _RESULT if test or name not in _OF_THE_TEST_SET}
        return settings | figures | {"epochs": curve}
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: no complete run ({error!r})") from error


def read_results(folder: Path) -> dict[str, Any]:
    """Read the results.json of a comparison; any other file is a ValueError that names it."""
    path = folder / "results.json"
    results = read_json(path)
    missing = [n for n in ("data", "epochs", "models", "baseline", "runs") if n not in results]
    if missing:
        raise ValueError(f"{path}: no results of a comparison, {', '.join(missing)} missing")
    for i, run in enumerate(results["runs"]):
        names = (*_CONFIG, *_RESULT, "epochs")
        missing = [n for n in names if n not in run and n not in _OF_THE_TEST_SET]
        if missing:
            raise ValueError(f"{path}: run {i}: {', '.join(missing)} missing")
    return results


def write_report(output: Path, results: dict[str, Any]) -> None:
    """Write results.json, and from it table.md, accuracy.png and curves.png."""
    from ewa_rs.training.report.plots import accuracy_plot, curves_plot  # brings matplotlib

    write_table(output, results)
    accuracy_plot(results, output / "accuracy.png")
    curves_plot(results, output / "curves.png")


def write_table(output: Path, results: dict[str, Any]) -> None:
    """Write results.json and table.md, which takes no time, without the plots."""
    write_json(output / "results.json", results)
    write_text(output / "table.md", markdown(results))
