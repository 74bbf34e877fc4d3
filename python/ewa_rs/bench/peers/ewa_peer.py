"""The ops of this package: on arrays, into an array that is there, on tensors with gradients."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ewa_rs.bench.cases import Problem
from ewa_rs.bench.peers.runner import Runner


def _op(problem: Problem) -> Callable[..., Any]:
    name = problem.case.op
    function: Callable[..., Any] = getattr(importlib.import_module(f"ewa_rs.ops.{name}"), name)
    return function


def forward(problem: Problem) -> Runner:
    """Forward; the output is allocated anew each time."""
    function, inputs = _op(problem), problem.inputs
    axis, mask = problem.case.axis, problem.mask
    return Runner(lambda: function(*inputs, axis=axis, mask=mask), lambda y: {"y": y})


def into_out(problem: Problem) -> Runner:
    """Forward into `out`."""
    function, inputs = _op(problem), problem.inputs
    axis, mask, out = problem.case.axis, problem.mask, problem.empty()
    return Runner(lambda: function(*inputs, axis=axis, mask=mask, out=out), lambda y: {"y": y})


def training(problem: Problem) -> Runner:
    """Forward and backward, on tensors."""
    import torch

    from ewa_rs.bench.peers.torch_peer import training_runner

    function, axis = _op(problem), problem.case.axis
    mask = None if problem.mask is None else torch.from_numpy(problem.mask)
    return training_runner(problem, lambda *inputs: function(*inputs, axis=axis, mask=mask))
