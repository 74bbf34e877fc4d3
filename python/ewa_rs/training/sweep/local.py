"""The engine of one machine: a process a run, so many at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from ewa_rs.training.sweep.task import Outcome, Task, execute

# Long enough for an interrupted process to remove its half-written file.
_GRACE = 5.0


@dataclass(frozen=True)
class _Running:
    task: Task
    process: SpawnProcess
    outcome: Connection


class LocalEngine:
    """Runs so many tasks at a time in processes of their own, which end when this one does."""

    def __init__(self, jobs: int, threads: int) -> None:
        self.jobs, self.threads = jobs, threads
        self._running: list[_Running] = []

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *error: object) -> None:
        """Stop what still runs; every run goes on after its last finished epoch another time."""
        for running in self._running:
            running.process.terminate()
        end = time.monotonic() + _GRACE
        for running in self._running:
            running.process.join(max(0.0, end - time.monotonic()))
            running.process.kill()
            running.process.join()
        self._running = []

    def free(self) -> int:
        """Return how many tasks can be started now."""
        return self.jobs - len(self._running)

    def start(self, task: Task) -> None:
        """Start a task in a new process."""
        context = multiprocessing.get_context("spawn")  # threads and CUDA do not survive a fork
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(task, self.threads, sender), daemon=True)
        process.start()
        sender.close()  # the process has its own
        self._running.append(_Running(task, process, receiver))

    def wait(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Return the tasks whose processes have ended, after at most so many seconds."""
        wait([running.process.sentinel for running in self._running], seconds)
        ended = [running for running in self._running if not running.process.is_alive()]
        self._running = [running for running in self._running if running not in ended]
        return [(running.task, _outcome(running)) for running in ended]

    def describe(self) -> str:
        """Say how many at a time, with how many threads."""
        return f"{self.jobs} at a time, {self.threads} thread{'s' * (self.threads > 1)} each"


def _outcome(running: _Running) -> Outcome:
    running.process.join()
    try:
        outcome = running.outcome.recv() if running.outcome.poll() else None
    except EOFError:
        outcome = None
    running.outcome.close()
    if isinstance(outcome, Outcome):
        return outcome
    code = running.process.exitcode or 0
    how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"
    return Outcome("died", f"its process {how}")


def _work(task: Task, threads: int, outcome: Connection) -> None:
    """Do a task as a process: Ctrl-C is the parent's affair, and its end is ours."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # files are left whole, locks are freed
    threading.Thread(target=_end_with_parent, daemon=True).start()
    outcome.send(execute(task, threads))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE)
        os._exit(1)
