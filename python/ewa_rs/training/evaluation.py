"""Score a network on a split, and what training shares with it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ewa_rs.training.data.batches import Normaliser
from ewa_rs.training.data.sources import Split
from ewa_rs.training.distributed import ALONE, World
from ewa_rs.training.metrics import class_scores, confusion_matrix

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_BATCH = 512


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Return the context that runs a network in ``fp32``, ``bf16`` or ``fp16``."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, _DTYPES[precision])


@torch.inference_mode()
def predict_logits(
    model: nn.Module, images: Tensor, normalise: Normaliser, precision: str
) -> Tensor:
    """Return the outputs in float32 for uint8 images, in batches, in evaluation mode."""
    training = model.training
    model.eval()
    with autocast(images.device, precision):
        batches = [model(normalise(part)).float() for part in images.split(_BATCH)]
    model.train(training)
    return torch.cat(batches)


def evaluate(
    model: nn.Module,
    split: Split,
    normalise: Normaliser,
    class_names: tuple[str, ...],
    precision: str = "fp32",
    world: World = ALONE,
) -> dict[str, Any]:
    """Return loss, accuracy, accuracy of each class and confusion matrix of a split.

    Each process scores its part, and all of them get the scores of the whole.
    """
    labels = world.share(split.labels)
    logits = predict_logits(model, world.share(split.images), normalise, precision)
    confusion = confusion_matrix(logits.argmax(1), labels, len(class_names))
    loss = F.cross_entropy(logits.double(), labels, reduction="sum")
    mean = world.sum(loss).item() / len(split)
    return {"loss": mean, **class_scores(world.sum(confusion), class_names)}
