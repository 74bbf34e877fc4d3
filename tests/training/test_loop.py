"""The training loop: resuming, results, recipes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ewa_rs.models import create_model, list_models
from ewa_rs.training import loop
from ewa_rs.training.checkpoint import load_checkpoint
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.loop import Run, train
from ewa_rs.training.optimizer import make_optimizer
from ewa_rs.training.run_folder import RunFolder

CONFIG = TrainConfig(model="linear", data="digits", epochs=4)
TIMES = ("seconds", "images_per_second")


def run(config: TrainConfig, folder: Path, **changes: Any) -> dict[str, Any]:
    return train(replace(config, output=str(folder), **changes))


def losses(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def interrupt(config: TrainConfig, folder: Path, *, epoch: int, step: int) -> None:
    """Train until a step, where Ctrl-C is pressed."""

    def on_event(event: dict[str, Any]) -> None:
        if (event["event"], event.get("epoch"), event.get("step")) == ("step", epoch, step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(replace(config, output=str(folder)), on_event=on_event)


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, model="ewa"),
        replace(CONFIG, model="vgg_like", augment=True, label_smoothing=0.1),
        replace(CONFIG, model="vgg_like", optimizer="sgd", precision="bf16"),
        replace(CONFIG, model="dot_product", precision="fp16", val_fraction=0),
    ],
    ids=["ewa", "vgg_like augmented", "vgg_like sgd bf16", "dot_product fp16"],
)
def test_resumed_run_has_the_same_losses(tmp_path: Path, config: TrainConfig) -> None:
    """Exactly the same, epoch for epoch, and the same weights at the end."""
    run(config, tmp_path / "whole")
    interrupt(config, tmp_path / "parts", epoch=2, step=3)
    interrupt(replace(config, resume=True), tmp_path / "parts", epoch=4, step=1)
    assert len(losses(tmp_path / "parts")) == 3
    run(config, tmp_path / "parts", resume=True)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    for name in ("last.safetensors", "best.safetensors"):
        whole, parts = (tmp_path / part / name for part in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes()


def test_kill_between_the_files_of_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is written last; what it does not know of is done again."""
    run(CONFIG, tmp_path / "whole")
    saved = loop.save_state

    def killed(path: Path, state: dict[str, Any]) -> None:
        if len(state["history"]) == 3:
            raise KeyboardInterrupt
        saved(path, state)

    monkeypatch.setattr(loop, "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        run(CONFIG, tmp_path / "killed")
    monkeypatch.undo()
    assert len(losses(tmp_path / "killed")) == 3
    run(CONFIG, tmp_path / "killed", resume=True)
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


def test_files_of_a_run(tmp_path: Path) -> None:
    result = run(CONFIG, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {
        "config.json", "epochs.jsonl", "last.safetensors", "best.safetensors", "result.json",
    }  # fmt: skip
    assert result == json.loads((tmp_path / "result.json").read_text())
    assert TrainConfig.from_dict(result["config"]) == CONFIG
    assert result["parameters"] == 650
    matrix = torch.tensor(result["confusion_matrix"])
    assert matrix.sum() == 359
    assert result["test_accuracy"] == pytest.approx((matrix.diag().sum() / 359).item())
    assert result["test_accuracy"] > 0.8
    lines = losses(tmp_path)
    assert result["val_accuracy"] == lines[-1]["val_accuracy"]
    best = max(line["val_accuracy"] for line in lines)
    assert lines[result["best_epoch"] - 1]["val_accuracy"] == best
    assert str(tmp_path) not in "".join(f.read_text() for f in tmp_path.glob("*.json*"))


def test_finished_run_is_returned_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(CONFIG, tmp_path)
    monkeypatch.setattr(loop, "Run", None)
    assert run(CONFIG, tmp_path) == result


def test_test_set_is_used_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = loop.evaluate

    def spy(model: Any, split: Any, *rest: Any) -> dict[str, Any]:
        sizes.append(len(split))
        return original(model, split, *rest)

    monkeypatch.setattr(loop, "evaluate", spy)
    run(CONFIG, tmp_path)
    assert sizes == [144, 144, 144, 144, 359]


def test_seeds(tmp_path: Path) -> None:
    accuracies = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(CONFIG, tmp_path / name, seed=seed, epochs=1)
        accuracies[name] = losses(tmp_path / name)
    assert accuracies["a"] == accuracies["b"]
    assert accuracies["a"][0]["loss"] != accuracies["c"][0]["loss"]


def test_folder_with_another_run(tmp_path: Path) -> None:
    run(CONFIG, tmp_path / "done")
    with pytest.raises(ValueError, match=r"done holds a run with other .*lr: 0.005 there, 0.1"):
        run(CONFIG, tmp_path / "done", lr=0.1)
    interrupt(CONFIG, tmp_path / "half", epoch=2, step=1)
    with pytest.raises(ValueError, match=r"half holds an unfinished run: --resume"):
        run(CONFIG, tmp_path / "half")
    with pytest.raises(ValueError, match=r"epochs: 4 there, 9 asked"):
        run(CONFIG, tmp_path / "half", epochs=9, resume=True)
    interrupt(CONFIG, tmp_path / "early", epoch=1, step=1)
    assert len(run(CONFIG, tmp_path / "early", lr=0.1)["config"]) > 0


def test_settings_that_do_not_fit_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no network"):
        run(CONFIG, tmp_path / "new", model="vgg")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"PK junk", lambda b: b""]
)
def test_damaged_state(tmp_path: Path, damage: Any) -> None:
    interrupt(CONFIG, tmp_path, epoch=2, step=1)
    state = tmp_path / "state.pt"
    state.write_bytes(damage(state.read_bytes()))
    with pytest.raises(ValueError, match=r"state\.pt: truncated, or no training state"):
        run(CONFIG, tmp_path, resume=True)


def test_state_of_another_network(tmp_path: Path) -> None:
    interrupt(CONFIG, tmp_path / "a", epoch=2, step=1)
    other = replace(CONFIG, model="vgg_like")
    interrupt(other, tmp_path / "b", epoch=2, step=1)
    shutil.copy(tmp_path / "a" / "state.pt", tmp_path / "b" / "state.pt")
    with pytest.raises(ValueError, match=r"state\.pt: not of this run"):
        run(other, tmp_path / "b", resume=True)


def test_loss_that_explodes(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"epoch \d: the training loss is (nan|inf)"):
        run(CONFIG, tmp_path, lr=1e38, optimizer="sgd")


def test_compile_changes_nothing_but_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda model: compiled.append(model) or model)
    run(CONFIG, tmp_path / "compiled", compile=True)
    run(CONFIG, tmp_path / "eager")
    assert len(compiled) == 1
    assert losses(tmp_path / "compiled") == losses(tmp_path / "eager")


def test_last_weights_are_those_tested(tmp_path: Path) -> None:
    from ewa_rs.training.predict import evaluate_checkpoint

    result = run(CONFIG, tmp_path)
    scores = evaluate_checkpoint(tmp_path / "last.safetensors")
    assert scores["accuracy"] == result["test_accuracy"]
    assert scores["confusion_matrix"] == result["confusion_matrix"]
    best = evaluate_checkpoint(tmp_path / "best.safetensors", split="val")
    assert best["accuracy"] == max(line["val_accuracy"] for line in losses(tmp_path))


@pytest.mark.parametrize("name", list_models())
def test_every_network_trains_and_loads(tmp_path: Path, name: str) -> None:
    run(CONFIG, tmp_path, model=name, epochs=2)
    model, info = load_checkpoint(tmp_path / "last.safetensors")
    assert info.model == name
    assert model(torch.zeros(2, *info.input_shape)).shape == (2, 10)


def test_weight_decay_is_on_matrices_alone() -> None:
    for name in list_models():
        model = create_model(name, input_shape=(1, 8, 8), num_classes=10)
        optimizer = make_optimizer(model, replace(CONFIG, weight_decay=0.3))
        decayed = {
            id(p) for g in optimizer.param_groups if g["weight_decay"] == 0.3 for p in g["params"]
        }
        matrices = {
            id(m.weight)
            for m in model.modules()
            if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))
        }
        assert decayed == matrices


def test_backend_reaches_the_layers(tmp_path: Path) -> None:
    config = replace(CONFIG, model="ewa", backend="torch")
    layers = [
        m.backend
        for m in Run(config, RunFolder(tmp_path), print).model.modules()
        if hasattr(m, "backend")
    ]
    assert layers
    assert set(layers) == {"torch"}


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run(CONFIG, tmp_path, tensorboard=True, epochs=1)
    assert list(tmp_path.glob("events.out.tfevents.*"))
