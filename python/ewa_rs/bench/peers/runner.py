"""What a peer's module gives: a call to time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ewa_rs.bench.cases import OPERANDS, Array, Problem


class NotForThis(Exception):
    """A peer cannot do this case; the message says why."""


@dataclass
class Runner:
    """One contestant on one problem: a call to time, and how its value becomes NumPy arrays."""

    call: Callable[[], Any]
    results: Callable[[Any], dict[str, Array]]


def named(problem: Problem, values: Any) -> dict[str, Array]:
    """Name an output and the gradients behind it, all dense."""
    names = ("y", *OPERANDS[problem.case.op])
    results = {}
    for name, value in zip(names, values, strict=False):
        ndim = problem.operands["grad" if name == "y" else name].ndim
        results[name] = problem.restored(value) if ndim == len(problem.order) else value
    return results
