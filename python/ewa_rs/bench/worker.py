"""Measures cases with one number of threads, in a process of its own.

Some libraries settle the number of their threads when they are imported. `ewa_rs.bench.run`
starts ``python -m ewa_rs.bench.worker REQUEST`` with the environment of that number; lines of JSON
come back.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from ewa_rs.bench.cases import CASES, Problem, error_of
from ewa_rs.bench.limit import streaming
from ewa_rs.bench.measure import Call, interleave, spread
from ewa_rs.bench.peers import PEERS, Peer, ewa_peer
from ewa_rs.bench.peers.runner import NotForThis, Runner

#: What is measured, and which of the peers' functions it is measured against.
DIRECTIONS = {"forward": "forward", "out": "forward", "training": "training"}
_OURS: dict[str, Callable[[Problem], Runner]] = {
    "forward": ewa_peer.forward,
    "out": ewa_peer.into_out,
    "training": ewa_peer.training,
}


def contestant(make: Callable[[], Runner], problem: Problem) -> Call:
    """Return what to time, once its result has been found to be right; NotForThis otherwise."""
    try:
        runner = make()
        error = error_of(problem, runner.results(runner.call()))
    except NotForThis:
        raise
    except Exception as exception:  # a peer that fails is a finding, not the end
        traceback.print_exc()
        message = " ".join(str(exception).split())[:100]
        raise NotForThis(f"failed: {type(exception).__name__}: {message}") from exception
    if error:
        raise NotForThis(error)
    return runner.call


def measure_group(
    problem: Problem, group: str, peers: list[Peer], settings: dict[str, Any]
) -> list[dict[str, Any]]:
    """Measure the forward, also into `out`, or training, against all peers in the same rounds."""
    calls: dict[str, Call] = {}
    absent: dict[str, str] = {}

    def enter(name: str, make: Callable[[], Runner]) -> None:
        try:
            calls[name] = contestant(make, problem)
        except NotForThis as reason:
            absent[name] = str(reason)

    ours = [name for name, against in DIRECTIONS.items() if against == group]
    for name in ours:
        enter(name, lambda name=name: _OURS[name](problem))  # type: ignore[misc]
    if not any(name in calls for name in ours):
        return [_line(problem, name, {"error": absent[name]}) for name in ours]
    for peer in peers:
        if peer.missing:
            absent[peer.name] = f"{', '.join(peer.missing)} not installed"
        else:
            enter(peer.name, lambda peer=peer: peer.runner(group, problem))  # type: ignore[misc]
    loop = streaming(problem, group)
    if loop is not None:
        calls["limit"] = loop
    times = interleave(calls, **settings)
    lines = []
    for name in ours:
        if name not in times:
            lines.append(_line(problem, name, {"error": absent[name]}))
            continue
        names = [peer.name for peer in peers]
        ratios = {p: spread(times[p], times[name]) for p in names if p in times}
        line: dict[str, Any] = {"ratios": ratios}
        line["absent"] = {p: absent[p] for p in names if p in absent}
        if "limit" in times:
            line["limit"] = spread(times[name], times["limit"])
        lines.append(_line(problem, name, line))
    return lines


def _line(problem: Problem, direction: str, results: dict[str, Any]) -> dict[str, Any]:
    case = problem.case
    about = {"case": case.id, "name": case.name, "op": case.op, "dtype": case.dtype}
    return {**about, "elements": case.size, "direction": direction, **results}


def main() -> None:
    """Measure the cases of the request in the first argument."""
    request = json.loads(sys.argv[1])
    threads = request["threads"]
    if hasattr(os, "sched_setaffinity"):
        # JAX takes as many threads as there are processors that it may use.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    # Whatever a library prints must not get between the lines of JSON.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(event: dict[str, Any]) -> None:
        print(json.dumps(event), file=lines, flush=True)

    peers = [peer for peer in PEERS if peer.name in request["peers"]]
    settings = {**request["settings"], "pause": 0.008 if threads > 1 else 0.0}
    for case in CASES:
        if case.id not in request["cases"]:
            continue
        start = time.perf_counter()
        try:
            problem = Problem(case)
        except ImportError as error:
            tell({"skipped": case.id, "reason": f"{error.name} not installed", "steps": 2})
            continue
        for group in ("forward", "training"):
            tell({"working_on": f"{case.id}, {group}, threads: {threads}"})
            for line in measure_group(problem, group, peers, settings):
                tell({**line, "threads": threads})
            tell({"done": 1, "seconds": time.perf_counter() - start})
    if request["targets"]:
        from ewa_rs.bench.targets import measure_targets

        for target in measure_targets(threads, settings):
            tell({"target": target})
            tell({"done": 1})


if __name__ == "__main__":
    main()
