"""A sweep on a Ray cluster of two nodes, one of whose workers is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.training.sweep.test_runner import Watcher, log_of

from ewa_rs.training.config import TrainConfig
from ewa_rs.training.sweep.engine import Engine
from ewa_rs.training.sweep.local import LocalEngine
from ewa_rs.training.sweep.plan import Network, Sweep
from ewa_rs.training.sweep.runner import run_sweep

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
RECIPE = TrainConfig(model="linear", data="digits", epochs=2, precision="fp32")
LONG = 60  # epochs of the run that is killed: it must not be over before


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    memory = 80 * 1024 * 1024
    head = {"num_cpus": 1, "object_store_memory": memory, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, connect=False, head_node_args=head)
    cluster.add_node(num_cpus=1, object_store_memory=memory)
    ray.init(cluster.address, log_to_driver=False, logging_level="error")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def sweep_in(output: Path) -> Sweep:
    linear = Network("linear", RECIPE, 2)
    long = Network("long", TrainConfig(**{**vars(RECIPE), "epochs": LONG}))
    return Sweep([long, linear], output, RECIPE, "linear")


def swept(output: Path, engine: Engine) -> tuple[dict[str, Any], Watcher]:
    watcher = Watcher()
    results, failures = run_sweep(sweep_in(output), engine, watcher)
    assert not failures
    assert sorted(watcher.ends) == [
        ("linear, seed 0", "finished"), ("linear, seed 1", "finished"), ("long, seed 0", "finished")
    ]  # fmt: skip
    return results, watcher


def test_a_killed_worker_changes_nothing(cluster: Any, tmp_path: Path) -> None:
    from ewa_rs.training.sweep.ray import RayEngine

    assert len([node for node in ray.nodes() if node["Alive"]]) == 2
    folder = tmp_path / "ray/runs/long-seed0"
    killed: list[int] = []

    def kill() -> None:
        while not (folder / "state.pt").exists():
            time.sleep(0.01)
        killed.append(int((folder / ".lock").read_text().split()[-1]))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    on_ray, _ = swept(tmp_path / "ray", RayEngine(None, 1))
    killer.join(1)
    assert killed
    assert log_of(folder) == ["started", "started", "finished"]
    for seed in (0, 1):
        assert log_of(folder.parent / f"linear-seed{seed}") == ["started", "finished"]

    local, _ = swept(tmp_path / "local", LocalEngine(2, 1))
    assert [without_times(run) for run in on_ray["runs"]] == [
        without_times(run) for run in local["runs"]
    ]
    columns = [line.split("|")[:-2] for line in table(tmp_path / "ray")]
    assert columns == [line.split("|")[:-2] for line in table(tmp_path / "local")]


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if "seconds" not in k}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def table(folder: Path) -> list[str]:
    lines = (folder / "table.md").read_text().splitlines()
    return [line for line in lines if line.startswith("|")]
