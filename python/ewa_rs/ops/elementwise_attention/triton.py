"""Element-wise attention by the fused Triton kernels, of inputs (q, k, v, mask) on CUDA."""

from __future__ import annotations

from functools import partial

from ewa_rs.ops import _triton

available = _triton.available
forward = partial(_triton.forward, project=False)
backward = partial(_triton.backward, project=False)
