"""Two processes on this machine have the losses and the weights of one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed
from safetensors.torch import load_file

from ewa_rs.training.compare import Comparison, compare
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.distributed import World, check_batch_size, own_device
from ewa_rs.training.loop import train

CONFIG = TrainConfig(model="ewa", data="digits", epochs=4, batch_size=50)
SETTINGS = {"model": "ewa", "data": "digits", "epochs": 4, "batch-size": 50, "device": "cpu"}
COMMAND = ["train", *(f"--{name}={value}" for name, value in SETTINGS.items()), "--output=two"]

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_gloo_available(), reason="needs PyTorch with gloo"
)

#: The ewa command, but every rank keeps its weights, and with KILL set, rank 1 dies after 2 epochs.
SCRIPT = """
import os, signal, sys
import torch
from ewa_rs.cli import app
from ewa_rs.training.loop import Run

validate, score = Run._validate, Run._score

def killed(self):
    if "KILL" in os.environ and self.world.rank == 1 and len(self.history) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return validate(self)

def keeping(self, split):
    torch.save(self.model.state_dict(), f"rank{self.world.rank}.pt")
    return score(self, split)

Run._validate, Run._score = killed, keeping
app(sys.argv[1:])
"""


def start(folder: Path, rank: int, port: int, **environment: str) -> subprocess.Popen[str]:
    """Start one of two processes as torchrun would."""
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(folder / "script.py"), *COMMAND],
        cwd=folder, env=os.environ | place | address | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def pair(folder: Path, **environment: str) -> list[tuple[int, str]]:
    """Run two processes; return what each exited with and wrote to standard error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(folder, rank, port, **environment) for rank in (0, 1)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    return [(p.returncode, e) for p, e in zip(processes, errors, strict=True)]


@pytest.mark.skipif(os.name != "posix", reason="sends SIGKILL")
def test_two_processes_are_as_good_as_one(tmp_path: Path) -> None:
    """A process is lost, the others say so; torchrun goes on, and the whole is that of one."""
    (tmp_path / "script.py").write_text(SCRIPT)
    (code, error), (killed, _) = pair(tmp_path, KILL="1")
    assert killed == -9
    assert code == 1
    assert error.startswith("error: another of the 2 processes is gone (")
    assert error.count("\n") == 1
    assert len((tmp_path / "two/epochs.jsonl").read_text().splitlines()) == 2

    (code, error), (other_code, other_error) = pair(tmp_path)
    assert (code, other_code) == (1, 1)
    assert "two holds an unfinished run: --resume goes on with it" in error
    assert other_error == ""

    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    result = subprocess.run(
        [*torchrun, "script.py", *COMMAND, "--resume"], cwd=tmp_path, text=True,
        capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "2 processes, going on after epoch 2" in result.stdout
    assert result.stdout.count("\n") == 5  # rank 0 speaks for all

    train(replace(CONFIG, output=str(tmp_path / "one")))
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two")]
    assert [result["processes"] for result in results] == [1, 2]
    assert results[0]["confusion_matrix"] == results[1]["confusion_matrix"]
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "epochs.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    for name in ("loss", "val_loss", "train_accuracy", "val_accuracy", "lr"):
        ones, twos = ([line[name] for line in lines] for lines in (one, two))
        assert twos == pytest.approx(ones, rel=0, abs=1e-5)
    weights = [torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1)]
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)
    single = load_file(tmp_path / "one/last.safetensors")
    torch.testing.assert_close(dict(weights[0]), single, rtol=1e-4, atol=1e-4)


def test_shares_make_the_batch() -> None:
    batch = torch.randperm(12)
    shares = [World(rank, 3).share(batch) for rank in range(3)]
    assert [len(share) for share in shares] == [4, 4, 4]
    assert torch.equal(torch.cat(shares).sort().values, torch.arange(12))


def test_random_numbers_diverge() -> None:
    drawn = []
    for rank in (0, 0, 1, 2):
        torch.manual_seed(5)
        World(rank, 3).diverge()
        drawn.append(torch.rand(1).item())
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def test_settings_that_processes_cannot_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="batch_size: expected a multiple of 3, the number"):
        check_batch_size(128, 3)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="device: expected auto, cpu or cuda in several processes"):
        own_device("cuda:0")
    with pytest.raises(ValueError, match="compare: expected one process, got 2"):
        compare(Comparison({"linear": 1}, tmp_path))
