"""Checkpoints of any network, run by PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ewa_rs.inference.classifier import Classifier
from ewa_rs.models import create_model
from ewa_rs.models.registry import with_backend
from ewa_rs.ops._backends import check_backend
from ewa_rs.utils.checkpoint_info import CheckpointInfo, damaged, read_safetensors
from ewa_rs.utils.device import resolve_device


def load_classifier(
    checkpoint: str | Path, *, device: str = "auto", backend: str | None = None
) -> Classifier:
    """Load a checkpoint of any network as `ewa_rs.inference.load` does, but run it by PyTorch."""
    where = resolve_device(device)
    model, info = load_checkpoint(checkpoint, where, backend)

    @torch.inference_mode()
    def run(x: NDArray[np.float32]) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = model(torch.from_numpy(x).to(where)).cpu().numpy()
        return logits

    return Classifier(info, "torch", run)


def load_checkpoint(
    path: str | Path, device: torch.device | str = "cpu", backend: str | None = None
) -> tuple[nn.Module, CheckpointInfo]:
    """Build the network of a checkpoint, in evaluation mode.

    Parameters
    ----------
    path
        A safetensors file of a run.
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
    metadata, tensors = read_safetensors(path, "pt")
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
