"""The folder of one run, and what may happen to one that has something in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ewa_rs.training.config import TrainConfig, portable_data_name
from ewa_rs.utils.files import read_json, write_json, write_text


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """The settings, without anything about this machine."""
        return self.path / "config.json"

    @property
    def epochs(self) -> Path:
        """One JSON object a line, one line a finished epoch."""
        return self.path / "epochs.jsonl"

    @property
    def last(self) -> Path:
        """Weights of the last finished epoch."""
        return self.path / "last.safetensors"

    @property
    def best(self) -> Path:
        """Weights of the epoch with the best validation accuracy."""
        return self.path / "best.safetensors"

    @property
    def state(self) -> Path:
        """Weights, optimizer, schedule and history after the last finished epoch."""
        return self.path / "state.pt"

    @property
    def result(self) -> Path:
        """Written once, when the run is finished."""
        return self.path / "result.json"

    def write_epochs(self, history: list[dict[str, Any]]) -> None:
        """Write the lines of all finished epochs."""
        write_text(self.epochs, "".join(json.dumps(line) + "\n" for line in history))

    def finished(self, config: TrainConfig, *, test: bool = True) -> dict[str, Any] | None:
        """Return the result if the run is finished already, None if there is something to do.

        A result without the test set's figures is one only where these are not asked for.

        Raises
        ------
        ValueError
            If the folder holds a run with other settings, or an unfinished one and
            ``config.resume`` is not set.
        """
        if self.config.exists():
            self._check_settings(config)
        if self.result.exists():
            result = read_json(self.result)
            if "test_accuracy" in result or not test:
                return result
        if self.state.exists() and not config.resume:
            raise ValueError(
                f"{self.path} holds an unfinished run: --resume goes on with it, "
                "or give another --output"
            )
        return None

    def create(self, config: TrainConfig) -> None:
        """Make the folder, with the settings in it."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.config, config.to_dict())

    def _check_settings(self, config: TrainConfig) -> None:
        there, asked = read_json(self.config), config.to_dict()
        names = sorted(there.keys() | asked.keys())
        differ = [n for n in names if there.get(n) != asked.get(n)]
        if differ and (self.state.exists() or self.result.exists()):
            details = "; ".join(
                f"{n}: {there.get(n)!r} there, {asked.get(n)!r} asked" for n in differ
            )
            raise ValueError(f"{self.path} holds a run with other settings ({details})")


def default_output(config: TrainConfig) -> Path:
    """Return the folder of a run for which none was given."""
    data = portable_data_name(config.data).replace(":", "-").replace("/", "-")
    return Path("runs") / f"{config.model}-{data}-seed{config.seed}"


@contextmanager
def tensorboard(
    config: TrainConfig, folder: RunFolder, done: int
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a function that writes an epoch's numbers for TensorBoard, or does nothing."""
    if not config.tensorboard:
        yield lambda line: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("tensorboard: not installed; pip install tensorboard") from error
    with SummaryWriter(str(folder.path), purge_step=done + 1) as writer:

        def write(line: dict[str, Any]) -> None:
            for name, value in line.items():
                if name != "epoch" and value is not None:
                    writer.add_scalar(name, value, line["epoch"])

        yield write
