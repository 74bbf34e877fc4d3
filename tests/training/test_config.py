"""The settings of a run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from ewa_rs.training.config import TrainConfig, portable_data_name
from ewa_rs.training.run_folder import default_output


def test_json_round_trip() -> None:
    config = TrainConfig(
        model="ewa", model_options={"axis": [-1, -2]}, epochs=3, lr=0.1, backend="torch", channels=3
    )
    stored = json.loads(json.dumps(config.to_dict()))
    assert TrainConfig.from_dict(stored) == config
    assert TrainConfig.from_dict(stored).to_dict() == stored


def test_nothing_of_this_machine_is_stored() -> None:
    config = TrainConfig(
        data="imagefolder:/home/me/birds", data_dir="/home/me", output="/home/me/out", device="cuda"
    )
    text = json.dumps(config.to_dict()) + config.command()
    assert "/home/me" not in text
    assert "imagefolder:birds" in text
    assert "cuda" not in text


@pytest.mark.parametrize("name", ["digits", "imagefolder:birds", "imagefolder:pets/birds"])
def test_names_without_folders_of_this_machine_stay(name: str) -> None:
    assert portable_data_name(name) == name


def test_tuples_compare_equal_to_what_json_made_of_them() -> None:
    tuples = TrainConfig(model_options={"axis": (-1, -2)})
    assert tuples.to_dict() == TrainConfig(model_options={"axis": [-1, -2]}).to_dict()


def test_command_has_what_is_not_the_default() -> None:
    config = TrainConfig(
        model="ewa", data="digits", lr=0.1, augment=True, channels_last=False,
        model_options={"axis": [-1], "gain": "n"},
    )  # fmt: skip
    words = shlex.split(config.command())
    assert words[:6] == ["ewa", "train", "--model", "ewa", "--data", "digits"]
    assert sorted(words[6:]) == sorted(
        ["--lr", "0.1", "--augment", "--no-channels-last",
         "--option", "axis=[-1]", "--option", 'gain="n"']
    )  # fmt: skip
    assert TrainConfig().flags() == ["--data", "fashion-mnist"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 0, "at least 1"),
        ("batch_size", -1, "at least 1"),
        ("seed", -1, "0 or more"),
        ("lr", 0.0, "more than 0"),
        ("lr", float("nan"), "more than 0"),
        ("weight_decay", -1.0, "0 or more"),
        ("label_smoothing", 1.0, r"\[0, 1\)"),
        ("val_fraction", -0.1, r"\[0, 1\)"),
        ("optimizer", "adam", "adamw, sgd"),
        ("precision", "fp8", "auto, fp32, bf16, fp16"),
        ("backend", "cuda", "rust, torch, triton"),
        ("channels", 2, "1, 3"),
        ("image_size", 0, "at least 1"),
    ],
)
def test_refuses(name: str, value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected .*{expected}, got {value!r}"):
        TrainConfig(**{name: value})


def test_unknown_setting() -> None:
    with pytest.raises(ValueError, match="unknown settings depth, width"):
        TrainConfig.from_dict({"width": 1, "depth": 2})


def test_default_output() -> None:
    config = TrainConfig(model="linear", data="imagefolder:/x/birds", seed=3)
    assert default_output(config) == Path("runs/linear-imagefolder-birds-seed3")
