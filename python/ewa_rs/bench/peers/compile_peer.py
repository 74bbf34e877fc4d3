"""torch.compile with its defaults, for the one shape, of the eager peer's formula."""

from __future__ import annotations

import torch

from ewa_rs.bench.cases import Problem
from ewa_rs.bench.peers.runner import Runner
from ewa_rs.bench.peers.torch_peer import formula, forward_runner, training_runner


def forward(problem: Problem) -> Runner:
    """Forward."""
    torch._dynamo.reset()  # or the compiler gives up after some shapes
    return forward_runner(problem, torch.compile(formula(problem), fullgraph=True, dynamic=False))


def training(problem: Problem) -> Runner:
    """Forward and backward."""
    torch._dynamo.reset()
    return training_runner(problem, torch.compile(formula(problem), fullgraph=True, dynamic=False))
