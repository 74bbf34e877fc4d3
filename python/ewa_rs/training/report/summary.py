"""The figures of a comparison: from its runs to the rows of its table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ewa_rs.utils.markdown import markdown_table

# What the paper's abstract states of its network beside a VGG-like one: data set → (share of the
# parameters, share of the accuracy).
PAPER = {"fashion-mnist": (0.03, 0.92), "cifar10": (0.50, 0.60)}

# Small networks' published figures: data set → (name, parameters, accuracy in %). The longer
# recipes that they had, and the data set's own images, are not those of the comparisons here.
PUBLISHED = {
    # The table in the data set's own README (github.com/zalandoresearch/fashion-mnist).
    "fashion-mnist": (("published, 2 convolutions", 113_000, 92.2),),
    # He et al. 2015, arXiv 1512.03385, table 6: 164 epochs, augmentation.
    "cifar10": (("published, ResNet-20", 270_000, 91.25),),
}


@dataclass(frozen=True)
class Summary:
    """One row of a comparison, over its seeds.

    ``model`` is what the row is called: the network's name, unless it was given another.
    """

    model: str
    parameters: int
    accuracies: tuple[float, ...]
    seconds_per_epoch: float

    @property
    def accuracy(self) -> float:
        """Mean accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation of the accuracy, None for a single seed."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None


def paper_figure(data: str) -> tuple[float, float] | None:
    """Return the paper's shares of parameters and accuracy for a data set, None if it has none."""
    return next((figure for name, figure in PAPER.items() if name in data), None)


def published_figures(data: str) -> Sequence[tuple[str, int, float]]:
    """Return name, parameters and accuracy (%) of networks published for a data set."""
    return next((figures for name, figures in PUBLISHED.items() if name in data), ())


def runs_of(results: dict[str, Any], model: str) -> list[dict[str, Any]]:
    """Return the finished runs of one row."""
    return [run for run in results["runs"] if run.get("label", run["model"]) == model]


def split_of(results: dict[str, Any]) -> str:
    """Return ``test`` or ``validation``: the split whose accuracy the comparison reports."""
    return str(results.get("split", "test"))


def epochs_of(results: dict[str, Any]) -> str:
    """Return how many epochs there were; rows may have settings of their own."""
    counts = {run.get("settings", {}).get("epochs", results["epochs"]) for run in results["runs"]}
    return f"{' or '.join(map(str, sorted(counts or {results['epochs']})))} epochs"


def summarise(results: dict[str, Any]) -> list[Summary]:
    """Summarise each row that has a finished run, in the order of the comparison."""
    accuracy = {"test": "test_accuracy", "validation": "val_accuracy"}[split_of(results)]
    return [
        Summary(
            model,
            runs[0]["parameters"],
            tuple(run[accuracy] for run in runs),
            statistics.fmean(run["seconds_per_epoch"] for run in runs),
        )
        for model in results["models"]
        if (runs := runs_of(results, model))
    ]


def baseline_of(results: dict[str, Any]) -> Summary | None:
    """Return the network that the others are measured against, None while it has no run."""
    return next((s for s in summarise(results) if s.model == results["baseline"]), None)


def table_rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the table, its header first; shares are empty until the baseline has a run."""
    name, baseline = results["baseline"], baseline_of(results)
    header = ("network", "parameters", f"% of {name}", "seeds",
              f"{split_of(results)} accuracy (%)", f"÷ {name}", "s / epoch")  # fmt: skip
    rows = [_row(s, baseline) for s in summarise(results)]
    paper = paper_figure(results["data"])
    if paper is None or "ewa" not in results["models"]:  # the network that is our reading of it
        return [header, *rows]
    claim = f"{paper[1]:.2f} at {100 * paper[0]:.0f} %"
    return [(*header, "paper"), *((*row, claim if row[0] == "ewa" else "") for row in rows)]


def _row(s: Summary, baseline: Summary | None) -> tuple[str, ...]:
    spread = "" if s.deviation is None else f" ± {100 * s.deviation:.2f}"
    return (
        s.model,
        f"{s.parameters:,}",
        f"{100 * s.parameters / baseline.parameters:.1f}" if baseline else "",
        str(len(s.accuracies)),
        f"{100 * s.accuracy:.2f}{spread}",
        f"{s.accuracy / baseline.accuracy:.3f}" if baseline and baseline.accuracy else "",
        f"{s.seconds_per_epoch:.1f}",
    )


def markdown(results: dict[str, Any]) -> str:
    """Return the table in Markdown, and below it how its figures came to be."""
    header, *rows = table_rows(results)
    return f"{markdown_table(header, rows)}\n{provenance(results)}"


def provenance(results: dict[str, Any]) -> str:
    """Return data set, recipe, hardware, versions and command, in Markdown."""
    machines = sorted({hardware_text(run["hardware"]) for run in results["runs"]})
    versions = sorted({versions_text(run["versions"]) for run in results["runs"]})
    return (
        f"{results['data']}, {epochs_of(results)}, {split_of(results)} accuracy after the last "
        f"one, mean ± standard deviation over the seeds. {' / '.join(machines)}; "
        f"{' / '.join(versions)}.\n\n"
        f"    {results['command']}\n"
    )


def versions_text(versions: dict[str, str]) -> str:
    """Return versions as `ewa_rs.training.environment` gives them in one line."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def hardware_text(hardware: dict[str, Any]) -> str:
    """Return hardware as `ewa_rs.training.environment` gives it in one line."""
    gpus = "".join(f", {gpu}" for gpu in hardware["gpus"])
    threads = f"{hardware['threads']} thread{'s' if hardware['threads'] > 1 else ''}"
    return f"{hardware['cpu']}, {hardware['cores']} cores, {threads} used{gpus}"
