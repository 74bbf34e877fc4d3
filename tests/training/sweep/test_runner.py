"""Sweeps on this machine: what is run, how often, and what survives what."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ewa_rs.cli import app
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.lock import holder, is_locked, try_lock
from ewa_rs.training.loop import train
from ewa_rs.training.sweep.local import LocalEngine
from ewa_rs.training.sweep.plan import Network, Sweep
from ewa_rs.training.sweep.runner import run_sweep
from ewa_rs.training.sweep.task import Outcome, Task

FILE = """
output = "out"
[recipe]
data = "digits"
epochs = 2
precision = "fp32"
[[networks]]
model = "linear"
seeds = 2
[[networks]]
name = "one layer"
model = "ewa"
options = { layers = 1 }
"""


class Watcher:
    """Records what a sweep tells."""

    def __init__(self) -> None:
        self.starts: list[str] = []
        self.ends: list[tuple[str, str]] = []

    def begin(self, tasks: list[Task], todo: list[Task], where: str) -> None:
        self.tasks, self.todo = tasks, todo

    def started(self, task: Task) -> None:
        self.starts.append(str(task))

    def ended(self, task: Task, outcome: Outcome) -> None:
        self.ends.append((str(task), outcome.status))

    def tick(self, running: list[Task]) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(FILE)
    return tmp_path


def ewa(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def linear(output: Path, epochs: int = 2, **settings: Any) -> Sweep:
    recipe = TrainConfig(model="linear", data="digits", epochs=epochs, precision="fp32", **settings)
    return Sweep([Network("linear", recipe)], output, recipe)


def log_of(run: Path) -> list[str]:
    """Return the first word of each line of a run's log."""
    lines = (run / "log.txt").read_text().splitlines()
    return [line.split()[2] for line in lines if line[:2] == "20"]


def test_from_file_to_table(folder: Path) -> None:
    assert "0 finished, 3 to do" in ewa("sweep", "tiny.toml", "--dry-run").stdout
    result = ewa("sweep", "tiny.toml", "--jobs", 2)
    assert result.exit_code == 0, result.output
    assert "3 runs; 2 at a time, 1 thread each" in result.output
    assert "[3/3]" in result.output
    written = Path("out/results.json").read_bytes()
    results = json.loads(written)
    labels = [run.get("label", run["model"]) for run in results["runs"]]
    assert labels == ["linear", "one layer", "linear"]
    assert {run["hardware"]["threads"] for run in results["runs"]} == {1}
    assert "| one layer | 1,034 |" in Path("out/table.md").read_text()
    assert "    ewa sweep tiny.toml\n" in Path("out/table.md").read_text()
    pictures = sorted(path.name for path in Path("out").glob("*.png"))
    assert pictures == ["accuracy.png", "attention-one-layer.png", "confusion.png", "curves.png"]

    again = ewa("sweep", "tiny.toml", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout) == results
    assert "3 runs, 3 finished before" in again.stderr
    assert Path("out/results.json").read_bytes() == written
    assert all(log_of(run) == ["started", "finished"] for run in Path("out/runs").iterdir())
    runs = json.loads(ewa("sweep", "tiny.toml", "--dry-run", "--json").stdout)
    assert [run["finished"] for run in runs] == [True] * 3

    Path("tiny.toml").write_text(FILE.replace("epochs = 2", "epochs = 3"))
    refused = ewa("sweep", "tiny.toml")
    assert refused.exit_code == 1
    assert "out/runs/linear-seed0 holds a run with other settings (epochs: 2" in refused.stderr


def test_a_failed_run_keeps_no_other_from_being_made(folder: Path) -> None:
    text = FILE.replace("seeds = 2", "lr = 1e38\noptimizer = 'sgd'")
    Path("tiny.toml").write_text(text)
    result = ewa("sweep", "tiny.toml")
    assert result.exit_code == 1
    assert "error: linear, seed 0: epoch 1: the training loss is" in result.stderr
    assert "out/runs/linear-seed0/log.txt" in result.stderr
    assert "Traceback" not in result.output
    assert "FloatingPointError" in Path("out/runs/linear-seed0/log.txt").read_text()
    (run,) = json.loads(Path("out/results.json").read_text())["runs"]
    assert run["label"] == "one layer"


def test_validation_first_and_the_test_set_later(tmp_path: Path) -> None:
    """Choosing leaves the test set alone; testing what was chosen trains nothing again."""
    config = TrainConfig(model="linear", data="digits", epochs=2, output=str(tmp_path / "run"))
    chosen = train(config, test=False)
    assert not any(name.startswith("test") for name in chosen)
    assert train(config, test=False) == chosen
    epochs = (tmp_path / "run/epochs.jsonl").read_bytes()
    with pytest.raises(ValueError, match="unfinished run"):
        train(config)
    events: list[str] = []
    resumed = TrainConfig(**{**vars(config), "resume": True})
    tested = train(resumed, on_event=lambda event: events.append(event["event"]))
    assert events == ["start", "result"]
    assert tested["val_accuracy"] == chosen["val_accuracy"]
    assert (tmp_path / "run/epochs.jsonl").read_bytes() == epochs
    straight = train(TrainConfig(**{**vars(config), "output": str(tmp_path / "straight")}))
    assert tested["test_accuracy"] == straight["test_accuracy"]
    with pytest.raises(ValueError, match="val_fraction: expected more than 0"):
        train(TrainConfig(data="digits", val_fraction=0), test=False)


def test_table_of_validation(folder: Path) -> None:
    result = ewa("sweep", "tiny.toml", "--no-test", "--jobs", 2)
    assert result.exit_code == 0, result.output
    text = Path("out/results.json").read_text()
    assert "test_accuracy" not in text and "class_accuracy" not in text
    assert "validation accuracy (%)" in Path("out/table.md").read_text()
    assert not list(Path("out").glob("attention-*.png"))  # these show test images
    assert ewa("report", "out").exit_code == 0


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_a_run_whose_process_is_killed_goes_on(tmp_path: Path) -> None:
    sweep, watcher = linear(tmp_path, epochs=60), Watcher()
    (task,) = sweep.tasks()
    killed: list[int] = []

    def kill() -> None:
        while not task.folder.state.exists():
            time.sleep(0.01)
        killed.append(int(holder(task.folder.path).split()[-1]))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    results, failures = run_sweep(sweep, LocalEngine(1, 1), watcher)
    killer.join()
    assert killed and not failures
    assert [status for _, status in watcher.ends] == ["died", "finished"]
    assert log_of(task.folder.path) == ["started", "started", "finished"]
    (run,) = results["runs"]
    assert len(run["epochs"]) == 60
    whole = train(TrainConfig(**{**vars(task.config), "output": str(tmp_path / "whole")}))
    assert run["test_accuracy"] == whole["test_accuracy"]


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_ctrl_c_stops_the_processes_and_loses_nothing(folder: Path) -> None:
    Path("tiny.toml").write_text(FILE.replace("epochs = 2", "epochs = 2000"))
    process = subprocess.Popen(
        [sys.executable, "-m", "ewa_rs", "sweep", "tiny.toml", "--jobs", "2"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    runs = [Path("out/runs") / name for name in ("linear-seed0", "one-layer-seed0")]
    while not all((run / "state.pt").exists() for run in runs):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert stderr == "stopped; the same command goes on from here\n"
    for run in runs:
        assert not is_locked(run)
        assert not [path for path in run.iterdir() if path.name.startswith(".state")]


def test_what_another_sweep_works_on_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ewa_rs.training.sweep.runner._PATIENCE", 0.1)
    sweep, watcher = linear(tmp_path), Watcher()
    (task,) = sweep.tasks()

    def other() -> None:
        while ("linear, seed 0", "taken") not in watcher.ends:
            time.sleep(0.01)
        train(task.config)
        locked.__exit__(None, None, None)

    locked = try_lock(task.folder.path)
    assert locked.__enter__()
    thread = threading.Thread(target=other)
    thread.start()
    results, _ = run_sweep(sweep, LocalEngine(1, 1), watcher)
    thread.join()
    assert watcher.starts == []
    assert watcher.ends[-1] == ("linear, seed 0", "finished")
    assert len(results["runs"]) == 1


def test_a_claim_is_held_once(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "run")
    with try_lock(tmp_path / "run") as ours, try_lock(tmp_path / "run") as theirs:
        assert (ours, theirs) == (True, False)
        assert is_locked(tmp_path / "run")
        assert holder(tmp_path / "run").endswith(f"process {os.getpid()}")
    assert not is_locked(tmp_path / "run")
    assert holder(tmp_path / "run") == ""


def test_wrong_use_is_one_clear_line(folder: Path) -> None:
    for words, message in (
        (("none.toml",), "none.toml: No such file"),
        (("tiny.toml", "--engine", "slurm"), "engine: expected local or ray, got 'slurm'"),
        (("tiny.toml", "--device", "cuda:77", "--output", "x"), "cuda:77 asked for"),
    ):
        result = ewa("sweep", *words)
        assert result.exit_code == 1
        assert message in result.stderr
    Path("tiny.toml").write_text(FILE.replace("digits", "mnist"))
    result = ewa("sweep", "tiny.toml")
    assert result.stderr.startswith("error: data: no data set is called 'mnist'")
    assert not Path("out").exists()


def test_ray_that_is_not_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = ewa("sweep", "tiny.toml", "--engine", "ray")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: engine: ray is not installed; pip install ewa_rs with the extra ray\n"
    )
