"""Settings of the tests: hypothesis profiles, seeds, memory that betrays an unwritten output."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch

# `ci` draws the same examples every time; `dev` looks for new ones. HYPOTHESIS_PROFILE chooses.
hypothesis.settings.register_profile("ci", max_examples=60, deadline=None, derandomize=True)
hypothesis.settings.register_profile("dev", max_examples=300, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True)
def seeds() -> None:
    """Give each test the same random numbers, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def poisoned_memory() -> Iterator[None]:
    """Fill uninitialised NumPy and torch memory with NaN (integers: the largest value)."""
    patch = pytest.MonkeyPatch()
    for name in ("empty", "empty_like"):
        patch.setattr(np, name, poisoned(getattr(np, name)))
    deterministic = torch.are_deterministic_algorithms_enabled()
    # In this mode torch.empty and its kin return NaN (torch.utils.deterministic), in C++ as well.
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert np.isnan(np.empty(1)).all()
    assert torch.empty(1).isnan().all()
    yield
    torch.use_deterministic_algorithms(deterministic)
    patch.undo()


def poisoned(allocate: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `allocate` so that what it returns holds NaN, or a number nobody expects."""

    def allocate_poisoned(*args: Any, **kwargs: Any) -> Any:
        array = allocate(*args, **kwargs)
        if array.dtype.kind in "fc":
            array.fill(np.nan)
        elif array.dtype.kind in "iu":
            array.fill(np.iinfo(array.dtype).max)
        return array

    return allocate_poisoned
