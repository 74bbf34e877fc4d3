"""JAX: the formula and its vector-Jacobian product under jit, on the CPU."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ewa_rs.bench.cases import OPERANDS, Problem
from ewa_rs.bench.peers.runner import Runner, named

jax.config.update("jax_enable_x64", True)  # or float64 would become float32


def _function(problem: Problem) -> Any:
    axes, scale = problem.dense_axes, problem.scale
    mask = None if problem.mask is None else jnp.asarray(problem.mask)

    def attention(q: Any, k: Any, v: Any) -> Any:
        z = q * k * scale
        if mask is not None:
            z = jnp.where(mask, z, -jnp.inf)
        return jax.nn.softmax(z, axis=axes) * v

    def layer(x: Any, w_q: Any, w_k: Any, w_v: Any) -> Any:
        return attention(x * w_q, x * w_k, x * w_v)

    return layer if len(problem.inputs) == 4 else attention


def _inputs(problem: Problem) -> list[Any]:
    cpu = jax.devices("cpu")[0]
    names = (*OPERANDS[problem.case.op], "grad")
    return [jax.device_put(problem.dense(name), cpu) for name in names]


def forward(problem: Problem) -> Runner:
    """Forward."""
    *inputs, _ = _inputs(problem)
    function = jax.jit(_function(problem))
    return Runner(
        lambda: function(*inputs).block_until_ready(),
        lambda y: named(problem, [np.asarray(y)]),
    )


def training(problem: Problem) -> Runner:
    """Forward and backward, compiled as one."""
    *inputs, grad = _inputs(problem)
    function = _function(problem)

    @jax.jit
    def step(grad: Any, *inputs: Any) -> Any:
        y, backward = jax.vjp(function, *inputs)
        return (y, *backward(grad))

    return Runner(
        lambda: jax.block_until_ready(step(grad, *inputs)),
        lambda values: named(problem, [np.asarray(value) for value in values]),
    )
