"""Several networks on the same data with the same recipe, and a report of what came out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ewa_rs.models import model_options
from ewa_rs.training.attention import draw_attention, has_attention
from ewa_rs.training.checkpoint import load_checkpoint
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.data import load_data
from ewa_rs.training.distributed import world_size
from ewa_rs.training.loop import OnEvent, train
from ewa_rs.training.report import read_run, write_report
from ewa_rs.training.run_folder import RunFolder


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

    def runs(self) -> list[TrainConfig]:
        """List the runs in the order in which they are made."""
        return [
            replace(
                self.recipe,
                model=model,
                model_options=dict(self.options.get(model, {})),
                seed=seed,
                output=str(self.output / "runs" / f"{model}-seed{seed}"),
                resume=True,
            )
            for seed in range(max(self.models.values()))
            for model, seeds in self.models.items()
            if seed < seeds
        ]

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
    runs, finished = comparison.runs(), []
    try:
        for number, config in enumerate(runs, 1):
            if on_event:
                on_event(_run_event(number, len(runs), config))
            train(config, on_event=on_event)
            finished.append(read_run(_folder(config)))
    finally:
        if finished:
            results = _results(comparison, finished)
            write_report(comparison.output, results)
    _draw_attention(comparison)
    return results


def _run_event(number: int, total: int, config: TrainConfig) -> dict[str, Any]:
    finished = RunFolder(_folder(config)).result.exists()
    about = {"model": config.model, "seed": config.seed, "finished": finished}
    return {"event": "run", "number": number, "total": total, **about}


def _results(comparison: Comparison, finished: list[dict[str, Any]]) -> dict[str, Any]:
    recipe = comparison.recipe.to_dict()
    for name in ("model", "model_options", "seed"):
        del recipe[name]  # each run has its own
    return {
        "data": recipe["data"],
        "epochs": recipe["epochs"],
        "models": list(comparison.models),
        "baseline": comparison.baseline_name,
        "recipe": recipe,
        "command": comparison.command(),
        "runs": finished,
    }


def _draw_attention(comparison: Comparison) -> None:
    """Draw the attention of each network's first seed; the data are loaded if there is any."""
    data = None
    for config in comparison.runs():
        if config.seed == 0:
            model, info = load_checkpoint(RunFolder(_folder(config)).last)
            if has_attention(model):
                data = data or load_data(
                    config.data,
                    config.data_dir,
                    image_size=config.image_size,
                    channels=config.channels,
                )
                draw_attention(
                    model, info, data, comparison.output / f"attention-{config.model}.png"
                )


def _folder(config: TrainConfig) -> Path:
    return Path(str(config.output))
