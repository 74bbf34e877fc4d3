"""Weights that say what they are, and the state that an unfinished run goes on from."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ewa_rs.inference.torch import load_checkpoint
from ewa_rs.utils.checkpoint_info import FORMAT, VERSION, CheckpointInfo
from ewa_rs.utils.files import atomic_path

__all__ = ["CheckpointInfo", "load_checkpoint", "load_state", "save_checkpoint", "save_state"]

# What torch.load makes of bytes that are not a whole file of its.
_DAMAGED = (
    *(RuntimeError, pickle.UnpicklingError, EOFError, OSError),
    *(ValueError, TypeError, LookupError),
)


def save_checkpoint(path: Path, model: nn.Module, info: CheckpointInfo) -> None:
    """Write the weights of a network as safetensors, atomically."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=info.to_metadata())


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the state of an unfinished run, atomically."""
    with atomic_path(path) as temporary:
        torch.save({"format": FORMAT, "version": VERSION, **state}, temporary)


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote; anything else is a ValueError that names the file."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        raise ValueError(f"{path}: truncated, or no training state") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"{path}: no training state of ewa_rs")
    if state.get("version") != VERSION:
        raise ValueError(f"{path}: version {state.get('version')}, this ewa_rs reads {VERSION}")
    return state
