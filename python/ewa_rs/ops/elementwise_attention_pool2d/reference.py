"""The literal formula of attention pooling: float64, slow and obvious; for tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]
Pair = tuple[int, int]


def windows(shape: tuple[int, ...], kernel: Pair, stride: Pair) -> Iterator[tuple[Any, Any]]:
    """Give the index of each output, and that of its window in x."""
    (height, width), (high, wide), (down, right) = shape[-2:], kernel, stride
    for i in range((height - high) // down + 1):
        for j in range((width - wide) // right + 1):
            rows = slice(i * down, i * down + high)
            columns = slice(j * right, j * right + wide)
            yield (..., i, j), (..., rows, columns)


def softmax(z: Array) -> Array:
    """Softmax over the last two axes."""
    e = np.exp(z - z.max((-2, -1), keepdims=True))
    weights: Array = e / e.sum((-2, -1), keepdims=True)
    return weights


def prepared(
    x: npt.ArrayLike, w: npt.ArrayLike, kernel_size: Pair | None, stride: Pair | None
) -> tuple[Array, Array, Pair, Pair]:
    """Return x and w in float64, or wider, w as it broadcasts with windows; kernel and stride."""
    x, w = np.asarray(x), np.asarray(w)
    dtype = np.result_type(x, w, np.float64)
    kernel = kernel_size or (x.shape[-2], x.shape[-1])
    w = w[:, None, None] if w.ndim == 1 else w
    return x.astype(dtype), w.astype(dtype), kernel, stride or kernel


def reference(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    *,
    kernel_size: Pair | None = None,
    stride: Pair | None = None,
) -> Array:
    """Σ softmax(w·x)·x over each window."""
    x, w, kernel, step = prepared(x, w, kernel_size, stride)
    places = list(windows(x.shape, kernel, step))
    rows, columns = places[-1][0][1:]
    y = np.empty((*x.shape[:-2], rows + 1, columns + 1), x.dtype)
    with np.errstate(all="ignore"):
        for index, window in places:
            y[index] = (softmax(w * x[window]) * x[window]).sum((-2, -1))
    return y


def reference_grad(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    grad: npt.ArrayLike,
    *,
    kernel_size: Pair | None = None,
    stride: Pair | None = None,
) -> dict[str, Array]:
    """Gradients of x and w: Σ g·a·(1 + w·(x − y)) and Σ g·a·x·(x − y), over the windows."""
    shape = np.shape(w)
    x, w, kernel, step = prepared(x, w, kernel_size, stride)
    grad = np.asarray(grad)
    dx, dw = np.zeros_like(x), np.zeros((*x.shape[:-2], *kernel), x.dtype)
    with np.errstate(all="ignore"):
        for index, window in windows(x.shape, kernel, step):
            a, g = softmax(w * x[window]), grad[index][..., None, None]
            y = (a * x[window]).sum((-2, -1), keepdims=True)
            dx[window] += g * a * (1 + w * (x[window] - y))
            dw += g * a * x[window] * (x[window] - y)
    dw = dw.sum(tuple(range(x.ndim - 3)))
    return {"x": dx, "w": dw.sum((-2, -1)) if len(shape) == 1 else dw}


def dot_product_reference(
    x: Tensor, w: Tensor, *, kernel_size: Pair | None = None, stride: Pair | None = None
) -> Tensor:
    """Give the same output by dot-product attention in float64, for autograd to derive.

    In every window one query [1], the keys w·x of width 1 and the values x, scale 1.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention

    kernel = kernel_size or (x.shape[-2], x.shape[-1])
    x, w = x.double(), w.double()
    w = (w[:, None, None] if w.ndim == 1 else w).expand(w.shape[0], *kernel)
    pieces: dict[Any, Tensor] = {}
    for (_, i, j), window in windows(tuple(x.shape), kernel, stride or kernel):
        keys, values = ((t * x[window]).flatten(-2)[..., None] for t in (w, torch.ones_like(w)))
        query = torch.ones((*x.shape[:-2], 1, 1), dtype=torch.float64)
        with sdpa_kernel(SDPBackend.MATH):  # can be derived twice
            y = scaled_dot_product_attention(query, keys, values, scale=1.0)
        pieces[i, j] = y[..., 0, 0]
    rows, columns = (max(at) + 1 for at in zip(*pieces, strict=True))
    stacked = [torch.stack([pieces[i, j] for j in range(columns)], -1) for i in range(rows)]
    return torch.stack(stacked, -2)
