"""An op in torch.library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ewa_rs.ops._implementation import Implementation


@dataclass(frozen=True)
class Registered:
    """An op and its backward, as torch calls them, and what they compute."""

    implementation: Implementation
    op: Any
    op_backward: Any
