"""What there is: versions, processor, kernels, devices, networks."""

from __future__ import annotations

from typing import Any

import torch
from rich.table import Table

from ewa_rs import _core
from ewa_rs.cli.console import output
from ewa_rs.models import list_models, model_options
from ewa_rs.ops import _triton
from ewa_rs.training.data import data_directory
from ewa_rs.training.environment import environment
from ewa_rs.training.report.summary import versions_text
from ewa_rs.utils.processor import cpu_flags

#: The CPU features that matter to the kernels here and to PyTorch's.
_FEATURES = (
    *("avx2", "fma", "avx512f", "avx512bw", "avx512_bf16", "amx_bf16"),
    *("asimd", "sve", "bf16"),
)


def collect_info() -> dict[str, Any]:
    """Return all that `ewa info` prints."""
    flags = cpu_flags()
    return {
        **environment(),
        "cpu_features": [name for name in _FEATURES if name in flags],
        "kernels": {"chosen": _core.simd(), "available": _core.available_simd()},
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


def print_info(details: dict[str, Any]) -> None:
    """Print `collect_info` for a person."""
    hardware, kernels = details["hardware"], details["kernels"]
    devices = ", ".join(
        f"{d['name']} (compute capability {d['compute_capability']})"
        for d in details["cuda_devices"]
    )
    triton = "triton (CUDA)"
    if not details["backends"]["triton"]:
        triton = "no triton (needs CUDA, compute capability 7.5)"
    rows = {
        "versions": versions_text(details["versions"]),
        "CPU": f"{hardware['cpu']}, {hardware['cores']} cores",
        "CPU features": ", ".join(details["cpu_features"]) or "not known",
        "kernels": f"{kernels['chosen']} (of {', '.join(kernels['available'])})",
        "backends": f"rust (CPU), torch (any device), {triton}; --backend chooses",
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
