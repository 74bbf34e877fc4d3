"""Carry out a sweep: what is not done yet, on whichever engine, and the report of it all."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Protocol

from ewa_rs.training.data import load_data
from ewa_rs.training.lock import holder, is_locked
from ewa_rs.training.sweep.engine import Engine
from ewa_rs.training.sweep.plan import Sweep
from ewa_rs.training.sweep.results import (
    draw_attentions,
    draw_confusion,
    write_figures,
    write_results,
)
from ewa_rs.training.sweep.task import Outcome, Task

# A process that dies may have been one too many for the memory: it gets a second chance.
_ATTEMPTS = 2
_TICK = 0.5
# Seconds after which a run that another sweep works on is looked at again.
_PATIENCE = 5.0


class Watcher(Protocol):
    """What is told how a sweep goes, such as a display."""

    def begin(self, tasks: list[Task], todo: list[Task], where: str) -> None:
        """Take note of all runs, and of those that are to be made."""

    def started(self, task: Task) -> None:
        """Take note that a run was given to the engine."""

    def ended(self, task: Task, outcome: Outcome) -> None:
        """Take note of an end; what is ``taken`` or ``died`` will be looked at again."""

    def tick(self, running: list[Task]) -> None:
        """Look at what is running; called twice a second."""


def run_sweep(
    sweep: Sweep, engine: Engine, watcher: Watcher
) -> tuple[dict[str, Any], dict[Task, str]]:
    """Make the runs that are not finished, and write the report.

    A sweep that is stopped, by Ctrl-C or a crash, loses nothing but epochs that were not over; the
    same call goes on from there. A run that fails does not keep the others from being made.

    The watcher is told how it goes. What is returned is what results.json holds, and why runs
    failed.

    Raises
    ------
    ValueError
        If a run's folder holds one with other settings, or the data set cannot be loaded.
    """
    tasks = sweep.tasks()
    todo = [task for task in tasks if not task.finished]
    if todo:
        # Before any process does: one download, one message if there is none.
        c = todo[0].config
        load_data(c.data, c.data_dir, image_size=c.image_size, channels=c.channels)
    watcher.begin(tasks, todo, engine.describe())
    scheduler = _Scheduler(sweep, engine, watcher)
    try:
        with engine:
            scheduler.run(todo)
    finally:
        results = write_results(sweep)
    draw_confusion(sweep)
    draw_attentions(sweep)
    return results, scheduler.failures


class _Scheduler:
    def __init__(self, sweep: Sweep, engine: Engine, watcher: Watcher) -> None:
        self.sweep, self.engine, self.watcher = sweep, engine, watcher
        self.waiting: deque[Task] = deque()
        self.running: list[Task] = []
        self.taken: list[tuple[float, Task]] = []  # when to look again at what others work on
        self.deaths: dict[Task, int] = {}
        self.failures: dict[Task, str] = {}

    def run(self, todo: list[Task]) -> None:
        """Start tasks as the engine has room for them, until all have ended."""
        self.waiting.extend(todo)
        while self.waiting or self.running or self.taken:
            while self.waiting and self.engine.free() > 0:
                self._start(self.waiting.popleft())
            if self.running:
                for task, outcome in self.engine.wait(_TICK):
                    self.running.remove(task)
                    self._end(task, outcome)
            else:
                time.sleep(_TICK)
            self.watcher.tick(self.running)
            now = time.monotonic()
            self.waiting.extend(task for when, task in self.taken if when <= now)
            self.taken = [(when, task) for when, task in self.taken if when > now]

    def _start(self, task: Task) -> None:
        if is_locked(task.folder.path):
            self._end(task, Outcome("taken", holder(task.folder.path)))
        elif task.finished:
            self._end(task, Outcome("finished"))
        else:
            self.running.append(task)
            self.watcher.started(task)
            self.engine.start(task)

    def _end(self, task: Task, outcome: Outcome) -> None:
        if outcome.status == "taken":
            self.taken.append((time.monotonic() + _PATIENCE, task))
        elif outcome.status == "died":
            self.deaths[task] = self.deaths.get(task, 0) + 1
            if self.deaths[task] < _ATTEMPTS:
                self.waiting.append(task)
            else:
                outcome = Outcome("failed", f"{outcome.message}, {_ATTEMPTS} times")
        if outcome.status == "failed":
            self.failures[task] = outcome.message
        self.watcher.ended(task, outcome)
        if outcome.status == "finished":
            write_figures(self.sweep)  # for an early look
