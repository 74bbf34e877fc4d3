"""Checkpoints that say what they are, and what is done with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from ewa_rs.models import create_model
from ewa_rs.training.checkpoint import (
    CheckpointInfo,
    load_checkpoint,
    save_checkpoint,
)
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.data import load_data
from ewa_rs.training.loop import train
from ewa_rs.training.predict import evaluate_checkpoint, load_classifier
from ewa_rs.utils.checkpoint_info import FORMAT

INFO = CheckpointInfo(
    model="ewa",
    model_options={"hidden": 4},
    input_shape=(1, 8, 8),
    class_names=tuple("0123456789"),
    mean=(0.3,),
    std=(0.4,),
    data="digits",
    seed=0,
    val_fraction=0.1,
    image_size=None,
    channels=None,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(TrainConfig(model="vgg_like", data="digits", epochs=2, seed=3, output=str(folder)))
    return folder / "last.safetensors"


def checkpoint(path: Path, **changes: Any) -> Path:
    """Write a checkpoint whose metadata were changed."""
    model = create_model("ewa", input_shape=(1, 8, 8), num_classes=10, hidden=4)
    save_checkpoint(path, model, INFO)
    if changes:
        with safe_open(path, framework="pt") as file:
            details = json.loads(file.metadata()[FORMAT]) | changes
        save_file(dict(model.state_dict()), path, metadata={FORMAT: json.dumps(details)})
    return path


def test_round_trip(tmp_path: Path) -> None:
    model = create_model("ewa", input_shape=(1, 8, 8), num_classes=10, hidden=4)
    save_checkpoint(tmp_path / "x.safetensors", model, INFO)
    loaded, info = load_checkpoint(tmp_path / "x.safetensors")
    assert info == INFO
    assert not loaded.training
    x = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(loaded(x), model(x), rtol=0, atol=0)
    torch_twin, _ = load_checkpoint(tmp_path / "x.safetensors", backend="torch")
    torch.testing.assert_close(torch_twin(x), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("keep", [0, 5, 300, -1])
def test_truncated(tmp_path: Path, keep: int) -> None:
    path = checkpoint(tmp_path / "x.safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"x\.safetensors: no safetensors, or a truncated file"):
        load_checkpoint(path)


def test_foreign(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"x\.safetensors: safetensors, but no checkpoint"):
        load_checkpoint(tmp_path / "x.safetensors")
    torch.save({"w": torch.zeros(2)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x\.pt: no safetensors"):
        load_checkpoint(tmp_path / "x.pt")
    with pytest.raises(FileNotFoundError, match="there is no such checkpoint"):
        load_checkpoint(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "checkpoint version 2, this ewa_rs reads 1"),
        ({"model": "vgg"}, r"damaged checkpoint \(model: no network"),
        ({"input_shape": [1, 9, 9]}, "damaged checkpoint .*size mismatch"),
        ({"class_names": ["a"]}, "damaged checkpoint"),
        ({"extra": 1}, "damaged checkpoint"),
    ],
)
def test_metadata_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        load_checkpoint(checkpoint(tmp_path / "x.safetensors", **changes))
    assert "\n" not in str(caught.value)


def test_predict_is_what_evaluate_counts(tmp_path: Path, trained: Path) -> None:
    """The test images, saved as files and predicted, give the accuracy that evaluate gives."""
    data = load_data("digits", seed=3)
    paths = []
    for i, image in enumerate(data.test.images[:100]):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(image[0].numpy()).save(paths[-1])
    predictions = load_classifier(trained).predict(paths)
    assert [p["image"] for p in predictions] == [str(path) for path in paths]
    for p in predictions:
        probabilities = list(p["probabilities"].values())
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert probabilities == sorted(probabilities, reverse=True)
        assert p["class"] == next(iter(p["probabilities"]))
    hits = [int(p["class"]) == y for p, y in zip(predictions, data.test.labels, strict=False)]
    assert np.mean(hits) == pytest.approx(evaluate_checkpoint(trained)["accuracy"], abs=0.05)


def test_predict_takes_any_size_and_mode(tmp_path: Path, trained: Path) -> None:
    digit = Image.fromarray(load_data("digits").test.images[0, 0].numpy())
    digit.save(tmp_path / "grey.png")
    digit.convert("RGBA").save(tmp_path / "coloured.png")
    digit.resize((90, 70)).save(tmp_path / "large.tif")
    names = ("grey.png", "coloured.png", "large.tif")
    grey, coloured, large = load_classifier(trained).predict([tmp_path / n for n in names])
    assert grey["probabilities"] == pytest.approx(coloured["probabilities"], abs=1e-5)
    assert large["probabilities"].keys() == grey["probabilities"].keys()


def test_evaluate(trained: Path) -> None:
    scores = evaluate_checkpoint(trained, split="val")
    assert (scores["data"], scores["split"], scores["images"]) == ("digits", "val", 144)
    assert sum(map(sum, scores["confusion_matrix"])) == 144
    with pytest.raises(ValueError, match="split: expected train, val or test, got 'all'"):
        evaluate_checkpoint(trained, split="all")


def test_evaluate_on_data_of_other_classes(tmp_path: Path, trained: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / "birds" / part / "a").mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "birds" / part / "a" / "0.png")
    with pytest.raises(ValueError, match=r"trained on 1×8×8 .* of 10 classes .*birds has 1×8×8"):
        evaluate_checkpoint(trained, data="imagefolder:birds", data_dir=str(tmp_path))
