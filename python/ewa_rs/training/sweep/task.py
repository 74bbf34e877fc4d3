"""One run of a sweep, and how a process of any engine carries it out.

Nothing here imports PyTorch before the number of threads is set.
"""

from __future__ import annotations

import os
import platform
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ewa_rs.training.config import TrainConfig
from ewa_rs.training.lock import try_lock
from ewa_rs.training.run_folder import RunFolder


@dataclass(frozen=True, eq=False)
class Task:
    """One run: the row that it belongs to, its settings, and whether the test set is used."""

    label: str
    config: TrainConfig
    test: bool = True

    @property
    def folder(self) -> RunFolder:
        """Where the run is."""
        return RunFolder(Path(str(self.config.output)))

    @property
    def finished(self) -> bool:
        """Whether there is nothing to do; a ValueError if the folder holds another run."""
        return self.folder.finished(self.config, test=self.test) is not None

    def __str__(self) -> str:
        return f"{self.label}, seed {self.config.seed}"


@dataclass(frozen=True)
class Outcome:
    """How an attempt at a run ended: ``taken`` is by another process, ``died`` its own process."""

    status: Literal["finished", "failed", "taken", "died"]
    message: str = ""


def execute(task: Task, threads: int) -> Outcome:
    """Make a run, or go on with it, in this process with so many threads."""
    with try_lock(task.folder.path) as ours:
        if not ours:
            return Outcome("taken")
        log = task.folder.path / "log.txt"
        _log(log, f"started on {platform.node()}, process {os.getpid()}, {threads} threads")
        try:
            _limit_threads(threads)
            from ewa_rs.training.loop import train

            train(task.config, test=task.test)
        except Exception as error:
            _log(log, f"failed\n{traceback.format_exc()}")
            return Outcome("failed", _message(error))
        _log(log, "finished")
        return Outcome("finished")


def _limit_threads(threads: int) -> None:
    for name in ("OMP_NUM_THREADS", "EWA_NUM_THREADS"):  # for what is not imported yet
        os.environ[name] = str(threads)
    import torch

    from ewa_rs._core import set_num_threads

    torch.set_num_threads(threads)
    set_num_threads(threads)


def _message(error: Exception) -> str:
    message = " ".join(str(error).split())
    if isinstance(error, (ValueError, OSError, FloatingPointError)) and message:
        return message  # these are written for a person to read
    return f"{type(error).__name__}: {message}"


def _log(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
