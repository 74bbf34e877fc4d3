"""Element-wise attention: array arithmetic for NumPy and PyTorch, in Rust.

`ewa_rs.nn`, `ewa_rs.models` and `ewa_rs.training` need PyTorch; they are imported when they are
asked for, as are `ewa_rs.pretrained` and `ewa_rs.inference`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ewa_rs._core import __version__, get_num_threads, set_num_threads
from ewa_rs.ops._backends import backend_for
from ewa_rs.ops.elementwise_attention import elementwise_attention
from ewa_rs.ops.elementwise_attention_pool2d import elementwise_attention_pool2d
from ewa_rs.ops.elementwise_self_attention import elementwise_self_attention

__all__ = [
    "__version__",
    "backend_for",
    "elementwise_attention",
    "elementwise_attention_pool2d",
    "elementwise_self_attention",
    "get_num_threads",
    "set_num_threads",
]
_LAZY = ("decompositions", "inference", "models", "nn", "pretrained", "training")

if TYPE_CHECKING:
    from ewa_rs import inference as inference
    from ewa_rs import models as models
    from ewa_rs import nn as nn
    from ewa_rs import pretrained as pretrained
    from ewa_rs import training as training
    from ewa_rs.ops.torch import decompositions as decompositions
else:  # where a type checker saw this function, it would take any name for one of the package

    def __getattr__(name: str) -> Any:
        if name == "decompositions":
            return import_module("ewa_rs.ops.torch").decompositions
        if name in _LAZY:
            return import_module(f"ewa_rs.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LAZY})
