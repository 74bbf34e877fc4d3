"""The op and the layer against the same formulas in PyTorch's own operations, float32 on the CPU.

    python benchmarks/eager.py [SECONDS] > results/bench/eager.md

prints, for one thread and for two, by how much eager's time is longer than ours: the median of
ratios taken within a round, and their quartiles. SECONDS (2 by default) is spent on each line.
`forward` is without gradients, `training` is a forward and `torch.autograd.grad` with respect to
q, k and v, or to the layer's input and parameters. *Nothing* is a `torch.autograd.Function` that
allocates output and gradients and computes nothing: no op that is one can be faster.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import ewa_rs
from ewa_rs.bench.epoch import EagerSelfAttention
from ewa_rs.bench.measure import Call, interleave, spread
from ewa_rs.nn import ElementwiseSelfAttention
from ewa_rs.training.environment import environment
from ewa_rs.training.report.summary import versions_text

SHAPES = ((8, 784), (128, 784), (12544, 784))


class Nothing(torch.autograd.Function):
    """A function of tensors that computes neither its output nor its gradients."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        """Return memory."""
        ctx.save_for_backward(*inputs)
        return torch.empty_like(inputs[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Return memory."""
        return tuple(torch.empty_like(t) for t in ctx.saved_tensors)


def contestants(shape: tuple[int, ...], what: str, training: bool) -> dict[str, Call]:
    """Return what is called, ours and eager's."""
    functions, operands = op(shape) if what == "op" else layer(shape)
    wanted = [t.requires_grad_(training) for t in operands]
    if not training:
        return functions
    grad = torch.randn(shape)

    def step(function: Callable[[], Tensor]) -> Call:
        return lambda: torch.autograd.grad(function(), wanted, grad)

    functions["nothing"] = lambda: Nothing.apply(*wanted)
    return {name: step(function) for name, function in functions.items()}


def op(shape: tuple[int, ...]) -> tuple[dict[str, Callable[[], Tensor]], list[Tensor]]:
    """Element-wise attention, and its operands."""
    q, k, v = (torch.randn(shape) for _ in range(3))
    scale = shape[-1] ** -0.5
    functions: dict[str, Callable[[], Any]] = {
        "ewa": lambda: ewa_rs.elementwise_attention(q, k, v, scale=scale),
        "eager": lambda: torch.softmax(scale * q * k, -1) * v,
    }
    return functions, [q, k, v]


def layer(shape: tuple[int, ...]) -> tuple[dict[str, Callable[[], Tensor]], list[Tensor]]:
    """The layer, and its input and parameters."""
    ours = ElementwiseSelfAttention(shape[-1])
    eager = EagerSelfAttention(ours)
    x = torch.randn(shape)
    return {"ewa": lambda: ours(x), "eager": lambda: eager(x)}, [x, *ours.parameters()]


def main() -> None:
    """Print a table for each number of threads."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    for threads in (1, 2):
        torch.set_num_threads(threads)
        ewa_rs.set_num_threads(threads)
        print(f"\n{threads} thread{'s' * (threads > 1)}\n")
        print("| what | shape | eager ÷ ewa | quartiles | eager ÷ nothing |")
        print("| --- | --- | ---: | ---: | ---: |")
        for shape in SHAPES:
            for what in ("op", "layer"):
                for training in (False, True):
                    calls = contestants(shape, what, training)
                    times = interleave(calls, seconds=seconds, rounds=(5, 200))
                    print(row(f"{what}, {'training' if training else 'forward'}", shape, times))
    about = environment()
    cpu, cores, simd = (about["hardware"][key] for key in ("cpu", "cores", "simd"))
    print(f"\n{cpu}, {cores} cores, kernels for {simd}; {versions_text(about['versions'])}.")


def row(name: str, shape: tuple[int, ...], times: dict[str, list[float]]) -> str:
    """Return the line of a table."""
    ratio = spread(times["eager"], times["ewa"])
    quartiles = f"{ratio['low']:.2f}–{ratio['high']:.2f}"
    limit = (
        f"{spread(times['eager'], times['nothing'])['median']:.1f}" if "nothing" in times else ""
    )
    return f"| {name} | {shape} | {ratio['median']:.2f} | {quartiles} | {limit} |"


if __name__ == "__main__":
    main()
