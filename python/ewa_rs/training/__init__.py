"""Data, the training loop, checkpoints, and the comparison of networks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ewa_rs.training import checkpoint as checkpoint
    from ewa_rs.training import compare as compare
    from ewa_rs.training import config as config
    from ewa_rs.training import data as data
    from ewa_rs.training import export as export
    from ewa_rs.training import loop as loop
    from ewa_rs.training import report as report
else:  # loaded when they are asked for: a process may set the number of threads before PyTorch is
    _LAZY = ("checkpoint", "compare", "config", "data", "export", "loop", "report")

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            return import_module(f"ewa_rs.training.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LAZY})
