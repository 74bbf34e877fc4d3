"""Devices by name."""

from __future__ import annotations

import pytest
import torch

from ewa_rs.utils.device import resolve_device


def test_devices() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ValueError, match=r"device: expected auto.*'gpu'"):
        resolve_device("gpu")
    with pytest.raises(ValueError, match=r"device: expected auto.*'mps'"):
        resolve_device("mps")
    with pytest.raises(ValueError, match=r"device: cuda:99 asked for, \d+ CUDA devices found"):
        resolve_device("cuda:99")
