"""The machine and the versions that a result was made with."""

from __future__ import annotations

import platform
import sys
from typing import Any

import numpy
import torch

from ewa_rs import _core
from ewa_rs.utils.processor import cores, cpu_model


def environment() -> dict[str, Any]:
    """Return hardware and versions, ready for JSON; nothing that names the machine itself."""
    return {"hardware": hardware(), "versions": versions()}


def hardware() -> dict[str, Any]:
    """Return CPU model, cores, threads, the kernels' instruction set and GPUs."""
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "ewa_rs_threads": _core.get_num_threads(),
        "simd": _core.simd(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "ewa_rs": _core.__version__,
    }


def peak_memory() -> int | None:
    """Return the most memory that this process has held so far, in bytes; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
