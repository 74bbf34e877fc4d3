"""The benchmark: its registry, its verdicts, and a tiny run of it as its user calls it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ewa_rs.bench import worker
from ewa_rs.bench.cases import CASES, Case, Problem, error_of, select
from ewa_rs.bench.limit import streaming
from ewa_rs.bench.measure import interleave, spread
from ewa_rs.bench.peers import PEERS, Peer, ewa_peer, numpy_peer, torch_peer
from ewa_rs.bench.peers.runner import NotForThis, Runner
from ewa_rs.cli import app
from ewa_rs.ops import elementwise_attention as attention

TIMING = {"seconds": 0.0, "rounds": (2, 2)}
SMALLER = {1_000_000: 30, 12544: 9, 1024: 5, 128: 4, 64: 3}


def small(case: Case) -> Case:
    return dataclasses.replace(case, shape=tuple(SMALLER.get(n, n) for n in case.shape))


def results_of(runner: Runner) -> dict[str, Any]:
    return runner.results(runner.call())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_contestants_that_are_always_there_are_right_in_every_case(case: Case) -> None:
    if case.dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    problem = Problem(small(case))
    made = [ewa_peer.forward, ewa_peer.into_out, ewa_peer.training]
    made += [torch_peer.forward, torch_peer.training]
    if case.dtype != "bfloat16":
        made += [numpy_peer.forward, numpy_peer.training]
    for make in made:
        results = results_of(make(problem))
        assert error_of(problem, results) is None, make.__module__
        assert set(results) in ({"y"}, set(problem.expected))


@pytest.mark.parametrize("name", ["SciPy", "Numba", "JAX", "ONNX Runtime"])
def test_a_peer_that_is_installed_is_right(name: str) -> None:
    peer = next(peer for peer in PEERS if peer.name == name)
    if peer.missing:
        pytest.skip(f"{', '.join(peer.missing)} not installed")
    problem = Problem(small(next(case for case in CASES if case.name == "maps, channel")))
    for direction in ("forward", "training"):
        try:
            runner = peer.runner(direction, problem)
        except NotForThis as reason:
            assert str(reason) == "forward only"
            continue
        assert error_of(problem, results_of(runner)) is None


def test_a_wrong_op_gets_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    right = attention.elementwise_attention

    def wrong(*inputs: Any, **options: Any) -> Any:
        return right(*inputs, scale=1.0, **options)

    monkeypatch.setattr(attention, "elementwise_attention", wrong)
    problem = Problem(small(CASES[0]))
    lines = worker.measure_group(problem, "forward", [PEERS[0]], TIMING)
    assert [line["direction"] for line in lines] == ["forward", "out"]
    for line in lines:
        assert "wrong" in line["error"]
        assert "ratios" not in line


def test_a_wrong_or_failing_peer_gets_none_and_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("no such thing")

    problem = Problem(small(CASES[0]))
    peers = {
        "failing": lambda p: Runner(fail, lambda y: {"y": y}),
        "zeros": lambda p: Runner(lambda: np.zeros(p.case.shape), lambda y: {"y": y}),
    }
    monkeypatch.setattr(Peer, "runner", lambda self, group, p: peers[self.name](p))
    entered = [Peer(name, name, name) for name in peers]
    entered.append(Peer("absent", "absent", "absent", ("no_such_module",)))
    for line in worker.measure_group(problem, "forward", entered, TIMING):
        assert line["ratios"] == {}
        assert line["absent"]["failing"] == "failed: OSError: no such thing"
        assert line["absent"]["zeros"].startswith("y: wrong")
        assert line["absent"]["absent"] == "no_such_module not installed"


def test_filters_choose_and_refuse() -> None:
    assert len(select(None, None, None, quick=False)) == len(CASES) == 28
    assert [c.id for c in select(None, "8x784", "float32", quick=False)][:1] == [
        "rows (8, 784) float32"
    ]
    layers = select("self_attention", None, "float32", quick=False)
    assert {case.op for case in layers} == {"elementwise_self_attention"}
    with pytest.raises(ValueError, match="no case fits"):
        select(None, "circles", None, quick=False)


def test_every_contestant_has_a_turn_in_every_round() -> None:
    called: list[str] = []
    calls = {name: (lambda name=name: called.append(name)) for name in "abc"}
    times = interleave(calls, seconds=0, rounds=(3, 9))
    assert set(called) == set("abc")
    assert {len(t) for t in times.values()} == {3}
    ratios = spread([2.0, 4.0, 6.0], [1.0, 1.0, 2.0])
    assert ratios == {"median": 3.0, "low": 2.5, "high": 3.5, "rounds": 3}


def test_the_limit_is_that_of_operands_larger_than_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = Problem(small(CASES[0]))
    assert streaming(problem, "forward") is None
    monkeypatch.setattr("ewa_rs.bench.limit.cache_bytes", lambda: 0)
    for direction in ("forward", "training"):
        loop = streaming(problem, direction)
        assert loop is not None
        before = {name: x.copy() for name, x in problem.operands.items()}
        loop()
        for name, x in before.items():
            np.testing.assert_array_equal(problem.operands[name], x)


@pytest.mark.parametrize("channels_last", [False, True])
def test_poolings_compute_the_same(channels_last: bool) -> None:
    from ewa_rs.bench import pooling

    made = pooling.contestants((2, 3, 4, 6), channels_last=channels_last)
    assert {"ewa", *pooling.LIMITS} < set(made)
    dx, dw = made["ewa"]()
    assert (dx.shape, dw.shape) == ((2, 3, 4, 6), (3,))


def test_a_run_writes_figures_tables_and_a_plot(tmp_path: Path) -> None:
    words = ["--shapes", "rows (8", "--quick", "--threads", "1", "--peers", "numpy"]
    refused = CliRunner().invoke(app, ["bench", *words, "--output", str(tmp_path)])
    assert refused.exit_code == 1  # --quick has no such shape
    assert "no case fits" in refused.stderr
    words = ["--shapes", "rows (128, 784)", *words[2:]]
    result = CliRunner().invoke(app, ["bench", *words, "--output", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    results = json.loads(result.stdout)
    assert results == json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert [line["direction"] for line in results["lines"]] == ["forward", "out", "training"]
    for line in results["lines"]:
        assert line["threads"] == 1
        assert list(line["ratios"]) == ["NumPy"]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"results.json", "summary.md", "targets.md", "table.md", "ratios.png"}
    machine = (tmp_path / "summary.md").read_text("utf-8")
    for word in (results["machine"]["cpu"], "numpy", "1 thread", results["machine"]["simd"]):
        assert word in machine


def test_an_unknown_peer_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench", "--peers", "matlab", "--output", str(tmp_path)])
    assert result.exit_code == 1
    assert "peers: expected some of NumPy" in result.stderr
