"""Attention pooling of images: softmax(w·x)·x, summed over windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ewa_rs._core import elementwise_attention_pool2d as on_arrays
from ewa_rs.ops._arguments import are_tensors, check_array_backend
from ewa_rs.ops.elementwise_attention_pool2d.window import checked_pair

if TYPE_CHECKING:
    from collections.abc import Sequence


def elementwise_attention_pool2d(
    x: Any,
    w: Any,
    *,
    kernel_size: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    backend: str | None = None,
) -> Any:
    """Attention over the windows of images, one learned query a channel.

    ::

        y = Σ a ∘ x      a = softmax(w ∘ x)      over each window, channel by channel

    It stands where max-pooling or average pooling would: w = 0 is the average, w → ±∞ the maximum
    or minimum, w = 1 SoftPool (arXiv 2101.00440). Windows are placed as by `torch.nn.MaxPool2d`
    without padding: what is left over at the right and at the bottom takes no part. The backward
    computes the weights anew; saved are x and w.

    Parameters
    ----------
    x : array_like or torch.Tensor
        Images (…, C, H, W) of float16, bfloat16, float32 or float64.
    w : array_like or torch.Tensor
        One number a channel, (C,), or one a channel and place in the window, (C, kh, kw).
    kernel_size : int or pair of int, optional
        Height and width of a window; the whole image by default.
    stride : int or pair of int, optional
        How far windows are apart; the kernel size by default. A smaller one lets them overlap.
    backend : {None, 'rust', 'torch'}, optional
        What computes tensors: by default the Rust kernels on the CPU, PyTorch operations elsewhere.

    Returns
    -------
    y : numpy.ndarray or torch.Tensor
        (…, C, (H − kh) // stride + 1, (W − kw) // stride + 1), in the common type of x and w;
        channels-last if x is. Differentiable in x and w if they are tensors.

    Raises
    ------
    TypeError
        If an argument has a type that is not listed, or arrays and tensors are mixed.
    ValueError
        If shapes do not fit, or a window is larger than the images.

    Notes
    -----
    The pooled form of element-wise attention (our reading of the abstract of arXiv 2302.05488), by
    dot-product attention: one query [w] of width 1, keys and values the elements of the window,
    scale 1. NaN and infinities stay in their windows, which they make NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from ewa_rs import elementwise_attention_pool2d
    >>> x = np.array([[[0.0, 1.0, 2.0, 2.0], [3.0, 4.0, 2.0, 2.0]]])
    >>> elementwise_attention_pool2d(x, np.array([0.0]), kernel_size=2)
    array([[[2., 2.]]])
    >>> elementwise_attention_pool2d(x, np.array([1.0]), kernel_size=2).round(3)
    array([[[3.589, 2.   ]]])
    """
    kernel, step = checked_pair("kernel_size", kernel_size), checked_pair("stride", stride)
    if are_tensors(x=x, w=w):
        from ewa_rs.ops.elementwise_attention_pool2d import torch

        return torch.elementwise_attention_pool2d(x, w, kernel, step, backend)
    check_array_backend(backend)
    return on_arrays((x, w), kernel, step)
