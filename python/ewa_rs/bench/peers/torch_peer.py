"""PyTorch in eager mode: its softmax, in the formula as one would write it down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ewa_rs.bench.cases import OPERANDS, Array, Problem
from ewa_rs.bench.peers.runner import Runner


def to_torch(x: Array) -> Tensor:
    """Return a tensor over the same memory."""
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def to_numpy(x: Tensor) -> Array:
    """Return the values of a tensor; those of bfloat16 as float32."""
    x = x.detach()
    return np.asarray((x.float() if x.dtype == torch.bfloat16 else x).numpy())


def softmax(z: Tensor, axes: tuple[int, ...]) -> Tensor:
    """PyTorch's softmax, over several neighbouring axes too: they are flattened, without a copy."""
    if len(axes) == 1:
        return torch.softmax(z, axes[0])
    flat = torch.softmax(z.flatten(axes[0], axes[-1]), -1)
    y: Tensor = flat.unflatten(-1, z.shape[axes[0] :])
    return y


def formula(problem: Problem) -> Callable[..., Tensor]:
    """Return the op as a function of tensors."""
    axes, scale = problem.case.axis, problem.scale
    mask = None if problem.mask is None else torch.from_numpy(problem.mask)

    def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        z = q * k * scale
        if mask is not None:
            z = z.masked_fill(~mask, -torch.inf)
        return softmax(z, axes) * v

    def layer(x: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor) -> Tensor:
        return attention(x * w_q, x * w_k, x * w_v)

    return layer if len(problem.inputs) == 4 else attention


def forward_runner(problem: Problem, function: Callable[..., Tensor]) -> Runner:
    """Forward of a function of tensors, without a graph."""
    inputs = [to_torch(x) for x in problem.inputs]

    def call() -> Tensor:
        with torch.no_grad():
            return function(*inputs)

    return Runner(call, lambda y: {"y": to_numpy(y)})


def training_runner(problem: Problem, function: Callable[..., Tensor]) -> Runner:
    """Forward and backward of a function of tensors, to the gradients of all of its inputs."""
    inputs = [to_torch(x).detach().requires_grad_() for x in problem.inputs]
    grad = to_torch(problem.operands["grad"])

    def call() -> tuple[Tensor, ...]:
        y = function(*inputs)
        return (y, *torch.autograd.grad(y, inputs, grad))

    names = ("y", *OPERANDS[problem.case.op])

    def results(values: tuple[Any, ...]) -> dict[str, Array]:
        return {name: to_numpy(value) for name, value in zip(names, values, strict=True)}

    return Runner(call, results)


def forward(problem: Problem) -> Runner:
    """Forward."""
    return forward_runner(problem, formula(problem))


def training(problem: Problem) -> Runner:
    """Forward and backward."""
    return training_runner(problem, formula(problem))
