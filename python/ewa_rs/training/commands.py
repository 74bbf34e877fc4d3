"""What the command line does beside calling the library: print, and say how to go on."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import typer
from rich.table import Table

import ewa_rs._core as core
from ewa_rs.cli_options import RANK, errors, output
from ewa_rs.models import list_models, model_options
from ewa_rs.ops import _triton
from ewa_rs.training.config import TrainConfig
from ewa_rs.training.data import data_directory
from ewa_rs.training.device import cpu_flags
from ewa_rs.training.distributed import world_size
from ewa_rs.training.environment import environment
from ewa_rs.training.files import read_json
from ewa_rs.training.loop import train
from ewa_rs.training.progress import ProgressDisplay
from ewa_rs.training.run_folder import RunFolder, default_output
from ewa_rs.training.summary import versions_text
from ewa_rs.training.sweep.claim import claimed

#: The CPU features that matter to the kernels here and to PyTorch's.
_FEATURES = (
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512_bf16",
    "amx_bf16",
    "asimd",
    "sve",
    "bf16",
)


def run_training(settings: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Train with a display; with ``resume``, settings not given are those of the folder's run."""
    if settings["resume"] and "output" in settings:
        stored = RunFolder(Path(settings["output"])).config
        if stored.exists():
            settings = read_json(stored) | settings
    config = TrainConfig.from_dict(settings)
    folder = RunFolder(Path(config.output) if config.output else default_output(config))
    if config.resume and not folder.config.exists():
        raise FileNotFoundError(f"{folder.path}: no run to go on with, config.json is not there")
    finished = folder.result.exists()
    console = errors if quiet else output  # standard output is for the JSON then
    try:
        # Two trainings in one folder would mix their runs.
        alone = claimed(folder.path) if RANK == 0 else nullcontext()
        with alone, ProgressDisplay(console) as display:
            result = train(config, on_event=display)
    except KeyboardInterrupt:
        if RANK == 0:
            _say_how_to_go_on(folder, config)
        raise typer.Exit(130) from None
    accuracy = f"test accuracy {result['test_accuracy']:.2%}"
    said = f"already finished, {accuracy}" if finished else "weights and result"
    console.print(f"{said}: {folder.path}", markup=False)
    return result


def _say_how_to_go_on(folder: RunFolder, config: TrainConfig) -> None:
    command = "torchrun … -m ewa_rs" if world_size() > 1 else "ewa"
    again = f"{command} train --output {folder.path} --resume"
    if config.data_dir:
        again += f" --data-dir {config.data_dir}"
    if config.data != config.to_dict()["data"]:
        again += f" --data {config.data}"
    kept = folder.state.exists()
    errors.print(
        f"stopped; go on after the last finished epoch with: {again}"
        if kept
        else "stopped before the end of the first epoch: nothing to go on with",
        markup=False,
    )


def print_scores(scores: dict[str, Any]) -> None:
    """Print accuracy, and a table with each class."""
    output.print(
        f"{scores['model']} on {scores['data']}, {scores['split']}, {scores['images']:,} images: "
        f"accuracy {scores['accuracy']:.2%}, loss {scores['loss']:.4f}",
        markup=False,
    )
    table = Table("class", "accuracy", "most often taken for", box=None, header_style="bold")
    table.columns[1].justify = "right"
    names = list(scores["class_accuracy"])
    for i, (name, accuracy) in enumerate(scores["class_accuracy"].items()):
        wrong = [0 if j == i else n for j, n in enumerate(scores["confusion_matrix"][i])]
        worst = max(wrong)
        table.add_row(
            name,
            "-" if accuracy is None else f"{accuracy:.1%}",
            f"{names[wrong.index(worst)]} ({worst})" if worst else "",
        )
    output.print(table)


def collect_info() -> dict[str, Any]:
    """Return all that `ewa info` prints."""
    flags = cpu_flags()
    return {
        **environment(),
        "cpu_features": [name for name in _FEATURES if name in flags],
        "kernels": {"chosen": core.simd(), "available": core.available_simd()},
        "backends": {"rust": True, "torch": True, "triton": _triton.available()},
        "cuda_devices": [_cuda_device(i) for i in range(torch.cuda.device_count())],
        "data_directory": str(data_directory()),
        "models": {name: model_options(name) for name in list_models()},
    }


def _cuda_device(index: int) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(index)
    return {
        "name": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "memory_bytes": properties.total_memory,
    }


def _backends(triton: bool) -> str:
    """Say what can compute the element-wise layers, and how it is chosen."""
    there = "triton (CUDA)" if triton else "no triton (needs CUDA, compute capability 7.5)"
    return f"rust (CPU), torch (any device), {there}; --backend chooses"


def print_info(details: dict[str, Any]) -> None:
    """Print `collect_info` for a person."""
    hardware, kernels = details["hardware"], details["kernels"]
    devices = ", ".join(
        f"{d['name']} (compute capability {d['compute_capability']})"
        for d in details["cuda_devices"]
    )
    rows = {
        "versions": versions_text(details["versions"]),
        "CPU": f"{hardware['cpu']}, {hardware['cores']} cores",
        "CPU features": ", ".join(details["cpu_features"]) or "not known",
        "kernels": f"{kernels['chosen']} (of {', '.join(kernels['available'])})",
        "backends": _backends(details["backends"]["triton"]),
        "threads": f"ewa_rs {hardware['ewa_rs_threads']}, torch {hardware['threads']}",
        "CUDA devices": devices or "none",
        "data": details["data_directory"],
    }
    for name, options in details["models"].items():
        rows[f"model {name}"] = ", ".join(f"{k}={v!r}" for k, v in options.items())
    table = Table.grid(padding=(0, 2))
    for name, text in rows.items():
        table.add_row(name, text)
    output.print(table)
