"""The trained networks that come with the package: that they load, fit and say what they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from ewa_rs.cli import app
from ewa_rs.inference import load_where
from ewa_rs.models import create_model
from ewa_rs.pretrained import find_pretrained, list_pretrained, pretrained_info, pretrained_path
from ewa_rs.training.checkpoint import load_checkpoint
from ewa_rs.training.data import data_directory
from ewa_rs.training.predict import evaluate_checkpoint

PAIRS = list_pretrained()


@pytest.mark.parametrize(("model", "data"), PAIRS, ids=["/".join(pair) for pair in PAIRS])
class TestEvery:
    def test_creates_what_its_checkpoint_says(self, model: str, data: str) -> None:
        info = pretrained_info(model, data)
        net = create_model(model, pretrained=data).eval()
        x = torch.randn(2, *info.input_shape)
        torch.testing.assert_close(net(x), load_checkpoint(pretrained_path(model, data))[0](x))
        assert {p.dtype for p in net.parameters()} == {torch.float32}
        assert info.accuracy is not None and info.licence == "MIT"
        assert info.recipe is not None and info.recipe.startswith(f"ewa train --model {model} ")

    def test_card_states_what_the_file_does(self, model: str, data: str) -> None:
        path, info = pretrained_path(model, data), pretrained_info(model, data)
        assert path.stat().st_size < 600_000
        card = path.with_suffix(".md").read_text("utf-8")
        assert f"{100 * (info.accuracy or 0):.2f} % of" in card
        assert f"{path.stat().st_size:,} bytes" in card
        for name in info.class_names:
            assert f"| {name} |" in card

    def test_evaluate_reproduces_the_stated_accuracy(self, model: str, data: str) -> None:
        path = pretrained_path(model, data)
        try:
            scores = evaluate_checkpoint(path, precision="fp32")
        except (OSError, ValueError) as error:  # ConnectionError is an OSError
            pytest.skip(f"no {data} in {data_directory()}: {error}")
        # Another CPU rounds otherwise: an image or two may fall on the other side.
        assert abs(scores["accuracy"] - (pretrained_info(model, data).accuracy or 0)) <= 2e-4

    def test_predicts_images_of_any_size_and_mode(
        self, model: str, data: str, tmp_path: Path
    ) -> None:
        files = []
        for mode in ("L", "RGB", "RGBA", "P", "1"):
            files.append(tmp_path / f"{mode}.png")
            Image.new(mode, (50, 70)).save(files[-1])
        predictions = load_where(find_pretrained(f"{model}/{data}")).predict(files)
        names = set(pretrained_info(model, data).class_names)
        assert all(set(p["probabilities"]) == names for p in predictions)


def test_of_a_data_set_the_most_accurate() -> None:
    for data in {data for _, data in PAIRS}:
        best = max(pretrained_info(m, d).accuracy or 0 for m, d in PAIRS if d == data)
        model, _, _ = find_pretrained(data).stem.partition("-")
        assert pretrained_info(model, data).accuracy == best


def test_the_command_predicts_with_them(tmp_path: Path) -> None:
    model, data = PAIRS[0]
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    words = ["predict", "--pretrained", data, str(tmp_path / "x.png"), "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    (named,) = json.loads(result.stdout)
    (expected,) = load_where(pretrained_path(model, data)).predict([tmp_path / "x.png"])
    assert named == expected


def test_errors(tmp_path: Path) -> None:
    known = ", ".join(map("/".join, PAIRS))
    message = re.escape(f"pretrained: expected one of {known}, got ewa/mars")
    assert "ewa_net_s/" in known
    with pytest.raises(ValueError, match=f"^{message}$"):
        create_model("ewa", pretrained="mars")
    with pytest.raises(ValueError, match=r"pretrained: expected one of .*, got 'mars'"):
        find_pretrained("mars")
    model, data = PAIRS[0]
    with pytest.raises(ValueError, match=r"pretrained: the weights for .* not as asked for"):
        create_model(model, pretrained=data, num_classes=3)
    with pytest.raises(TypeError, match="needs input_shape and num_classes, or pretrained"):
        create_model(model)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "--pretrained", "mars", "x.png"], "pretrained: expected one of"),
        (["predict", "--pretrained", "fashion-mnist", "words.png"], "words.png"),
        (["predict", "a.safetensors"], "no IMAGE given"),
        (["evaluate"], "no CHECKPOINT given, nor --pretrained"),
        (["evaluate", "x.safetensors", "--pretrained", "fashion-mnist"], "not both"),
    ],
    ids=lambda x: x[0] if isinstance(x, list) else "",
)
def test_wrong_usage_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.png").write_text("not an image")
    result = CliRunner().invoke(app, words)
    assert result.exit_code in (1, 2)
    assert message in result.output + result.stderr
    assert "Traceback" not in result.output
