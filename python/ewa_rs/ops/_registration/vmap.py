"""A batch of calls of a registered op as one call; an op knows which axis a batch can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ewa_rs.ops._implementation import Batched, Registered


def forward(registered: Registered) -> Callable[..., Any]:
    """Return the rule of an op."""
    implementation = registered.implementation
    split = implementation.definition.split

    def rule(info: Any, in_dims: Any, *arguments: Any) -> Any:
        inputs, settings, requests = split(arguments)
        batched = list(zip(inputs, split(in_dims)[0], strict=True))
        return implementation.vmap(registered.op, info.batch_size, batched, settings, requests)

    return rule


def backward(registered: Registered) -> Callable[..., Any]:
    """Return the rule of a backward."""
    implementation = registered.implementation
    split = implementation.definition.split

    def rule(info: Any, in_dims: Any, *arguments: Any) -> Any:
        (dims, _, rest_dims), (inputs, settings, rest) = split(in_dims), split(arguments)
        batched, others = zip(inputs, dims, strict=True), zip(rest[:-1], rest_dims, strict=False)
        given = (list(batched), settings, list(others), rest[-1])
        return implementation.vmap_backward(registered.op_backward, info.batch_size, *given)

    return rule


def batch_first(batched: Batched) -> list[Any]:
    """Put the batch, or an axis of length 1, in front of as many axes as the others have."""
    ndim = max(t.ndim - (d is not None) for t, d in batched if t is not None)
    placed: list[Tensor | None] = []
    for t, d in batched:
        if t is not None:
            t = t.unsqueeze(0) if d is None else t.movedim(d, 0)
            t = t[(slice(None), *[None] * (ndim + 1 - t.ndim))]
        placed.append(t)
    return placed


def expanded(t: Tensor | None, size: int) -> Tensor | None:
    """Give a batch of length 1 its size."""
    return None if t is None else t.expand(size, *t.shape[1:])
