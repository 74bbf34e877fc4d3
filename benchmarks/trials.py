"""Networks that were tried beside `ewa_net` and not kept, on the held-out training images.

    python benchmarks/trials.py sweep results/ewa_net/trials/fashion-mnist.toml

is ``ewa`` with one network more, ``trial``: `ewa_net` with blocks that are passed several
times, with dense 3×3 convolutions, dropout, coordinates, further attention, or other pooling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ewa_rs import elementwise_attention
from ewa_rs.cli import app
from ewa_rs.models.ewa_net import Excitation
from ewa_rs.models.registry import register_model
from ewa_rs.nn import ElementwiseAttentionPool2d


class Block(nn.Module):
    """Convolutions passed `repeat` times, each time with batch norms of their own."""

    def __init__(self, channels: int, out: int, *, dense: bool, repeat: int) -> None:
        super().__init__()
        self.spatial: nn.Module = nn.Identity()
        if not dense:
            self.spatial = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        size = 3 if dense else 1
        self.mix = nn.Conv2d(channels, out, size, padding=size // 2, bias=False)
        self.firsts = nn.ModuleList(
            nn.Identity() if dense else nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
            for _ in range(repeat)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(out) for _ in range(repeat))
        self.shortcut = channels == out

    def forward(self, x: Tensor) -> Tensor:
        """Return as many channels as the block was built for."""
        for first, norm in zip(self.firsts, self.norms, strict=True):
            y = norm(self.mix(first(self.spatial(x))))
            x = torch.relu(y + x if self.shortcut else y)
        return x


class Maps(nn.Module):
    """Attention pooling of the whole image, with several maps that each have a learned place.

    softmax(w∘x + p)∘x summed over positions: w is a number a map and channel, p one a map and
    position.
    """

    def __init__(self, channels: int, maps: int, positions: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(maps, 1, channels, 1))
        self.places = nn.Parameter(torch.randn(maps, 1, 1, positions) * 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, maps · channels)``."""
        x = x.flatten(2)
        pairs = zip(self.weights, self.places, strict=True)
        return torch.cat([((x * w + p).softmax(-1) * x).sum(-1) for w, p in pairs], 1)


class Competition(nn.Module):
    """x + g∘softmax(w∘x)∘x over each position's channels, times their number; g begins at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.gain = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return images of the same shape."""
        y: Tensor = elementwise_attention(self.weight[:, None, None], x, x, axis=-3, scale=1.0)
        return x + (x.shape[-3] * self.gain)[:, None, None].to(x.dtype) * y


class Attention(nn.Module):
    """x + g∘softmax(q∘k)∘v over the positions, times their number; g begins at 0.

    q, k and v are depthwise 3×3 convolutions of x.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels) for _ in range(3)
        )
        self.gain = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return images of the same shape."""
        q, k, v = (convolution(x) for convolution in self.qkv)
        y: Tensor = elementwise_attention(q, k, v, axis=(-2, -1), scale=1.0)
        gain = x.shape[-2] * x.shape[-1] * self.gain
        return x + gain[:, None, None].to(x.dtype) * y


class PlacePool(ElementwiseAttentionPool2d):
    """Attention pooling with a number a channel and place of the window."""

    def __init__(self, channels: int, kernel_size: int | None) -> None:
        super().__init__(channels, kernel_size, per_place=kernel_size is not None)


class Bottleneck(nn.Module):
    """`Excitation` with two matrices in place of a diagonal, an eighth as wide between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = ElementwiseAttentionPool2d(channels)
        self.squeeze = nn.Conv2d(channels, channels // 8, 1)
        self.weight = nn.Parameter(torch.zeros(channels, channels // 8, 1, 1))
        self.bias = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return images of the same shape."""
        squeezed = self.squeeze(self.pool(x)).relu()
        weights = nn.functional.conv2d(squeezed, self.weight, self.bias).sigmoid()
        return x * weights.to(x.dtype)


ADDITIONS = {
    "competition": Competition,
    "attention": Attention,
    "excitation": Excitation,
    "bottleneck": Bottleneck,
}


class Coordinates(nn.Module):
    """Two more channels: the row and the column of each pixel, from −1 to 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Return images of two channels more."""
        n, _, height, width = x.shape
        rows = torch.linspace(-1, 1, height)[:, None].expand(n, 1, height, width)
        columns = torch.linspace(-1, 1, width).expand(n, 1, height, width)
        return torch.cat([x, rows, columns], 1).contiguous(memory_format=torch.channels_last)


@register_model
def trial(
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    stem: int = 16,
    widths: str = "24|32 48|64 60",
    dense: bool = False,
    repeat: int = 1,
    coords: bool = False,
    maps: int = 0,
    drop: float = 0.0,
    per_place: bool = False,
    add: str | None = None,
) -> nn.Sequential:
    """Build `ewa_net` otherwise.

    Parameters
    ----------
    input_shape, num_classes
        As of every network.
    stem, widths
        Channels of the first convolution, and of every block; ``|`` ends a stage.
    dense
        3×3 convolutions in place of depthwise 3×3 and 1×1 ones.
    repeat
        How often a block that keeps its width is passed.
    coords
        Begin with `Coordinates`.
    maps
        End with so many `Maps`, if not 0.
    drop
        Dropout before the classifier, and half as much, of whole channels, between the stages.
    per_place
        Pool with `PlacePool`.
    add
        A name of `ADDITIONS`, which stands at the end of each stage.
    """
    channels, height, width = input_shape
    channels += 2 * coords
    layers: list[nn.Module] = [Coordinates()] if coords else []
    layers += [nn.Conv2d(channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()]
    channels = stem
    *stages, last = ([int(out) for out in stage.split()] for stage in widths.split("|"))
    for stage in (*stages, last):
        for out in stage:
            times = repeat if out == channels else 1
            layers.append(Block(channels, out, dense=dense, repeat=times))
            channels = out
        if add:
            layers.append(ADDITIONS[add](channels))
        pool = PlacePool if per_place else ElementwiseAttentionPool2d
        layers.append(pool(channels, None if stage is last else 2))
        if drop and stage is not last:
            layers.append(nn.Dropout2d(drop / 2))
    if maps:
        layers[-1] = Maps(channels, maps, (height // 4) * (width // 4))
        channels *= maps
    layers.append(nn.Flatten())
    if drop:
        layers.append(nn.Dropout(drop))
    return nn.Sequential(*layers, nn.Linear(channels, num_classes))


if __name__ == "__main__":  # a process a run imports this file too, for the network
    app()
