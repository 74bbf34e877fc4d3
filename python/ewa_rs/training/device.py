"""In which precision and memory format a network runs."""

from __future__ import annotations

from typing import get_args

import torch
from torch import nn

from ewa_rs.training.config import Precision
from ewa_rs.utils.processor import cpu_flags


def has_convolutions(model: nn.Module) -> bool:
    """Whether channels-last and 16 bits have something to speed up."""
    return any(isinstance(module, nn.Conv2d) for module in model.modules())


def resolve_precision(name: str, device: torch.device, model: nn.Module) -> str:
    """Turn ``auto`` into fp32, bf16 or fp16.

    Sixteen bits pay in convolutions. The other networks here are bound by memory or by the launch
    of small operations, and the casts of autocast only slow them: they stay with fp32. On CUDA
    bf16 where the device has it (compute capability 8), fp16 before; on a CPU bf16 where
    it has instructions for it, else fp32.
    """
    if name not in get_args(Precision):
        raise ValueError(f"precision: expected {', '.join(get_args(Precision))}, got {name!r}")
    if name != "auto":
        return name
    if not has_convolutions(model):
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 by itself (AVX-512 BF16 or AMX)."""
    return not cpu_flags().isdisjoint({"avx512_bf16", "amx_bf16"})


def pick_memory_format(model: nn.Module, *, channels_last: bool) -> torch.memory_format:
    """Return channels-last where it is asked for and there are convolutions to gain by it."""
    wanted = channels_last and has_convolutions(model)
    return torch.channels_last if wanted else torch.contiguous_format
