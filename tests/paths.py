"""Element-wise attention by one of its three paths, from arrays to arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ewa_rs import elementwise_attention

PATHS = ("numpy", "rust", "torch")
every_path = pytest.mark.parametrize("path", PATHS)
every_backend = pytest.mark.parametrize("backend", ["rust", "torch"])


def attend(path: str, *operands: Any, mask: Any = None, **options: Any) -> Any:
    """Call one of the paths with arrays, and give arrays back."""
    if path == "numpy":
        return elementwise_attention(*map(np.asarray, operands), mask=mask, **options)
    mask = None if mask is None else torch.tensor(np.asarray(mask))
    tensors = [torch.tensor(np.asarray(x)) for x in operands]
    result = elementwise_attention(*tensors, mask=mask, backend=path, **options)
    return tuple(x.numpy() for x in result) if isinstance(result, tuple) else result.numpy()


def normal(*shape: int, dtype: Any = np.float32) -> Any:
    return np.random.standard_normal(shape).astype(dtype)
