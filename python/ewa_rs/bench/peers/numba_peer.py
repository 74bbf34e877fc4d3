"""Numba: loops fused by hand, parallel and fastmath, as a capable user would write them.

Operands become (outer, n, inner), softmax over n; where inner is 1, each row is a slice of its own.
The forward keeps the maximum and the inverse of the sum of each slice for the backward.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ewa_rs.bench.cases import OPERANDS, Array, Problem
from ewa_rs.bench.peers.numba_interleaved import make_interleaved
from ewa_rs.bench.peers.numba_layer import make_layer
from ewa_rs.bench.peers.numba_rows import make_rows
from ewa_rs.bench.peers.runner import NotForThis, Runner, named

_LAYER_CHUNKS = 16  # partial sums of the gradients of w


def _three_axes(problem: Problem, name: str) -> Array:
    """Return an operand as (outer, n, inner)."""
    x, axes = problem.dense(name), problem.dense_axes
    first, last = x.ndim + axes[0], x.ndim + axes[-1] + 1
    parts = (x.shape[:first], x.shape[first:last], x.shape[last:])
    return x.reshape([math.prod(part) for part in parts])


class NumbaCall:
    """The op on operands of three axes, with its results."""

    def __init__(self, problem: Problem) -> None:
        if problem.case.dtype not in ("float32", "float64"):
            raise NotForThis(f"no {problem.case.dtype}")
        self.problem = problem
        self.layer = len(problem.inputs) == 4
        self.grad = _three_axes(problem, "grad")
        self.rows = self.grad.shape[2] == 1
        operands = [_three_axes(problem, name) for name in OPERANDS[problem.case.op]]
        mask = problem.mask if problem.mask is not None else np.ones((1, 1), np.bool_)
        if self.rows:
            operands = [x[:, :, 0] for x in operands]
            self.grad = self.grad[:, :, 0]
        if self.layer:
            operands = [operands[0], *(w.reshape(-1) for w in operands[1:])]
        self.inputs, self.mask = operands, mask
        self.y = np.empty_like(self.grad)
        slices = self.grad.shape[:1] if self.rows else (self.grad.shape[0], self.grad.shape[2])
        self.top, self.inverse = (np.empty(slices, self.grad.dtype) for _ in range(2))
        self.scale = self.grad.dtype.type(problem.scale)
        # A broadcast operand's gradient is a partial sum for each slice or each outer index.
        self.small = [name for name in "qkv" if name in problem.case.small]
        dtype, small = problem.case.dtype, ("q" in self.small, "k" in self.small)
        if self.layer:
            self.functions = make_layer(dtype)
        elif self.rows:
            self.functions = make_rows(dtype, *small, problem.mask is not None)
        else:
            self.functions = make_interleaved(dtype, *small)
        self.gradients = [self._gradient(name) for name in OPERANDS[problem.case.op]]

    def _gradient(self, name: str) -> Array:
        shape: tuple[int, ...] = self.grad.shape
        if self.layer and name != "x":
            shape = (_LAYER_CHUNKS, shape[1])
        elif name in self.small:
            shape = shape[:1] if self.rows else shape[:2]
        return np.empty(shape, self.grad.dtype)

    def forward(self) -> Array:
        """Output."""
        self.functions[0](*self.inputs, self.mask, self.scale, self.y, self.top, self.inverse)
        return self.y

    def training(self) -> list[Array]:
        """Output and gradients."""
        self.forward()
        saved = (self.mask, self.scale, self.grad, self.top, self.inverse)
        self.functions[1](*self.inputs, *saved, *self.gradients)
        sums = [
            g.sum(0) if self.layer and i else self._summed(g) for i, g in enumerate(self.gradients)
        ]
        return [self.y, *sums]

    def _summed(self, g: Array) -> Array:
        if g.ndim == self.grad.ndim:
            return g
        return np.asarray(g.reshape(self.problem.case.shape[0], -1).sum(0))

    def results(self, values: Any) -> dict[str, Array]:
        """Arrays in the shapes of the operands."""
        names = ("grad", *OPERANDS[self.problem.case.op])
        shaped = [
            value.reshape(self.problem.dense(name).shape)
            for name, value in zip(names, values, strict=False)
        ]
        return named(self.problem, shaped)


def forward(problem: Problem) -> Runner:
    """Forward."""
    call = NumbaCall(problem)
    return Runner(call.forward, lambda y: call.results([y]))


def training(problem: Problem) -> Runner:
    """Forward and backward."""
    call = NumbaCall(problem)
    return Runner(call.training, call.results)
