"""The limit: what must be moved, at the rate of a loop that does nothing but move it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ewa_rs import _core
from ewa_rs.bench.cases import Array, Problem, aligned
from ewa_rs.bench.measure import Call

# Arrays read and written by the forward, and by the backward.
_STREAMS = {
    "elementwise_attention": ((3, 1), (4, 3)),
    "elementwise_self_attention": ((1, 1), (2, 1)),
}


def cache_bytes() -> int:
    """Return the size of the last level of cache, or 32 MiB where it is not known."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text("ascii").strip()
        sizes.append(int(text.rstrip("KM")) * (2**20 if text.endswith("M") else 2**10))
    return max(sizes, default=32 * 2**20)


def streaming(problem: Problem, direction: str) -> Call | None:
    """Return the loop to time; None where it is no limit because the operands fit into caches."""
    case = problem.case
    attention = case.op == "elementwise_attention"
    passes = _STREAMS[case.op][: 2 if direction == "training" else 1]
    item = problem.operands["grad"].itemsize
    if sum(map(sum, passes)) * case.size * item < 2 * cache_bytes():
        return None
    if case.mask or (attention and case.small):
        return None
    reads = [problem.dense(name) for name in (("q", "k", "v") if attention else ("x",))]
    reads = [x.view(np.uint8) for x in (*reads, problem.dense("grad"))]
    shape, written = reads[0].shape, passes[-1][1]
    writes: list[Array] = [aligned(shape, np.dtype(np.uint8)) for _ in range(written)]

    def call() -> None:
        for read, write in passes:
            _core.stream(reads[:read], writes[:write])

    return call
