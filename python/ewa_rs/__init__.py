"""Element-wise attention: array arithmetic for NumPy and PyTorch, in Rust.

`ewa_rs.nn`, `ewa_rs.models` and `ewa_rs.training` need PyTorch; they are imported when they are
asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ewa_rs._core import __version__, get_num_threads, set_num_threads
from ewa_rs.ops._backends import backend_for
from ewa_rs.ops.elementwise_attention import elementwise_attention
from ewa_rs.ops.elementwise_attention_pool2d import elementwise_attention_pool2d
from ewa_rs.ops.elementwise_self_attention import elementwise_self_attention

if TYPE_CHECKING:
    from ewa_rs.ops._library import decompositions as decompositions

__all__ = [
    "__version__",
    "backend_for",
    "elementwise_attention",
    "elementwise_attention_pool2d",
    "elementwise_self_attention",
    "get_num_threads",
    "set_num_threads",
]


def __getattr__(name: str) -> Any:
    # Needs PyTorch, which importing the package does not.
    if name == "decompositions":
        import ewa_rs.nn  # noqa: F401  every op is registered
        from ewa_rs.ops._library import decompositions

        return decompositions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
