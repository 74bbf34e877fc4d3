"""A whole benchmark: a worker for each number of threads, and the report of what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ewa_rs import _core
from ewa_rs.bench.cases import select
from ewa_rs.bench.peers import PEERS
from ewa_rs.bench.report import write_benchmark
from ewa_rs.bench.targets import COUNT
from ewa_rs.utils.processor import cores, cpu_model

OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Settings:
    """What to measure, and for how long."""

    output: Path
    ops: str | None = None
    shapes: str | None = None
    dtypes: str | None = None
    peers: str | None = None
    threads: tuple[int, ...] = ()
    quick: bool = False
    targets: bool = True
    seconds: float = 0.5

    def chosen_peers(self) -> list[str]:
        """Return the names of the peers; a ValueError for one that is not known."""
        names = {peer.name.lower(): peer.name for peer in PEERS}
        if self.peers is None:
            return list(names.values())
        wanted = [word.strip().lower() for word in self.peers.split(",")]
        unknown = [word for word in wanted if word not in names]
        if unknown:
            raise ValueError(f"peers: expected some of {', '.join(names.values())}; got {unknown}")
        return [names[word] for word in wanted]

    def thread_counts(self) -> list[int]:
        """Return one and all."""
        return sorted(set(self.threads or (1, cores())))

    def command(self) -> str:
        """Return the command line that measures the same."""
        words = ["ewa bench"]
        for name in ("ops", "shapes", "dtypes", "peers"):
            if (value := getattr(self, name)) is not None:
                words.append(f'--{name} "{value}"')
        words += [f"--threads {n}" for n in self.threads]
        words += ["--quick"] if self.quick else []
        return " ".join([*words, f"--output {self.output}"])


def run(settings: Settings, on_event: OnEvent) -> dict[str, Any]:
    """Measure and write the report; return what results.json holds."""
    results = measure(settings, on_event)
    write_benchmark(settings.output, results)
    return results


def measure(settings: Settings, on_event: OnEvent) -> dict[str, Any]:
    """Run the workers; return what results.json holds.

    `on_event` is called with a dict whose ``total`` is the number of steps, then with what the
    workers say.
    """
    cases = select(settings.ops, settings.shapes, settings.dtypes, quick=settings.quick)
    peers = settings.chosen_peers()
    results: dict[str, Any] = {
        "command": settings.command(),
        "machine": machine(),
        "absent": {
            peer.name: f"{', '.join(peer.missing)} not installed"
            for peer in PEERS
            if peer.name in peers and peer.missing
        },
        "skipped": {},
        "lines": [],
        "targets": [],
    }
    counts = settings.thread_counts()
    with_targets = settings.targets and not settings.quick
    on_event({"total": 2 * len(cases) * len(counts) + (COUNT + 1 if with_targets else 0)})
    with tempfile.TemporaryDirectory(prefix="ewa-bench-") as caches:
        for threads in counts:
            request = {
                "cases": [case.id for case in cases],
                "peers": peers,
                "threads": threads,
                "settings": _timing(settings),
                "targets": with_targets and threads == counts[-1],
            }
            for event in work(request, caches):
                _collect(event, results)
                on_event(event)
    return results


def _timing(settings: Settings) -> dict[str, Any]:
    if settings.quick:
        return {"seconds": 0.3, "rounds": (3, 7)}
    return {"seconds": settings.seconds, "rounds": (3, 9)}


def _collect(event: dict[str, Any], results: dict[str, Any]) -> None:
    if "target" in event:
        results["targets"].append(event["target"])
    elif "skipped" in event:
        results["skipped"][event["skipped"]] = event["reason"]
    elif "direction" in event:
        results["lines"].append(event)


def work(request: dict[str, Any], caches: str) -> Iterator[dict[str, Any]]:
    """Start a worker; yield what it says. If it fails, a RuntimeError with the end of its log."""
    threads = str(request["threads"])
    names = ("OMP", "MKL", "OPENBLAS", "NUMBA", "EWA")
    environment = {
        **os.environ,
        **{f"{name}_NUM_THREADS": threads for name in names},
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-m", "ewa_rs.bench.worker", json.dumps(request)]
    log = Path(caches) / "log"
    with log.open("w+", encoding="utf-8") as errors:
        worker = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
        try:
            assert worker.stdout is not None
            for line in worker.stdout:
                yield json.loads(line)
            if worker.wait():
                tail = log.read_text("utf-8").strip().splitlines()[-1:]
                raise RuntimeError(f"the worker with {threads} threads failed: {' '.join(tail)}")
        finally:
            worker.kill()
            worker.wait()


def machine() -> dict[str, Any]:
    """Return CPU, instruction set and versions."""
    names = {peer.distribution: peer.version for peer in PEERS if not peer.missing}
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "simd": _core.simd(),
        "versions": {"ewa_rs": _core.__version__, "python": sys.version.split()[0], **names},
    }
