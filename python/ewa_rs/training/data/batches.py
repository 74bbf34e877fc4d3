"""From uint8 images to the network's input, whole batches at a time on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


class Normaliser:
    """Brings uint8 pixels to zero mean and unit variance for each channel."""

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device | str = "cpu",
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self._shift = 255 * torch.tensor(mean, device=device).view(-1, 1, 1)
        self._factor = 1 / (255 * torch.tensor(std, device=device).view(-1, 1, 1))
        self._memory_format = memory_format

    def __call__(self, images: Tensor) -> Tensor:
        """Return ``(images / 255 - mean) / std`` in float32."""
        x = images.to(torch.float32, memory_format=self._memory_format)
        return x.sub_(self._shift).mul_(self._factor)


def augment(x: Tensor) -> Tensor:
    """Mirror each image or not, and shift it by up to an eighth, what moves in being reflected."""
    n, _, height, width = x.shape
    mirrored = torch.rand(n, device=x.device) < 0.5
    x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(3), x)
    dy, dx = height // 8, width // 8
    padded = F.pad(x, (dx, dx, dy, dy), mode="reflect")
    rows = _offsets(n, height, dy, x.device)[:, :, None]
    columns = _offsets(n, width, dx, x.device)[:, None, :]
    image = torch.arange(n, device=x.device)[:, None, None]
    # Indices on both sides of a slice put their axes first: (n, height, width, channels).
    return padded[image, :, rows, columns].permute(0, 3, 1, 2)


def _offsets(n: int, length: int, shift: int, device: torch.device) -> Tensor:
    start = torch.randint(2 * shift + 1, (n, 1), device=device)
    return start + torch.arange(length, device=device)
