"""Data, the training loop, checkpoints, and the comparison of networks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["checkpoint", "compare", "config", "data", "export", "loop", "report"]

if TYPE_CHECKING:
    from ewa_rs.training import checkpoint, compare, config, data, export, loop, report
else:  # loaded when they are asked for: a process may set the number of threads before PyTorch is

    def __getattr__(name: str) -> Any:
        if name in __all__:
            return import_module(f"ewa_rs.training.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
