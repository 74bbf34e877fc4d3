"""All ops, registered with torch.library."""

from __future__ import annotations

from importlib import import_module

from ewa_rs.ops._definition import DEFINITIONS
from ewa_rs.ops._registration.library import decompositions

__all__ = ["decompositions"]

for _name in DEFINITIONS:
    import_module(f"ewa_rs.ops.{_name}.torch")
