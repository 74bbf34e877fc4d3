"""Training on a CUDA device: mixed precision, no waiting for the device, and how fast it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import ewa_rs
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.loop import Run, train
from ewa_rs.training.run_folder import RunFolder

CONFIG = TrainConfig(model="ewa", data="digits", epochs=3, device="cuda")


@pytest.mark.parametrize("model", ["ewa", "vgg_like"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "auto"])
@pytest.mark.parametrize("augment", [False, True])
def test_training_learns(tmp_path: Path, model: str, precision: str, augment: bool) -> None:
    result = train(
        replace(CONFIG, model=model, precision=precision, augment=augment, output=str(tmp_path))
    )
    assert result["test_accuracy"] > 0.3  # ten classes


def test_compiled_training_learns(tmp_path: Path) -> None:
    assert train(replace(CONFIG, compile=True, output=str(tmp_path)))["test_accuracy"] > 0.3


@pytest.mark.parametrize("model", ["ewa", "vgg_like"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_step_never_waits_for_the_device(tmp_path: Path, model: str, precision: str) -> None:
    config = replace(CONFIG, model=model, precision=precision, augment=True)
    run = Run(config, RunFolder(tmp_path), print)
    assert run.train_split.images.is_cuda
    images, labels = run.train_split.images[:64], run.train_split.labels[:64]
    run._step(images, labels)  # the first step compiles and allocates
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            run._step(images, labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_benchmark(record_property: pytest.RecordProperty) -> None:
    """Microseconds of forward and backward by backend; printed, not judged."""
    layer = ewa_rs.nn.ElementwiseSelfAttention((3, 32, 32), axis=(0, 1, 2)).cuda()
    x = torch.randn(512, 3, 32, 32, device="cuda", requires_grad=True)
    for backend in ("torch", "triton"):
        layer.backend = backend
        layer(x).sum().backward()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(100):
            layer(x).sum().backward()
        end.record()
        end.synchronize()
        microseconds = 10 * start.elapsed_time(end)
        record_property(backend, microseconds)
        print(f"{torch.cuda.get_device_name()}: {backend} {microseconds:.0f} µs a step")
