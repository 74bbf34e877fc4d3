"""Small convolutional networks that pool by element-wise attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ewa_rs.models.pooling import SqueezeExcitation, make_pooling
from ewa_rs.models.registry import register_model
from ewa_rs.nn import ElementwiseAttentionPool2d

#: Width of the stem, and of every block of a stage; the image is halved between the stages.
Widths = tuple[int, tuple[tuple[int, ...], ...]]
SIZES: dict[str, Widths] = {
    "s": (16, ((24,), (32, 48), (64, 60))),
    "m": (32, ((48,), (96, 128, 128), (192, 192))),
    "l": (32, ((64,), (128, 192), (256, 256, 256))),
}


class Block(nn.Module):
    """Depthwise 3×3 and 1×1 convolution, each with batch norm and ReLU; a shortcut if it fits."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm_depthwise = nn.BatchNorm2d(channels)
        self.mix = nn.Conv2d(channels, out, 1, bias=False)
        self.norm_mix = nn.BatchNorm2d(out)
        self.shortcut = channels == out

    def forward(self, x: Tensor) -> Tensor:
        """Return as many channels as the block was built for."""
        y = F.relu(self.norm_depthwise(self.depthwise(x)))
        y = self.norm_mix(self.mix(y))
        return F.relu(y + x if self.shortcut else y)


class Context(nn.Module):
    """x + g∘σ(q∘x)∘pool(x): what attention finds in the whole image, added to every position.

    `pool` is attention pooling over the image, q and g are numbers a channel; g starts at zero, so
    that a network starts as it is without. It is the attention-free transformer's simplest layer
    (arXiv 2105.14103) with a diagonal in place of each matrix.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = ElementwiseAttentionPool2d(channels)
        self.query = nn.Parameter(torch.ones(channels))
        self.gain = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return images of the same shape."""
        query = self.query[:, None, None].to(x.dtype)
        pooled: Tensor = self.gain[:, None, None] * self.pool(x)
        return x + (x * query).sigmoid() * pooled.to(x.dtype)


class Excitation(SqueezeExcitation):
    """σ(s∘pool(x) + b)∘x: a channel is weighed by what attention finds in the whole image.

    Squeeze-and-excitation that squeezes by attention pooling in place of the mean.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.pool = ElementwiseAttentionPool2d(channels)

    def squeeze(self, x: Tensor) -> Tensor:
        """Return what attention pools from the whole image."""
        pooled: Tensor = self.pool(x)
        return pooled


def _build(
    size: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    pool: str,
    context: bool,
    excitation: bool,
) -> nn.Sequential:
    channels, height, width = input_shape
    stem, stages = SIZES[size]
    if min(height, width) < 4:
        raise ValueError(
            f"input_shape: ewa_net_{size} halves images twice; {height}×{width} is too small"
        )
    layers: list[nn.Module] = [
        nn.Conv2d(channels, stem, 3, padding=1, bias=False),
        nn.BatchNorm2d(stem),
        nn.ReLU(),
    ]
    channels = stem
    for i, widths in enumerate(stages):
        for out in widths:
            layers.append(Block(channels, out))
            channels = out
        if context:
            layers.append(Context(channels))
        if excitation:
            layers.append(Excitation(channels))
        layers.append(make_pooling(pool, channels, 2 if i < len(stages) - 1 else None))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, num_classes))


@register_model
def ewa_net_s(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    pool: str = "attention",
    context: bool = False,
    excitation: bool = False,
) -> nn.Sequential:
    """Build the small network: 12,998 parameters for 1×28×28 and ten classes.

    A 3×3 stem; blocks of a depthwise 3×3 and a 1×1 convolution with batch norm and ReLU, in three
    stages; `ewa_rs.nn.ElementwiseAttentionPool2d` over 2×2 windows between the stages and over the
    whole image after the last; a linear classifier. Of the parameters 132 are the attention's, one
    a pooled channel. It takes images of any size from 4×4 on.

    Parameters
    ----------
    input_shape
        ``(channels, height, width)``, at least 4 pixels high and wide.
    num_classes
        Number of classes.
    pool
        ``'attention'``, or what shows the worth of it: see `ewa_rs.models.pooling.make_pooling`.
    context
        Add what attention pools from the whole image to every position, at the end of each stage:
        three more parameters a pooled channel.
    excitation
        Weigh every channel by what attention pools from the whole image, at the end of each stage:
        three more parameters a pooled channel.
    """
    return _build("s", input_shape, num_classes, pool=pool, context=context, excitation=excitation)


@register_model
def ewa_net_m(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    pool: str = "attention",
    context: bool = False,
    excitation: bool = False,
) -> nn.Sequential:
    """Build the middle network: 107,338 parameters for 1×28×28 and ten classes.

    As `ewa_net_s`, wider and with more blocks; blocks of one width have a shortcut.
    """
    return _build("m", input_shape, num_classes, pool=pool, context=context, excitation=excitation)


@register_model
def ewa_net_l(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    pool: str = "attention",
    context: bool = False,
    excitation: bool = False,
) -> nn.Sequential:
    """Build the large network: 231,562 parameters for 3×32×32 and ten classes.

    As `ewa_net_m`, wider.
    """
    return _build("l", input_shape, num_classes, pool=pool, context=context, excitation=excitation)
