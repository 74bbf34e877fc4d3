"""How well a checkpoint does on a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ewa_rs.inference.torch import load_checkpoint, load_classifier
from ewa_rs.training.data import load_data
from ewa_rs.training.data.batches import Normaliser
from ewa_rs.training.device import resolve_precision
from ewa_rs.training.evaluation import evaluate
from ewa_rs.utils.device import resolve_device

__all__ = ["evaluate_checkpoint", "load_classifier"]


def evaluate_checkpoint(
    checkpoint: str | Path,
    *,
    data: str | None = None,
    data_dir: str | None = None,
    split: str = "test",
    device: str = "auto",
    precision: str = "auto",
    backend: str | None = None,
) -> dict[str, Any]:
    """Score a checkpoint on a split of its data set, or of another with the same classes.

    Parameters
    ----------
    checkpoint
        A safetensors file of a run.
    data
        None: the data set that it was trained on.
    data_dir
        See `ewa_rs.training.data.data_directory`.
    split
        ``train``, ``val`` or ``test``.
    device, precision, backend
        As in `ewa_rs.training.config.TrainConfig`.

    Returns
    -------
    dict
        Loss, accuracy, accuracy of each class, confusion matrix, and what was scored on what.
    """
    if split not in ("train", "val", "test"):
        raise ValueError(f"split: expected train, val or test, got {split!r}")
    where = resolve_device(device)
    model, info = load_checkpoint(checkpoint, where, backend)
    channels, height, width = info.input_shape
    loaded = load_data(
        data or info.data,
        data_dir,
        image_size=info.image_size or (height if data and height == width else None),
        channels=info.channels or (channels if data else None),
        val_fraction=info.val_fraction,
        seed=info.seed,
    )
    if loaded.input_shape != info.input_shape or loaded.class_names != info.class_names:
        trained, given = _shape_and_classes(info), _shape_and_classes(loaded)
        raise ValueError(f"{checkpoint}: trained on {trained}, but {loaded.name} has {given}")
    chosen = getattr(loaded, split).to(where)
    if not len(chosen):
        raise ValueError(f"split: {loaded.name} has no images in {split}")
    precision = resolve_precision(precision, where, model)
    normalise = Normaliser(info.mean, info.std, where)
    scores = evaluate(model, chosen, normalise, info.class_names, precision)
    about = {"model": info.model, "data": loaded.name, "split": split, "images": len(chosen)}
    return about | scores


def _shape_and_classes(thing: Any) -> str:
    shape = "×".join(map(str, thing.input_shape))
    return (
        f"{shape} images of {len(thing.class_names)} classes ({', '.join(thing.class_names[:3])}…)"
    )
