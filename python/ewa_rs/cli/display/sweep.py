"""The progress of a sweep: live bars on a terminal, plain lines elsewhere; and its runs."""

from __future__ import annotations

import json
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn

from ewa_rs.cli.console import output
from ewa_rs.cli.display.live import LiveDisplay
from ewa_rs.training.lock import holder
from ewa_rs.training.sweep.task import Outcome, Task
from ewa_rs.utils.files import read_json

# Without a terminal: how often it is said how far everything is.
_SECONDS_A_STATUS = 60.0


class SweepDisplay(LiveDisplay):
    """Follows a sweep by the files of its runs, whichever machine they are made on."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            console,
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs  {task.fields[note]}"),
        )
        self._rows: dict[Task, TaskID] = {}
        self._last_status = time.monotonic()

    def begin(self, tasks: list[Task], todo: list[Task], where: str) -> None:
        """Say what there is to do."""
        self._total, self._ended = len(tasks), len(tasks) - len(todo)
        self._epochs = sum(task.config.epochs for task in todo)
        self._epochs_over = 0  # of the runs that have ended
        self._epochs_before = sum(len(_epochs(task)) for task in todo)
        self._start = time.monotonic()
        before = f", {self._ended} finished before" if self._ended else ""
        self._print(f"{_count(self._total, 'run')}{before}" + (f"; {where}" if todo else ""))
        self._all = self._bar.add_task("all", total=self._epochs, note="", visible=bool(todo))

    def started(self, task: Task) -> None:
        """Nothing: an engine may let a run wait for its turn."""

    def ended(self, task: Task, outcome: Outcome) -> None:
        """Say how."""
        if task in self._rows:
            self._bar.remove_task(self._rows.pop(task))
        if outcome.status == "taken":
            self._print(f"{task}: another sweep works on it ({outcome.message}), waiting")
        elif outcome.status == "died":
            self._print(f"{task}: {outcome.message}; once more, from its last finished epoch")
        else:
            self._ended += 1
            self._epochs_over += task.config.epochs
            failed = outcome.status == "failed"
            how = f"failed: {outcome.message}" if failed else _result(task)
            number = f"[{self._ended:>{len(str(self._total))}}/{self._total}]"
            self._print(f"{number} {task}: {how}")

    def tick(self, running: list[Task]) -> None:
        """Show how far the runs are."""
        epochs = {task: _epochs(task) for task in running if holder(task.folder.path)}
        over = self._epochs_over + sum(map(len, epochs.values()))
        left = self._time_left(over)
        self._bar.update(self._all, completed=over, note=left)
        for task, lines in epochs.items():
            if task not in self._rows:
                self._rows[task] = self._bar.add_task(str(task), total=task.config.epochs, note="")
            self._bar.update(self._rows[task], completed=len(lines), note=_latest(lines))
        quiet = time.monotonic() - self._last_status
        if not self._console.is_terminal and quiet >= _SECONDS_A_STATUS and epochs:
            parts = [f"{task} {len(lines)}/{task.config.epochs}" for task, lines in epochs.items()]
            self._print(
                f"epochs {over}/{self._epochs}{', ' * bool(left)}{left}: {'; '.join(parts)}"
            )

    def _time_left(self, over: int) -> str:
        new = over - self._epochs_before
        if new <= 0:
            return ""
        elapsed = time.monotonic() - self._start
        return f"about {_duration((self._epochs - over) * elapsed / new)} left"

    def _print(self, line: str) -> None:
        super()._print(line)
        self._last_status = time.monotonic()


def _epochs(task: Task) -> list[dict[str, Any]]:
    """Return the lines of the epochs that are over."""
    try:
        text = task.folder.epochs.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]


def _latest(epochs: list[dict[str, Any]]) -> str:
    accuracy = epochs[-1]["val_accuracy"] if epochs else None
    return "" if accuracy is None else f"val {accuracy:.2%}"


def _result(task: Task) -> str:
    result = read_json(task.folder.result)
    split = "test" if task.test else "val"
    accuracy, seconds = result[f"{split}_accuracy"], result["total_seconds"]
    return f"{split} accuracy {accuracy:.2%}, {_duration(seconds)}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def print_runs(runs: list[dict[str, Any]]) -> None:
    """Print of each run its state, network, seed and folder, and how many are finished."""
    for run in runs:
        state = "finished" if run["finished"] else "to do"
        output.print(f"{state:<8}  {run['network']}, seed {run['seed']}: {run['folder']}",
                     markup=False)  # fmt: skip
    finished = sum(run["finished"] for run in runs)
    output.print(f"{len(runs)} runs, {finished} finished, {len(runs) - finished} to do")
