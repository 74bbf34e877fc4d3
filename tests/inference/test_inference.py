"""Trained networks without PyTorch: the same logits, and errors that name the file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from ewa_rs.inference import CheckpointInfo, load, load_where
from ewa_rs.models import create_model, list_models, model_options
from ewa_rs.training.checkpoint import save_checkpoint
from ewa_rs.training.export import export_onnx
from ewa_rs.utils.checkpoint_info import FORMAT

#: Networks and options beside the defaults of all that are registered.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in list_models()),
    ("linear", {"normalise": True, "hidden": 0}),
    ("ewa", {"axis": None, "layers": 2, "residual": True, "bias": False, "gain": 2.5}),
    ("ewa", {"axis": [0, 2], "normalise": False, "gain": None}),
    ("ewa", {"axis": 1, "hidden": 0, "layers": 0}),
]
RUST = [(name, options) for name, options in VARIANTS if name in ("ewa", "linear")]
SHAPE = (3, 8, 9)


def checkpoint(path: Path, name: str, options: dict[str, Any]) -> Path:
    """Write a network whose every number is random, the running averages of batch norm too."""
    model = create_model(name, input_shape=SHAPE, num_classes=5, **options)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean)
    info = CheckpointInfo(
        model=name,
        model_options={k: v for k, v in model_options(name).items() if k != "backend"} | options,
        input_shape=SHAPE,
        class_names=("ant", "bee", "cat", "dog", "eel"),
        mean=(0.3, 0.4, 0.5),
        std=(0.2, 0.3, 0.1),
        data="imagefolder:animals",
        seed=0,
        val_fraction=0.1,
        image_size=None,
        channels=3,
    )
    save_checkpoint(path, model, info)
    return path


def pixels(n: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, *SHAPE), dtype=np.uint8)


def same(actual: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float) -> None:
    """Check within a tolerance relative to the largest number."""
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * abs(expected).max())


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_onnx_has_the_logits_of_torch(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    path = checkpoint(tmp_path / "x.safetensors", name, options)
    classifier = load(export_onnx(path, tmp_path / "x.onnx"))
    assert classifier.runtime == "onnxruntime"
    for n in (1, 2, 3, 9):  # 3, 8 and 9 are also sizes of the image
        same(classifier.logits(pixels(n)), load_where(path).logits(pixels(n)), 1e-5)
    model = onnx.load(tmp_path / "x.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    assert os.fsencode(sys.prefix) not in (tmp_path / "x.onnx").read_bytes()


@pytest.mark.parametrize(("name", "options"), RUST, ids=str)
def test_rust_has_the_logits_of_torch(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    path = checkpoint(tmp_path / "x.safetensors", name, options)
    classifier = load(path)
    assert classifier.runtime == "rust"
    expected = load_where(path)
    assert expected.runtime == "torch"
    assert classifier.info == expected.info
    for n in (1, 600):
        same(classifier.logits(pixels(n)), expected.logits(pixels(n)), 1e-5)
    assert classifier.logits(pixels(0)).shape == (0, 5)


def test_highest_opset(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "x.safetensors", "ewa", {})
    written = export_onnx(path, tmp_path / "x.onnx", opset=23)
    assert [o.version for o in onnx.load(written).opset_import] == [23]
    same(load(written).logits(pixels(2)), load_where(path).logits(pixels(2)), 1e-5)


def test_without_torch(tmp_path: Path) -> None:
    """`ewa predict` on both kinds of file, where importing torch fails."""
    path = checkpoint(tmp_path / "x.safetensors", "ewa", {})
    export_onnx(path, tmp_path / "x.onnx")
    Image.fromarray(pixels(1)[0].transpose(1, 2, 0)).save(tmp_path / "x.png")
    expected = load_where(path).predict([tmp_path / "x.png"])[0]
    script = """
import sys
for name in ("torch", "torchvision"):
    sys.modules[name] = None  # importing it: ImportError
from ewa_rs.cli import app
app(sys.argv[1:])
"""
    for file in ("x.onnx", "x.safetensors"):
        words = ["predict", str(tmp_path / file), str(tmp_path / "x.png"), "--top", "1"]
        result = subprocess.run(
            [sys.executable, "-c", script, *words], capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        share = expected["probabilities"][expected["class"]]
        assert result.stdout == f"{tmp_path / 'x.png'}: {expected['class']} {share:.1%}\n"
    checkpoint(tmp_path / "y.safetensors", "vgg_like", {})
    for command, words in (
        ("predict", [str(tmp_path / "y.safetensors"), "x.png"]),
        ("train", ["--data", "digits"]),
    ):
        result = subprocess.run(
            [sys.executable, "-c", script, command, *words], capture_output=True, text=True
        )
        assert result.returncode == 1
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1
        assert "torch" in result.stderr.lower()


@pytest.mark.parametrize("keep", [0, 100, -1])
@pytest.mark.parametrize("suffix", ["onnx", "safetensors"])
def test_truncated(tmp_path: Path, suffix: str, keep: int) -> None:
    path = checkpoint(tmp_path / "x.safetensors", "linear", {})
    if suffix == "onnx":
        path = export_onnx(path, tmp_path / "x.onnx")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=rf"x\.{suffix}: no "):
        load(path)


def test_files_of_other_programs(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"x\.safetensors: .*expected metadata 'ewa_rs-check"):
        load(tmp_path / "x.safetensors")
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy")
    graph = onnx.helper.make_graph([node], "g", [x], [y])
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(ValueError, match=r"x\.onnx: ONNX, .*expected metadata 'ewa_rs-check"):
        load(tmp_path / "x.onnx")
    for name in ("none.onnx", "none.safetensors"):
        with pytest.raises(FileNotFoundError, match=name):
            load(tmp_path / name)


def test_metadata_that_do_not_fit(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "x.safetensors", "ewa", {})
    info = load(path).info
    for metadata in ("[]", "{", '{"version": 1}'):
        save_file({"0.weight": torch.zeros(1)}, path, metadata={FORMAT: metadata})
        with pytest.raises(ValueError, match=r"x\.safetensors: damaged checkpoint"):
            load(path)
    for name in ("weight", "0.weight", "0.w_q"):
        save_file({name: torch.zeros(1)}, path, metadata=info.to_metadata())
        with pytest.raises(ValueError, match=r"x\.safetensors: damaged checkpoint"):
            load(path)


def test_images_of_a_wrong_kind(tmp_path: Path) -> None:
    classifier = load(checkpoint(tmp_path / "x.safetensors", "linear", {}))
    with pytest.raises(TypeError, match="images: expected uint8 pixels, got float32"):
        classifier.logits(pixels(1).astype(np.float32))  # type: ignore[arg-type]
    for wrong in (pixels(1)[0], pixels(1)[:, :1]):
        with pytest.raises(ValueError, match=r"images: expected shape \(n, 3, 8, 9\), got"):
            classifier.logits(wrong)


def test_export_refuses(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "x.safetensors", "linear", {})
    with pytest.raises(ValueError, match=r"output: expected a name that ends with \.onnx"):
        export_onnx(path, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="opset: expected 18 to 23, got 9"):
        export_onnx(path, tmp_path / "x.onnx", opset=9)
    written = export_onnx(path, tmp_path / "x.onnx")
    with pytest.raises(ValueError, match=r"x\.onnx: no safetensors"):
        export_onnx(written, tmp_path / "y.onnx")
    with pytest.raises(ValueError, match=r"device: .*x\.onnx runs on the CPU"):
        load_where(written, "cuda")
    assert not (tmp_path / "y.onnx").exists()


def test_network_that_does_not_go_into_onnx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint(tmp_path / "x.safetensors", "linear", {})
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: torch.linalg.eigvals(x[:, :1, None]))
    with pytest.raises(ValueError, match=r"x\.safetensors: linear does not go into ONNX"):
        export_onnx(path, tmp_path / "x.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]
