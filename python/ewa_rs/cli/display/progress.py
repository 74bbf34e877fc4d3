"""The progress of a run, or of one after the other: a live bar on a terminal, else plain lines."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from ewa_rs.cli.display.live import LiveDisplay

_SECONDS_A_LINE = 5.0


class ProgressDisplay(LiveDisplay):
    """Takes the events of `ewa_rs.training.loop.train` while it is entered as a context."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            console,
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeRemainingColumn(),
        )
        self._prefix = ""
        self._task = self._bar.add_task("", total=None, visible=False)
        self._epochs = self._steps = 0

    def __call__(self, event: dict[str, Any]) -> None:
        """Show an event."""
        getattr(self, f"_{event['event']}")(event)

    def _start(self, event: dict[str, Any]) -> None:
        self._epochs, self._steps = event["epochs"], event["steps"]
        self._print(
            f"{event['parameters']:,} parameters, {event['device']}, {event['precision']}"
            + (f", {event['processes']} processes" if event.get("processes", 1) > 1 else "")
            + (f", going on after epoch {event['epoch']}" if event["epoch"] else "")
        )

    def _step(self, event: dict[str, Any]) -> None:
        self._bar.update(
            self._task,
            description=f"{self._prefix}epoch {event['epoch']}/{self._epochs}",
            completed=event["step"],
            total=self._steps,
            visible=True,
        )

    def _epoch(self, event: dict[str, Any]) -> None:
        self._bar.reset(self._task, visible=False)
        parts = [
            f"epoch {event['epoch']:>{len(str(self._epochs))}}/{self._epochs}",
            f"loss {event['loss']:.4f}",
            f"train {event['train_accuracy']:.2%}",
        ]
        if event["val_accuracy"] is not None:
            parts.append(f"val {event['val_accuracy']:.2%}")
        parts += [f"{event['seconds']:.1f} s", f"{event['images_per_second']:,.0f} images/s"]
        self._print("  ".join(parts))

    def _result(self, event: dict[str, Any]) -> None:
        split = "test" if "test_accuracy" in event else "val"
        self._print(f"{split} accuracy {event[f'{split}_accuracy']:.2%} (last epoch's weights)")

    def _print(self, line: str) -> None:
        super()._print(self._prefix + line)


class ComparisonDisplay(ProgressDisplay):
    """The display of a run, told which one; epochs that are over in no time get no line."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._last_line = time.monotonic()

    def _run(self, event: dict[str, Any]) -> None:
        number = f"[{event['number']:>{len(str(event['total']))}}/{event['total']}]"
        self._prefix = f"{number} {event['model']}, seed {event['seed']}: "
        if event["finished"]:
            self._print("finished before")

    def _epoch(self, event: dict[str, Any]) -> None:
        if time.monotonic() - self._last_line >= _SECONDS_A_LINE:
            super()._epoch(event)

    def _print(self, line: str) -> None:
        super()._print(line)
        self._last_line = time.monotonic()
