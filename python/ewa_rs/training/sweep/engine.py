"""What carries out the runs of a sweep: processes of this machine, or a Ray cluster."""

from __future__ import annotations

from typing import Protocol

from ewa_rs.training.sweep.task import Outcome, Task


class Engine(Protocol):
    """Runs tasks beside each other; a context that leaves no process behind."""

    def __enter__(self) -> Engine:
        """Make ready."""

    def __exit__(self, *error: object) -> None:
        """Stop what still runs."""

    def free(self) -> int:
        """Return how many tasks can be started now."""

    def start(self, task: Task) -> None:
        """Start a task, and return."""

    def wait(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Return the tasks that have ended, after at most so many seconds."""

    def describe(self) -> str:
        """Say in a few words where the tasks run."""
