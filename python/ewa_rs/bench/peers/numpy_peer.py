"""NumPy: the best plain spelling, every intermediate in memory that was allocated before."""

from __future__ import annotations

import numpy as np

from ewa_rs.bench.cases import OPERANDS, Array, Problem
from ewa_rs.bench.peers.runner import NotForThis, Runner, named
from ewa_rs.ops.elementwise_attention.reference import sum_to


class NumpyCall:
    """The op with its buffers."""

    def __init__(self, problem: Problem) -> None:
        if problem.case.dtype == "bfloat16":
            raise NotForThis("no bfloat16")
        names = OPERANDS[problem.case.op]
        self.inputs = [problem.dense(name) for name in names]
        self.grad, self.axes = problem.dense("grad"), problem.dense_axes
        dtype = self.grad.dtype
        self.scale = dtype.type(problem.scale)
        self.dropped = None if problem.mask is None else ~problem.mask
        self.z, self.y, self.h, self.t = (np.empty_like(self.grad) for _ in range(4))
        self.layer = len(names) == 4
        self.projected = [np.empty_like(self.grad) for _ in range(3)] if self.layer else []

    def operands(self) -> list[Array]:
        """q, k and v."""
        if not self.layer:
            return self.inputs
        x, *weights = self.inputs
        for w, out in zip(weights, self.projected, strict=True):
            np.multiply(x, w, out=out)
        return self.projected

    def forward(self) -> Array:
        """Output; the weights stay in `z`."""
        q, k, v = self.operands()
        z = np.multiply(q, k, out=self.z)
        z *= self.scale
        if self.dropped is not None:
            np.copyto(z, -np.inf, where=self.dropped)
        z -= z.max(self.axes, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(self.axes, keepdims=True)
        return np.multiply(z, v, out=self.y)

    def training(self) -> list[Array]:
        """Output and gradients."""
        y = self.forward()
        q, k, v = self.projected if self.layer else self.inputs
        dv = self.grad * self.z
        dz = np.multiply(self.grad, v, out=self.h)
        dz -= np.multiply(self.z, dz, out=self.t).sum(self.axes, keepdims=True)
        dz *= self.z
        dz *= self.scale
        gradients = [dz * k, dz * q, dv]
        if self.layer:
            x, *weights = self.inputs
            dx = sum(g * w for g, w in zip(gradients, weights, strict=True))
            gradients = [np.asarray(dx), *(np.multiply(g, x, out=self.t).sum(0) for g in gradients)]
        return [y, *(sum_to(g, p.shape) for g, p in zip(gradients, self.inputs, strict=True))]


def forward(problem: Problem) -> Runner:
    """Forward."""
    return Runner(NumpyCall(problem).forward, lambda y: named(problem, [y]))


def training(problem: Problem) -> Runner:
    """Forward and backward."""
    return Runner(NumpyCall(problem).training, lambda values: named(problem, values))
