"""Weights that say what they are, and the state that an unfinished run goes on from."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ewa_rs.inference.info import FORMAT, VERSION, CheckpointInfo, damaged
from ewa_rs.models import create_model
from ewa_rs.models.registry import with_backend
from ewa_rs.ops._backends import check_backend
from ewa_rs.training.files import atomic_path

__all__ = [
    "FORMAT",
    "CheckpointInfo",
    "load_checkpoint",
    "load_state",
    "save_checkpoint",
    "save_state",
]


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


def load_checkpoint(
    path: str | Path, device: torch.device | str = "cpu", backend: str | None = None
) -> tuple[nn.Module, CheckpointInfo]:
    """Build the network of a checkpoint, in evaluation mode.

    Parameters
    ----------
    path
        A file that `save_checkpoint` wrote.
    device
        Where the network goes.
    backend
        Of the element-wise layers; networks without these ignore it, as in training.

    Raises
    ------
    ValueError
        If the file is truncated, no checkpoint, or one of a later version; the message names it.
        For an unknown backend.
    """
    check_backend(backend)
    path = Path(path)
    metadata, tensors = _read(path)
    info = CheckpointInfo.from_metadata(metadata, path, "safetensors")
    try:
        model = create_model(
            info.model,
            input_shape=info.input_shape,
            num_classes=info.num_classes,
            **with_backend(info.model, info.model_options, backend),
        )
        model.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise damaged(path, error) from error
    return model.to(device).eval(), info


def _read(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such checkpoint") from None
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: no safetensors, or a truncated file ({error})") from error


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
