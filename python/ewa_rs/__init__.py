"""Element-wise attention: array arithmetic for NumPy and PyTorch, in Rust.

`ewa_rs.nn`, `ewa_rs.models` and `ewa_rs.training` need PyTorch; they are imported when they are
asked for.
"""

from __future__ import annotations

from ewa_rs._core import __version__, get_num_threads, set_num_threads
from ewa_rs.ops.elementwise_attention import elementwise_attention
from ewa_rs.ops.elementwise_self_attention import elementwise_self_attention

__all__ = [
    "__version__",
    "elementwise_attention",
    "elementwise_self_attention",
    "get_num_threads",
    "set_num_threads",
]
