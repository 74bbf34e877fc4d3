"""Latency of one image through trained networks: PyTorch, onnxruntime, and NumPy with Rust.

    python benchmarks/latency.py runs/digits/last.safetensors

prints a table; without a file it takes an `ewa` for 28×28 images with the weights it starts from.
Everything a call does is in it, from uint8 pixels to logits. The runtimes take turns, so that what
else the machine does hits all of them; each has the median of its calls.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import ewa_rs
from ewa_rs.inference import CheckpointInfo, Classifier, load
from ewa_rs.models import create_model, model_options
from ewa_rs.training.checkpoint import save_checkpoint
from ewa_rs.training.export import export_onnx
from ewa_rs.training.predict import load_classifier


def latencies(checkpoint: Path, *, images: int = 1, rounds: int = 2000) -> dict[str, float]:
    """Return the median seconds of a call with so many images, by runtime."""
    with tempfile.TemporaryDirectory() as folder:
        onnx = load(export_onnx(checkpoint, Path(folder) / "x.onnx"))
    classifiers = {
        "PyTorch, torch operations": load_classifier(checkpoint, backend="torch"),
        "PyTorch, Rust kernels": load_classifier(checkpoint),
        "onnxruntime": onnx,
        "NumPy and Rust kernels": load(checkpoint),
    }
    shape = (images, *onnx.info.input_shape)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in classifiers}
    for classifier in classifiers.values():
        _seconds(classifier, pixels)
    for _ in range(rounds):
        for name, classifier in classifiers.items():
            seconds[name].append(_seconds(classifier, pixels))
    return {name: statistics.median(times) for name, times in seconds.items()}


def _seconds(classifier: Classifier, pixels: np.typing.NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    classifier.logits(pixels)
    return time.perf_counter() - start


def fresh_checkpoint(path: Path) -> Path:
    """Write an `ewa` for 1×28×28 images and ten classes."""
    shape = (1, 28, 28)
    info = CheckpointInfo(
        model="ewa",
        model_options={k: v for k, v in model_options("ewa").items() if k != "backend"},
        input_shape=shape,
        class_names=tuple("0123456789"),
        mean=(0.5,),
        std=(0.5,),
        data="none",
        seed=0,
        val_fraction=0,
        image_size=None,
        channels=None,
    )
    save_checkpoint(path, create_model("ewa", input_shape=shape, num_classes=10), info)
    return path


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    ewa_rs.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        named = Path(sys.argv[1]) if len(sys.argv) > 1 else None
        times = latencies(named or fresh_checkpoint(Path(folder) / "ewa.safetensors"))
    print("| runtime | µs an image | ÷ NumPy and Rust |\n| --- | ---: | ---: |")
    for name, seconds in times.items():
        ratio = seconds / times["NumPy and Rust kernels"]
        print(f"| {name} | {seconds * 1e6:.0f} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
