"""Attention pooling beside max-pooling, and beside the same in PyTorch's and NumPy's operations.

Windows of 2×2, forward and backward (NumPy, which has no gradients: forward), on feature maps as
small networks have them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ewa_rs.bench.cases import Array
from ewa_rs.bench.measure import Call
from ewa_rs.ops.elementwise_attention_pool2d import elementwise_attention_pool2d

SHAPES = ((256, 16, 28, 28), (256, 32, 14, 14))
#: What the time is compared with, and the least or most that the ratio is to be.
LIMITS = {"max_pool2d": "≤ 1.5", "PyTorch eager": "≥ 5", "torch.compile": "≥ 1", "NumPy": "≥ 5"}


def eager(x: Tensor, w: Tensor) -> Tensor:
    """Pooling as one would write it down."""
    n, c, height, width = x.shape
    windows = x.reshape(n, c, height // 2, 2, width // 2, 2).transpose(3, 4).flatten(-2)
    return (torch.softmax(w[:, None, None, None] * windows, -1) * windows).sum(-1)


def in_numpy(x: Array, w: Array) -> Array:
    """Pooling as one would write it down, without copying windows together."""
    corners = [x[..., i::2, j::2] for i in range(2) for j in range(2)]
    scores = [w[:, None, None] * corner for corner in corners]
    highest = np.maximum(np.maximum(scores[0], scores[1]), np.maximum(scores[2], scores[3]))
    weights = [np.exp(z - highest) for z in scores]
    total: Array = sum(a * corner for a, corner in zip(weights, corners, strict=True))
    return np.asarray(total / sum(weights))


def step(function: Callable[..., Tensor], *leaves: Tensor) -> Call:
    """Return a call of the forward and the backward."""
    y = function(*leaves)
    grad = torch.randn_like(y)

    def call() -> Any:
        return torch.autograd.grad(function(*leaves), leaves, grad)

    return call


def contestants(shape: tuple[int, ...], *, channels_last: bool) -> dict[str, Call]:
    """Return what to time, all of which has been found to compute the same."""
    order = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(shape).contiguous(memory_format=order).requires_grad_()
    w = torch.ones(shape[1], requires_grad=True)

    def ours(x: Any, w: Any) -> Any:
        return elementwise_attention_pool2d(x, w, kernel_size=2)

    compiled = torch.compile(eager, dynamic=False)
    arrays = (x.detach().numpy(), w.detach().numpy())
    expected = ours(x, w).detach()
    for y in (eager(x, w), compiled(x, w), torch.from_numpy(in_numpy(*arrays))):
        torch.testing.assert_close(y.detach(), expected, rtol=1e-4, atol=1e-5)
    return {
        "ewa": step(ours, x, w),
        "ewa, NumPy": lambda: ours(*arrays),
        "max_pool2d": step(lambda x: F.max_pool2d(x, 2), x),
        "PyTorch eager": step(eager, x, w),
        "torch.compile": step(compiled, x, w),
        "NumPy": lambda: in_numpy(*arrays),
    }
