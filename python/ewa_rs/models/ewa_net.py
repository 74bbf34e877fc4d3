"""Small convolutional networks that pool by element-wise attention."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from ewa_rs.models.pooling import POOLINGS, make_pooling
from ewa_rs.models.registry import register_model

#: Width of the stem, and of every block of a stage; a pooling by two stands between the stages.
Widths = tuple[int, tuple[tuple[int, ...], ...]]
SIZES: dict[str, Widths] = {
    "s": (16, ((24,), (32, 48), (64, 60))),
    "m": (32, ((64,), (96, 128), (192, 192))),
    "l": (48, ((96, 96), (160, 160, 192), (256, 320))),
}


class Block(nn.Module):
    """Depthwise 3×3 and 1×1 convolution, each with batch norm, around a shortcut.

    The shortcut has no parameters: channels that the input has not are left as they are.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm_depthwise = nn.BatchNorm2d(channels)
        self.mix = nn.Conv2d(channels, out, 1, bias=False)
        self.norm_mix = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        """Return as many channels as the block was built for."""
        y = F.relu(self.norm_depthwise(self.depthwise(x)))
        y = self.norm_mix(self.mix(y))
        common = min(x.shape[1], y.shape[1])
        if common == y.shape[1]:
            y = y + x[:, :common]
        else:
            y = y + F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - common))
        return F.relu(y)
