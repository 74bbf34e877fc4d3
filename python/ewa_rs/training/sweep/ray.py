"""The engine of a Ray cluster: a remote task a run, on whichever node has the cores.

The folder of the sweep has to be on a file system that every node sees: a run goes on from its
folder, wherever it is made the next time, and its lock keeps others from making it as well.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ewa_rs.training.sweep.task import Outcome, Task, execute

# Nodes of a cluster come and go; a run that they take with them goes on elsewhere.
_RETRIES = 3


class RayEngine:
    """Runs tasks on the Ray cluster of RAY_ADDRESS, else on one that runs here, else on a new one.

    `jobs` are handed to Ray at a time, all where it is None, and Ray decides; it sets aside as many
    cores for each as it has threads. A ValueError says that Ray is not installed.
    """

    def __init__(self, jobs: int | None, threads: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise ValueError(
                "engine: ray is not installed; pip install ewa_rs with the extra ray"
            ) from error
        self._ray: Any = ray
        self.jobs, self.threads = jobs, threads
        self._running: dict[Any, Task] = {}
        self._ours = False  # whether it was us who connected

    def __enter__(self) -> RayEngine:
        self._ours = not self._ray.is_initialized()
        if self._ours:
            self._ray.init(log_to_driver=False, logging_level="error", include_dashboard=False)
        cores = self._ray.cluster_resources().get("CPU", 0)
        if self.threads > cores:
            raise ValueError(f"threads: expected at most the cluster's {cores:.0f} cores")
        self._execute = self._ray.remote(
            num_cpus=self.threads, max_retries=_RETRIES, retry_exceptions=False
        )(execute)
        return self

    def __exit__(self, *error: object) -> None:
        """Stop what still runs, and leave the cluster."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running = {}
        if self._ours:
            self._ray.shutdown()

    def free(self) -> int:
        """Return how many tasks can be handed over now."""
        return 1 if self.jobs is None else self.jobs - len(self._running)

    def start(self, task: Task) -> None:
        """Hand a task to Ray, its folders as every node finds them."""
        self._running[self._execute.remote(_everywhere(task), self.threads)] = task

    def wait(self, seconds: float) -> list[tuple[Task, Outcome]]:
        """Return the tasks that have ended, after at most so many seconds."""
        ended, _ = self._ray.wait(list(self._running), timeout=seconds)
        return [(self._running.pop(reference), self._outcome(reference)) for reference in ended]

    def describe(self) -> str:
        """Say where the tasks run."""
        return f"on Ray, {self.threads} thread{'s' * (self.threads != 1)} each"

    def _outcome(self, reference: Any) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            text = " ".join(str(error).split())
            return Outcome("failed", f"Ray gave up on it: {type(error).__name__}: {text[:300]}")
        return outcome


def _everywhere(task: Task) -> Task:
    """Return the task without anything that depends on where this process was started."""
    config = task.config
    data_dir = config.data_dir or os.environ.get("EWA_DATA")
    return replace(
        task,
        config=replace(
            config,
            output=str(task.folder.path.resolve()),
            data_dir=str(Path(data_dir).expanduser().resolve()) if data_dir else None,
        ),
    )
