"""Measurements beside the table of cases: small calls, threads, an epoch, memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from ewa_rs._core import set_num_threads
from ewa_rs.bench.cases import CASES, Problem
from ewa_rs.bench.measure import Call, interleave, spread
from ewa_rs.bench.peers import ewa_peer
from ewa_rs.ops import elementwise_attention as attention

#: How many there are at most, for the progress display.
COUNT = 23


def measure_targets(threads: int, settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Measure all of them; those that need several threads only where there are."""
    yield small_call(settings)
    if threads > 1:
        for name in ("rows (128, 784)", "rows (1024, 784)"):
            for direction in ("out", "training"):
                yield threads_pay(name, direction, threads, settings)
    yield from pooling(settings)
    yield from epoch(settings)
    yield memory()


def small_call(settings: dict[str, Any]) -> dict[str, Any]:
    """(1, 16) float32 into `out`, against np.add into `out`."""
    q, k, v = np.random.default_rng(0).standard_normal((3, 1, 16), dtype=np.float32)
    out = np.empty_like(q)
    calls: dict[str, Call] = {
        "ewa": lambda: attention.elementwise_attention(q, k, v, out=out),
        "add": lambda: np.add(q, k, out=out),
    }
    times = interleave(calls, **settings)
    name = "time of a call with (1, 16) float32 into out, ÷ np.add(q, k, out=out)"
    return {"name": name, "limit": "≤ 4", **spread(times["ewa"], times["add"])}


def threads_pay(
    name: str, direction: str, threads: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """Return how much faster several threads are than one, on operands in cache."""
    problem = Problem(next(case for case in CASES if case.name == name))
    runner = (ewa_peer.into_out if direction == "out" else ewa_peer.training)(problem)
    # Changing the number of threads starts new ones: a turn is long enough for that not to count.
    times: dict[int, list[float]] = {1: [], threads: []}
    for _ in range(settings["rounds"][1]):
        for count in times:
            set_num_threads(count)
            taken = interleave({"ewa": runner.call}, seconds=0, rounds=(1, 1), pause=0.002)
            times[count] += taken["ewa"]
    set_num_threads(threads)
    title = f"{threads} threads against one, {name} float32, {direction}"
    return {"name": title, "limit": "≥ 1.7", **spread(times[1], times[threads])}


def pooling(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Attention pooling against max-pooling and what else could be done in its place."""
    from ewa_rs.bench.pooling import LIMITS, SHAPES, contestants

    for shape in SHAPES:
        for order in ("contiguous", "channels last"):
            times = interleave(
                contestants(shape, channels_last=order == "channels last"), **settings
            )
            for peer, limit in LIMITS.items():
                ours = times["ewa, NumPy" if peer == "NumPy" else "ewa"]
                pair = (ours, times[peer]) if peer == "max_pool2d" else (times[peer], ours)
                sign = f"÷ {peer}'s time" if peer == "max_pool2d" else f"against {peer}"
                name = f"attention pooling, 2×2 windows of {shape}, {order}, {sign}"
                yield {"name": name, "limit": limit, **spread(*pair)}


def epoch(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Training steps of the network `ewa`, as in an epoch on Fashion-MNIST."""
    what = "training steps of the network `ewa` at the shape of Fashion-MNIST"
    limits = {"PyTorch eager": "≥ 5", "torch.compile": "≥ 2"}
    try:
        from ewa_rs.bench.epoch import training_steps

        times = interleave(training_steps(), **settings)
    except Exception as error:  # no torch, or no compiler
        for peer, limit in limits.items():
            yield {"name": f"{what}, against {peer}", "limit": limit, "absent": str(error)[:100]}
        return
    for peer, limit in limits.items():
        result = spread(times[peer], times["ewa"])
        yield {"name": f"{what}, against {peer}", "limit": limit, **result}


def memory() -> dict[str, Any]:
    """Extra memory of a training step through the layer, as a part of eager's."""
    name = "extra memory of a training step through the layer, (12544, 784) float32, ÷ eager's"
    target: dict[str, Any] = {"name": name, "limit": "≤ 0.25"}
    used = {}
    for kind in ("ewa", "eager"):
        command = [sys.executable, "-m", "ewa_rs.bench.memory", kind]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            return {**target, "absent": (run.stderr.strip().splitlines() or ["failed"])[-1][:100]}
        used[kind] = int(run.stdout)
    ratio = used["ewa"] / used["eager"]
    return {**target, "median": ratio, "low": ratio, "high": ratio, "bytes": used}
