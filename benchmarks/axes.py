"""The softmax over other axes and in another memory order, float32, on one thread.

    python benchmarks/axes.py > results/bench/axes.md

prints by how much each takes longer than the softmax over the last, contiguous axis of an array of
as many numbers: medians of ratios taken within a round, into memory that is there (forward), and of
forward and backward together (training).
"""

from __future__ import annotations

from typing import Any

import torch

import ewa_rs
from ewa_rs.bench.measure import Call, interleave, spread
from ewa_rs.training.environment import environment
from ewa_rs.training.report.summary import versions_text

MAPS = (64, 32, 28, 28)
LAYOUTS: dict[str, tuple[tuple[int, ...], Any, torch.memory_format]] = {
    "rows (2048, 784)": ((2048, 784), -1, torch.contiguous_format),
    "maps, spatial": (MAPS, (-2, -1), torch.contiguous_format),
    "maps, channel": (MAPS, 1, torch.contiguous_format),
    "maps, spatial, channels last": (MAPS, (-2, -1), torch.channels_last),
    "maps, channel, channels last": (MAPS, 1, torch.channels_last),
    "the first axis of (784, 2048)": ((784, 2048), 0, torch.contiguous_format),
    "the first two axes of (28, 28, 2048)": ((28, 28, 2048), (0, 1), torch.contiguous_format),
}


def contestant(shape: tuple[int, ...], axis: Any, order: torch.memory_format, train: bool) -> Call:
    """Return a call of the op on one of the layouts."""
    tensors = [torch.randn(shape).contiguous(memory_format=order) for _ in range(5)]
    *inputs, grad, out = tensors
    if not train:
        return lambda: ewa_rs.elementwise_attention(*inputs, axis=axis, out=out)
    for t in inputs:
        t.requires_grad_()
    return lambda: torch.autograd.grad(
        ewa_rs.elementwise_attention(*inputs, axis=axis), inputs, grad
    )


def main() -> None:
    """Print the table."""
    ewa_rs.set_num_threads(1)
    torch.set_num_threads(1)
    times = [
        interleave(
            {name: contestant(*layout, train) for name, layout in LAYOUTS.items()},
            seconds=8,
            rounds=(5, 60),
        )
        for train in (False, True)
    ]
    first = next(iter(LAYOUTS))
    print("| softmax over | forward | training |\n| --- | ---: | ---: |")
    for name in LAYOUTS:
        cells = [f"{spread(found[name], found[first])['median']:.2f}" for found in times]
        print(f"| {name} | {' | '.join(cells)} |")
    about = environment()
    print(f"\n{about['hardware']['cpu']}, one thread; {versions_text(about['versions'])}.")


if __name__ == "__main__":
    main()
