"""What a sweep is: the rows of its table, and the runs that fill them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ewa_rs.training.config import TrainConfig
from ewa_rs.training.sweep.task import Task

#: Settings of which each row has its own, so that the recipe does not speak of them.
_OWN = ("model", "model_options", "seed")


@dataclass(frozen=True)
class Network:
    """A row of the table: a network with its options and settings, over so many seeds.

    Parameters
    ----------
    label
        What the row is called.
    config
        Its settings; their seed and output are not used.
    seeds
        Number of runs, of the seeds 0, 1, ….
    """

    label: str
    config: TrainConfig
    seeds: int = 1

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"seeds: expected at least 1 for {self.label}, got {self.seeds}")
        if not self.slug:
            raise ValueError(f"name: expected letters or digits, got {self.label!r}")

    @property
    def slug(self) -> str:
        """The label as part of a file's name."""
        return re.sub(r"[^\w.=]+", "-", self.label).strip("-.")


@dataclass(frozen=True)
class Sweep:
    """Runs of several networks on the same data, and where their results go.

    Parameters
    ----------
    networks
        The rows, in the order of the table.
    output
        Folder of the report; the runs are in ``output/runs/<label>-seed<k>``.
    recipe
        The settings that the networks share.
    baseline
        Label of the network that the others are measured against; None: vgg_like, else the first.
    test
        False: leave the test set alone and report the validation split's accuracy, for runs by
        which something is chosen.
    command
        What repeats the sweep.
    """

    networks: Sequence[Network]
    output: Path
    recipe: TrainConfig = field(default_factory=TrainConfig)
    baseline: str | None = None
    test: bool = True
    command: str = ""

    def __post_init__(self) -> None:
        if not self.networks:
            raise ValueError("networks: expected at least one, got none")
        slugs: dict[str, str] = {}
        for network in self.networks:
            slug, label = network.slug.casefold(), network.label
            if slug in slugs:
                raise ValueError(
                    f"networks: {slugs[slug]!r} and {label!r} would share a folder; "
                    "give each a name of its own"
                )
            slugs[slug] = label
        if self.baseline is not None and self.baseline not in self.labels:
            labels = ", ".join(map(repr, self.labels))
            raise ValueError(f"baseline: expected one of {labels}, got {self.baseline!r}")

    @property
    def labels(self) -> list[str]:
        """The rows' names."""
        return [network.label for network in self.networks]

    @property
    def baseline_name(self) -> str:
        """The row that the others are measured against."""
        return self.baseline or ("vgg_like" if "vgg_like" in self.labels else self.labels[0])

    def tasks(self) -> list[Task]:
        """List the runs by seed, so that an early look at them sees something of every network."""
        return [
            Task(network.label, self._config(network, seed), self.test)
            for seed in range(max(network.seeds for network in self.networks))
            for network in self.networks
            if seed < network.seeds
        ]

    def _config(self, network: Network, seed: int) -> TrainConfig:
        folder = self.output / "runs" / f"{network.slug}-seed{seed}"
        return replace(network.config, seed=seed, output=str(folder), resume=True)

    def about(self) -> dict[str, Any]:
        """Return what results.json says beside the runs, ready for JSON."""
        recipe = {k: v for k, v in self.recipe.to_dict().items() if k not in _OWN}
        return {
            "data": recipe["data"],
            "epochs": recipe["epochs"],
            "models": self.labels,
            "baseline": self.baseline_name,
            **({} if self.test else {"split": "validation"}),
            "recipe": recipe,
            "command": self.command,
        }

    def row_of(self, task: Task) -> dict[str, Any]:
        """Return what tells a run's row from others: its label and settings, where they differ."""
        recipe = self.recipe.to_dict()
        settings = {
            name: value
            for name, value in task.config.to_dict().items()
            if name not in _OWN and value != recipe[name]
        }
        label = {"label": task.label} if task.label != task.config.model else {}
        return label | ({"settings": settings} if settings else {})
