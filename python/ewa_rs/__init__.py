"""Element-wise attention: array arithmetic for NumPy and PyTorch, in Rust."""

from __future__ import annotations

from ewa_rs.ops.elementwise_attention import elementwise_attention
from ewa_rs.ops.elementwise_self_attention import elementwise_self_attention

__all__ = ["elementwise_attention", "elementwise_self_attention"]
