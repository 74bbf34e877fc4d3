"""Poolings by name: element-wise attention, and what it is measured against."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ewa_rs.nn import ElementwiseAttentionPool2d


class SigmoidGate(nn.Module):
    """σ(w∘x)∘x with a number a channel: an element is weighed by itself, not against others."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return images of the same shape."""
        return x * (x * self.weight[:, None, None].to(x.dtype)).sigmoid()


class SqueezeExcitation(nn.Module):
    """σ(s∘mean(x)+b)∘x: a channel is weighed by its mean over the image.

    Squeeze-and-excitation (arXiv 1709.01507) with the two matrices restricted to their diagonal,
    so that it costs as little as what it is compared with.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return images of the same shape."""
        weights = self.squeeze(x) * self.weight[:, None, None] + self.bias[:, None, None]
        return x * weights.sigmoid().to(x.dtype)

    def squeeze(self, x: Tensor) -> Tensor:
        """Return a number an image and channel."""
        return x.mean((-2, -1), keepdim=True)


def _softpool(channels: int, kernel_size: int | None) -> nn.Module:
    """Return attention that stays as it starts, SoftPool (arXiv 2101.00440): every w is 1."""
    return ElementwiseAttentionPool2d(channels, kernel_size).requires_grad_(requires_grad=False)


def _average(kernel_size: int | None) -> nn.Module:
    return nn.AdaptiveAvgPool2d(1) if kernel_size is None else nn.AvgPool2d(kernel_size)


def _max(kernel_size: int | None) -> nn.Module:
    return nn.AdaptiveMaxPool2d(1) if kernel_size is None else nn.MaxPool2d(kernel_size)


def _plain(kernel_size: int | None) -> nn.Module:
    """Return what networks without attention usually do."""
    return _average(None) if kernel_size is None else _max(kernel_size)


POOLINGS: dict[str, Callable[[int, int | None], nn.Module]] = {
    "attention": ElementwiseAttentionPool2d,
    "softpool": _softpool,
    "plain": lambda channels, kernel_size: _plain(kernel_size),
    "average": lambda channels, kernel_size: _average(kernel_size),
    "max": lambda channels, kernel_size: _max(kernel_size),
    "gate": lambda channels, kernel_size: nn.Sequential(SigmoidGate(channels), _plain(kernel_size)),
    "se": lambda channels, kernel_size: nn.Sequential(
        SqueezeExcitation(channels), _plain(kernel_size)
    ),
}


def make_pooling(name: str, channels: int, kernel_size: int | None = None) -> nn.Module:
    """Return a pooling layer, over the whole image without a `kernel_size`.

    Parameters
    ----------
    name
        ``'attention'`` is `ewa_rs.nn.ElementwiseAttentionPool2d`; ``'softpool'`` the same without
        training its parameters; ``'plain'`` the maximum over windows and the average over the
        whole image; ``'average'`` and ``'max'`` do the same in both places; ``'gate'`` is a
        sigmoid gate before plain pooling, ``'se'`` squeeze-and-excitation there.
    channels
        Channels of the images.
    kernel_size
        Height and width of a window, and how far windows are apart.
    """
    if name not in POOLINGS:
        raise ValueError(f"pool: expected one of {', '.join(map(repr, POOLINGS))}, got {name!r}")
    return POOLINGS[name](channels, kernel_size)
