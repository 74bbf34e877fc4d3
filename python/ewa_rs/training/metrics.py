"""What a network scores on a split."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ewa_rs.training.distributed import World


class Totals:
    """Sums of loss and hits, kept on the device so that a step never waits for it."""

    def __init__(self, device: torch.device) -> None:
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._hits = torch.zeros((), dtype=torch.int64, device=device)
        self._count = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: its mean loss, its outputs and its labels."""
        self._loss.add_(loss.detach(), alpha=len(labels))
        self._hits += (logits.argmax(1) == labels).count_nonzero()
        self._count += len(labels)

    def means(self, world: World) -> tuple[float, float]:
        """Return mean loss and accuracy over the equal parts of all processes."""
        loss, hits = world.sum(torch.stack((self._loss, self._hits.double()))).tolist()
        count = self._count * world.size
        return loss / count, hits / count


def best_epoch(history: list[dict[str, Any]]) -> int:
    """Return the first epoch with the best validation accuracy, or the last without any."""
    if history[-1]["val_accuracy"] is None:
        return len(history)
    return int(max(history, key=lambda line: line["val_accuracy"])["epoch"])


def confusion_matrix(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Count the images of each label (row) by predicted label (column)."""
    counts = torch.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.view(classes, classes)


def class_scores(confusion: Tensor, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Return accuracy, accuracy of each class (None without images) and the matrix, for JSON."""
    counts = confusion.tolist()
    sizes = [sum(row) for row in counts]
    return {
        "accuracy": sum(row[i] for i, row in enumerate(counts)) / sum(sizes),
        "class_accuracy": {
            name: counts[i][i] / sizes[i] if sizes[i] else None
            for i, name in enumerate(class_names)
        },
        "confusion_matrix": counts,
    }
