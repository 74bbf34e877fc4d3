"""Timing: contestants take turns, and what is reported are ratios within a round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Call = Callable[[], Any]

_RESOLVED = 50e-6  # seconds that a reading of the clock does not disturb
_SAMPLE = 2e-3  # seconds of one contestant's turn, calls that take longer excepted
_SLOW = 30e-3  # such a call is made once or twice a turn


@dataclass(frozen=True)
class Turn:
    """How often a contestant is called in its turn: the best of `repeats` batches counts."""

    call: Call
    batch: int
    repeats: int
    warm: bool = True

    @classmethod
    def of(cls, call: Call) -> Turn:
        """Find out by calling."""
        call()
        batch = 1
        while (seconds := _time(call, batch)) < _RESOLVED:
            batch *= 4
        if seconds > _SLOW:
            return cls(call, batch, 1 if seconds > 5 * _SLOW else 2, warm=False)
        return cls(call, batch, max(3, int(_SAMPLE / seconds)))

    def take(self) -> float:
        """Return the seconds of one call, at best."""
        if self.warm:
            self.call()  # what the one before left in the caches is not this one's fault
        return min(_time(self.call, self.batch) for _ in range(self.repeats)) / self.batch


def _time(call: Call, batch: int) -> float:
    start = time.perf_counter()
    for _ in range(batch):
        call()
    return time.perf_counter() - start


def interleave(
    calls: Mapping[str, Call], *, seconds: float, rounds: tuple[int, int], pause: float = 0.0
) -> dict[str, list[float]]:
    """Let each contestant have a turn in every round; return their times, round by round.

    There are as many rounds as fit into `seconds`, within the bounds `rounds`. Each round starts
    with the next one; before each turn is a pause in which the threads of the last fall asleep.
    """
    turns = {name: Turn.of(call) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in turns}
    order, start = list(turns), time.perf_counter()
    for number in range(rounds[1]):
        if number >= rounds[0] and time.perf_counter() - start > seconds:
            break
        for name in order:
            time.sleep(pause)
            times[name].append(turns[name].take())
        order = order[1:] + order[:1]
    return times


def spread(numerator: Sequence[float], denominator: Sequence[float]) -> dict[str, float]:
    """Return median and quartiles of the ratios of each round."""
    ratios = [a / b for a, b in zip(numerator, denominator, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high, "rounds": len(ratios)}
