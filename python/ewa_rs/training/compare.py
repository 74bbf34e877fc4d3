"""Several networks on the same data with the same recipe, and a report of what came out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ewa_rs.models import model_options
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.distributed import world_size
from ewa_rs.training.lock import locked
from ewa_rs.training.loop import OnEvent, train
from ewa_rs.training.sweep.plan import Network, Sweep
from ewa_rs.training.sweep.results import draw_attentions, write_results


@dataclass(frozen=True)
class Comparison:
    """What is compared, and where the results go.

    Parameters
    ----------
    models
        Name of each network → number of seeds. Runs go by seed, so that a comparison that is
        looked at early has something of every network.
    output
        Folder of the report; the runs are in ``output/runs/<model>-seed<k>``.
    recipe
        The settings that all networks share; its model, options, seed and output are not used.
    options
        Name of a network → options of its own.
    baseline
        The network that the others are measured against; None: vgg_like, else the first.
    """

    models: Mapping[str, int]
    output: Path
    recipe: TrainConfig = field(default_factory=TrainConfig)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    baseline: str | None = None

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError("models: expected at least one network, got none")
        for name, seeds in self.models.items():
            model_options(name)  # refuses an unknown name
            if seeds < 1:
                raise ValueError(f"seeds: expected at least 1 for {name}, got {seeds}")
        for name in (*self.options, *((self.baseline,) if self.baseline else ())):
            if name not in self.models:
                raise ValueError(f"{name!r} is not compared; models: {', '.join(self.models)}")

    @property
    def baseline_name(self) -> str:
        """The network that the others are measured against."""
        first = next(iter(self.models))
        return self.baseline or ("vgg_like" if "vgg_like" in self.models else first)

    def sweep(self) -> Sweep:
        """Return the runs and the report as those of a sweep, a row for each network."""
        networks = [
            Network(
                model,
                replace(self.recipe, model=model, model_options=dict(self.options.get(model, {}))),
                seeds,
            )
            for model, seeds in self.models.items()
        ]
        return Sweep(networks, self.output, self.recipe, self.baseline_name, command=self.command())

    def runs(self) -> list[TrainConfig]:
        """List the runs in the order in which they are made."""
        return [task.config for task in self.sweep().tasks()]

    def command(self) -> str:
        """Return the command line that repeats the comparison."""
        models = ",".join(f"{model}:{seeds}" for model, seeds in self.models.items())
        words = ["ewa", "compare", *replace(self.recipe, seed=0).flags(), "--models", models]
        for model, options in self.options.items():
            for name, value in options.items():
                words += ["--option", f"{model}.{name}={json.dumps(value)}"]
        words += ["--baseline", self.baseline] if self.baseline else []
        folder = self.output.name if self.output.is_absolute() else self.output.as_posix()
        return shlex.join([*words, "--output", folder])


def compare(comparison: Comparison, *, on_event: OnEvent | None = None) -> dict[str, Any]:
    """Train what is not trained yet, and write the report.

    A comparison that is stopped, by Ctrl-C or by a run that fails, leaves a report of the runs
    that are finished; the same call goes on from there.

    Parameters
    ----------
    comparison
        What to compare.
    on_event
        Called with the events of `ewa_rs.training.loop.train`, and before each run with a dict
        whose ``event`` is ``run``: its number, how many there are, model, seed, and whether it
        is finished.

    Returns
    -------
    dict
        What results.json holds.
    """
    if world_size() > 1:
        raise ValueError(f"compare: expected one process, got {world_size()}; see ewa train")
    sweep = comparison.sweep()
    tasks = sweep.tasks()
    try:
        for number, task in enumerate(tasks, 1):
            if on_event:
                about = {"model": task.label, "seed": task.config.seed, "finished": task.finished}
                on_event({"event": "run", "number": number, "total": len(tasks), **about})
            with locked(task.folder.path):
                train(task.config, on_event=on_event)
    finally:
        results = write_results(sweep)
    draw_attentions(sweep)
    return results
