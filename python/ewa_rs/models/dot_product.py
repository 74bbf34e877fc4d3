"""The same network as `ewa` with dot-product attention between the rows of the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ewa_rs.models.parts import Normalise, check_layers, classifier
from ewa_rs.models.registry import register_model


class RowAttention(nn.Module):
    """Single-head dot-product self-attention; a token is a row of the image, all its channels."""

    def __init__(
        self, width: int, *, bias: bool = False, residual: bool = True, gain: float | None = None
    ) -> None:
        super().__init__()
        self.residual = residual
        self.gain = gain
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=bias)
        self.value = nn.Linear(width, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Attend between the tokens of ``(batch, tokens, width)``."""
        y: Tensor = F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))
        y = y if self.gain is None else y * self.gain
        return x + y if self.residual else y


class Rows(nn.Module):
    """Turn ``(batch, channels, height, width)`` into a token a row: ``(batch, height, c·w)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows."""
        return torch.flatten(x.transpose(1, 2), 2)


@register_model
def dot_product(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    layers: int = 2,
    residual: bool = True,
    gain: float | None = None,
    bias: bool = False,
    normalise: bool = True,
    hidden: int | str | None = "auto",
) -> nn.Sequential:
    """Build `ewa` with dot-product attention in the place of element-wise attention.

    Rows of the image are the tokens and the three matrices are as wide as a row, so a layer has
    3·28² = 2,352 parameters at 1×28×28, just as many as a layer of `ewa`.

    The parameters are those of `ewa`, but `residual` and `gain` have other defaults: these outputs
    are averages of values, of order 1 by themselves.
    """
    channels, _, width = input_shape
    modules: list[nn.Module] = [Rows()]
    for _ in range(check_layers(layers)):
        modules += [Normalise()] if normalise else []
        modules.append(RowAttention(channels * width, bias=bias, residual=residual, gain=gain))
    return nn.Sequential(*modules, *classifier(input_shape, num_classes, hidden))
