"""What a layer says of itself, so that what uses layers need not know each of them.

Any `torch.nn.Module` with such a method takes part; it inherits from nothing here.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class AttentionLayer(Protocol):
    """A layer whose attention can be looked at."""

    def attention_weights(self, x: Tensor) -> Tensor:
        """Return the softmax weight that `forward` gives each element of `x`, of its shape."""


@runtime_checkable
class ExportableLayer(Protocol):
    """A layer that has to be made ready before it goes into a file for other runtimes."""

    def prepare_for_export(self) -> None:
        """Compute by PyTorch's own operations from here on, which every runtime has."""
