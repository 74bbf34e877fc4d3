"""The attention pooling layer."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ewa_rs.ops._backends import check_backend
from ewa_rs.ops.elementwise_attention_pool2d.torch import elementwise_attention_pool2d
from ewa_rs.ops.elementwise_attention_pool2d.window import checked_pair


class ElementwiseAttentionPool2d(nn.Module):
    r"""Attention over the windows of images with one learned query a channel.

    ::

        y = Σ softmax(w ∘ x) ∘ x      over each window, channel by channel

    A drop-in for `torch.nn.MaxPool2d` and `torch.nn.AvgPool2d`: w = 0 is the average, w → ∞ the
    maximum, and training finds for each channel what lies between. One parameter a channel, or one
    a channel and place in the window.

    Parameters
    ----------
    channels : int
        Channels of the input.
    kernel_size : int or pair of int, optional
        Height and width of a window; the whole image by default, which pools globally.
    stride : int or pair of int, optional
        How far windows are apart; the kernel size by default.
    per_place : bool, default False
        Whether each place in the window has a parameter of its own; it needs a `kernel_size`.
    backend : {None, 'rust', 'torch'}, optional
        As for `ewa_rs.elementwise_attention_pool2d`.
    device, dtype : optional
        Of the parameter.

    Attributes
    ----------
    weight : torch.nn.Parameter or None
        (C,), unless `per_place`.
    place_weight : torch.nn.Parameter or None
        (C, kh, kw) with `per_place`. It is not called ``weight``: by that name and its shape it
        would be taken for a kernel, to which weight decay applies. Decay draws this layer to the
        average, and has no reason to.

    Raises
    ------
    TypeError, ValueError
        If a size is not valid; when called, as `ewa_rs.elementwise_attention_pool2d`.

    Notes
    -----
    Parameters start at 1, which is SoftPool (arXiv 2101.00440): large elements count for more, and
    every element has a gradient.

    Examples
    --------
    >>> import torch
    >>> from ewa_rs.nn import ElementwiseAttentionPool2d
    >>> pool = ElementwiseAttentionPool2d(16, 2)
    >>> pool(torch.rand(8, 16, 28, 28)).shape
    torch.Size([8, 16, 14, 14])
    >>> pool
    ElementwiseAttentionPool2d(16, kernel_size=(2, 2), stride=(2, 2))
    """

    weight: Tensor | None
    place_weight: Tensor | None

    def __init__(
        self,
        channels: int,
        kernel_size: int | Sequence[int] | None = None,
        stride: int | Sequence[int] | None = None,
        *,
        per_place: bool = False,
        backend: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = _checked_channels(channels)
        self.kernel_size = checked_pair("kernel_size", kernel_size)
        self.stride = checked_pair("stride", stride) or self.kernel_size
        if per_place and self.kernel_size is None:
            raise ValueError("kernel_size: expected sizes, which per_place needs, got None")
        check_backend(backend)
        self.backend = backend
        shape = (self.channels, *(self.kernel_size or ())) if per_place else (self.channels,)
        parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.register_parameter("weight", None if per_place else parameter)
        self.register_parameter("place_weight", parameter if per_place else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set all parameters to 1."""
        for parameter in self.parameters():
            nn.init.ones_(parameter)

    @property
    def _w(self) -> Tensor:
        w = self.place_weight if self.weight is None else self.weight
        assert w is not None
        return w

    def forward(self, x: Tensor) -> Tensor:
        """Pool images (…, C, H, W)."""
        return elementwise_attention_pool2d(x, self._w, self.kernel_size, self.stride, self.backend)

    def attention_weights(self, x: Tensor) -> Tensor:
        """Return the softmax weight of each element of images (B, C, H, W), of the same shape.

        What is in several windows has the sum of its weights, what is in none has 0.
        """
        w, (b, c, height, width) = self._w, x.shape
        if self.kernel_size is None or self.stride is None:
            return (w[:, None, None] * x).flatten(2).softmax(2).reshape(x.shape)
        images = x.reshape(b * c, 1, height, width)
        windows = F.unfold(images, self.kernel_size, stride=self.stride)  # (b·c, places, windows)
        scores = w.reshape(c, -1, 1) * windows.unflatten(0, (b, c))
        weights = scores.softmax(2).flatten(0, 1)
        return F.fold(weights, (height, width), self.kernel_size, stride=self.stride).reshape(
            x.shape
        )

    def prepare_for_export(self) -> None:
        """Compute by PyTorch's own operations: other runtimes have no kernels of this package."""
        self.backend = "torch"

    def extra_repr(self) -> str:
        """Return the sizes, and the settings that differ from the defaults."""
        shown = [f"{self.channels}", f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        shown += ["per_place=True"] if self.weight is None else []
        shown += [f"backend={self.backend!r}"] if self.backend is not None else []
        return ", ".join(shown)


def _checked_channels(channels: int) -> int:
    try:
        count = 0 if isinstance(channels, bool) else operator.index(channels)
    except TypeError:
        count = 0
    if count < 1:
        raise ValueError(f"channels: expected a positive int, got {channels!r}")
    return count
