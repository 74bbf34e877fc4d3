"""The ewa command, as its user calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

import ewa_rs
from ewa_rs.cli import app
from ewa_rs.models import list_models
from ewa_rs.training.checkpoint import load_state
from ewa_rs.training.lock import try_lock

COMMANDS = ("train", "evaluate", "predict", "export", "info", "compare", "sweep")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ewa(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def train(*words: object) -> Result:
    return ewa("train", "--data", "digits", "--model", "linear", "--epochs", 2, *words)


def fails(result: Result, *words: str, code: int = 1) -> None:
    """Check that a command failed with one clear line."""
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.output


def test_train_evaluate_predict(folder: Path) -> None:
    result = train("--output", "run")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "650 parameters, cpu, fp32"
    assert lines[1].startswith("epoch 1/2  loss ")
    assert lines[-2].startswith("test accuracy ")
    assert lines[-1] == "weights and result: run"

    result = ewa("evaluate", "run/last.safetensors")
    assert result.exit_code == 0, result.output
    assert "linear on digits, test, 359 images" in result.stdout

    Image.new("RGB", (20, 20)).save("x.png")
    result = ewa("predict", "run/last.safetensors", "x.png", "x.png", "--top", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("x.png: ") == 2
    assert result.stdout.count("%") == 4


def test_json_is_all_that_standard_output_has(folder: Path) -> None:
    trained = json.loads(train("--output", "run", "--json").stdout)
    assert trained == json.loads(Path("run/result.json").read_text())
    scores = json.loads(ewa("evaluate", "run/best.safetensors", "--json").stdout)
    assert scores["images"] == 359
    Image.new("L", (8, 8)).save("x.png")
    (prediction,) = json.loads(ewa("predict", "run/last.safetensors", "x.png", "--json").stdout)
    assert prediction["image"] == "x.png"
    assert len(prediction["probabilities"]) == 10


def test_default_output_and_a_finished_run(folder: Path) -> None:
    assert train("--seed", 4).exit_code == 0
    assert Path("runs/linear-digits-seed4/result.json").exists()
    again = train("--seed", 4)
    assert again.exit_code == 0
    assert again.stdout.startswith("already finished, test accuracy ")
    assert again.stdout.endswith("%: runs/linear-digits-seed4\n")


def test_settings_reach_the_run(folder: Path) -> None:
    words = "--lr 0.1 --batch-size 32 --optimizer sgd --augment --label-smoothing 0.1 "
    words += "--weight-decay 0 --val-fraction 0.2 --no-channels-last --precision bf16 "
    words += "--seed 5 --image-size 10 --channels 3 --option hidden=6 --backend torch"
    result = train("--output", "run", *words.split())
    assert result.exit_code == 0, result.output
    stored = json.loads(Path("run/result.json").read_text())
    flags = stored["command"].split()
    for name, value in zip(words.split(), words.split()[1:], strict=False):
        if name.startswith("--") and value.startswith("--"):
            assert name in flags
        elif name.startswith("--"):
            number = value.replace(".", "").isdigit()
            shown = flags[flags.index(name) + 1]
            assert float(shown) == float(value) if number else shown == value
    assert stored["parameters"] == 300 * 6 + 6 + 6 * 10 + 10


def test_info() -> None:
    details = json.loads(ewa("info", "--json").stdout)
    assert details["versions"]["torch"] == torch.__version__
    assert details["versions"]["ewa_rs"] == ewa_rs.__version__
    assert details["hardware"]["threads"] == torch.get_num_threads()
    assert details["kernels"]["chosen"] in details["kernels"]["available"]
    assert sorted(details["models"]) == list_models()
    text = ewa("info").stdout
    for word in ("versions", "kernels", "CUDA devices", *list_models()):
        assert word in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    result = ewa(command, "--help")
    assert result.exit_code == 0
    assert f"Example: ewa {command}" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    "words",
    ["", "fly", "train --epochs 0", "train --epochs many", "train --option depth", "predict"],
)
def test_wrong_usage(words: str) -> None:
    assert ewa(*words.split()).exit_code == 2


def test_failures_of_train(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(train("--model", "vgg"), "vgg_like")
    fails(train("--option", "depth=3"), "linear has no option depth", "hidden")
    fails(train("--data", "mnist"), "'mnist'", "fashion-mnist")
    fails(train("--data", "imagefolder:none", "--data-dir", "x"), "x/none/train is no folder")
    fails(train("--precision", "fp8"), "precision: expected one of auto")
    fails(train("--option", "normalise=False"), "normalise: expected true or false, got 'False'")
    fails(train("--resume", "--output", "none"), "none: no run to go on with")
    assert list(Path("runs").iterdir()) == []  # nothing is left of them
    fails(train("--device", "cuda:77"), "cuda:77 asked for")
    fails(train("--lr", "1e38", "--optimizer", "sgd"), "the training loss is", "lower --lr")
    monkeypatch.setenv("EWA_DATA", str(folder / "data"))
    Path("data").write_text("a file where a folder should be")
    fails(train("--data", "cifar10"), str(folder / "data"), "cifar-10-python.tar.gz")


def test_two_trainings_in_one_folder(folder: Path) -> None:
    with try_lock(folder / "run") as ours:
        assert ours
        fails(train("--output", "run"), "run: another process trains there", str(os.getpid()))
    assert train("--output", "run").exit_code == 0


def test_output_that_cannot_be_written(folder: Path) -> None:
    Path("file").write_text("")
    fails(train("--output", "file/run"), "file/run: Not a directory")
    if os.name == "posix" and os.geteuid() != 0:
        Path("locked").mkdir(mode=0o500)
        fails(train("--output", "locked/run"), "locked/run: Permission denied")


def test_failures_with_checkpoints(folder: Path) -> None:
    fails(ewa("evaluate", "none.safetensors"), "none.safetensors", "no such checkpoint")
    Path("junk.safetensors").write_bytes(b"junk")
    fails(ewa("evaluate", "junk.safetensors"), "junk.safetensors", "truncated")
    save_file({"w": torch.zeros(1)}, "foreign.safetensors")
    fails(ewa("predict", "foreign.safetensors", "x.png"), "foreign.safetensors", "no checkpoint")
    assert train("--output", "run").exit_code == 0
    assert ewa("evaluate", "run/last.safetensors", "--backend", "torch").exit_code == 0
    fails(ewa("evaluate", "run/last.safetensors", "--backend", "gpu"), "backend: expected None")
    fails(ewa("evaluate", "run/last.safetensors", "--precision", "fp8"), "precision: expected auto")
    fails(ewa("predict", "run/last.safetensors", "x.png"), "x.png", "No such file")
    Path("x.png").write_bytes(b"junk")
    fails(ewa("predict", "run/last.safetensors", "x.png"), "x.png", "not a readable image")


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_and_resume(folder: Path) -> None:
    """A real Ctrl-C in the middle of an epoch, and the command that it names."""
    command = [sys.executable, "-m", "ewa_rs", "train", "--data", "digits", "--epochs", "60"]
    process = subprocess.Popen(
        [*command, "--model", "linear", "--output", "run"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # A shell's background job, such as this test may be part of, ignores SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while not Path("run/state.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert stderr.count("\n") == 1
    assert stderr.strip().endswith("ewa train --output run --resume")
    done = len(Path("run/epochs.jsonl").read_text().splitlines())
    assert 0 < done < 60
    # Ctrl-C may fall between an epoch's line and its state: that epoch is trained again.
    saved = len(load_state(Path("run/state.pt"))["history"])
    assert saved in (done - 1, done)

    fails(train("--output", "run", "--epochs", 60), "unfinished run", "--resume")
    result = ewa("train", "--output", "run", "--resume")
    assert result.exit_code == 0, result.output
    assert f"going on after epoch {saved}" in result.stdout
    assert len(Path("run/epochs.jsonl").read_text().splitlines()) == 60
