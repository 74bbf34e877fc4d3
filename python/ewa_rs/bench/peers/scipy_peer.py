"""SciPy: its softmax, in the formula as one would write it down."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from ewa_rs.bench.cases import OPERANDS, Array, Problem
from ewa_rs.bench.peers.runner import NotForThis, Runner, named


def forward(problem: Problem) -> Runner:
    """Forward."""
    if problem.case.dtype == "bfloat16":
        raise NotForThis("no bfloat16")
    inputs = [problem.dense(name) for name in OPERANDS[problem.case.op]]
    axes, mask = problem.dense_axes, problem.mask
    scale = inputs[0].dtype.type(problem.scale)
    minus_infinity = inputs[0].dtype.type(-np.inf)

    def call() -> Array:
        if len(inputs) == 4:
            x, *weights = inputs
            q, k, v = (x * w for w in weights)
        else:
            q, k, v = inputs
        z = scale * (q * k)
        if mask is not None:
            z = np.where(mask, z, minus_infinity)
        y: Array = softmax(z, axis=axes) * v
        return y

    return Runner(call, lambda y: named(problem, [y]))
