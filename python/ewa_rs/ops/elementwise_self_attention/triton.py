"""Element-wise self-attention by the fused Triton kernels, on CUDA.

Inputs are (x, w_q, w_k, w_v, b_q, b_k, b_v, mask).
"""

from __future__ import annotations

from functools import partial

from ewa_rs.ops import _triton

available = _triton.available
forward = partial(_triton.forward, project=True)
backward = partial(_triton.backward, project=True)
