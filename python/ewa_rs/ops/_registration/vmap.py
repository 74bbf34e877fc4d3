"""A batch of calls of a registered op as one call; an op knows which axis a batch can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ewa_rs.ops._registration.registered import Registered

if TYPE_CHECKING:
    from ewa_rs.ops._arguments import Tensors


def forward(registered: Registered) -> Callable[..., Any]:
    """Return the rule of an op."""
    implementation = registered.implementation
    split = implementation.definition.split

    def rule(info: Any, in_dims: Any, *arguments: Any) -> Any:
        dims = split(in_dims)[0]
        results, placed = implementation.vmap(
            registered.op, info.batch_size, dims, *split(arguments)
        )
        return results, placed

    return rule


def backward(registered: Registered) -> Callable[..., Any]:
    """Return the rule of a backward."""
    implementation = registered.implementation
    split = implementation.definition.split

    def rule(info: Any, in_dims: Any, *arguments: Any) -> Any:
        (dims, _, dims_of_rest), size = split(in_dims), info.batch_size
        inputs, settings, (*rest, wanted) = split(arguments)
        saved = list(zip(rest, dims_of_rest, strict=False))
        op = registered.op_backward
        return implementation.vmap_backward(op, size, dims, inputs, settings, saved, wanted)

    return rule


def batch_first(tensors: Tensors, dims: Sequence[int | None]) -> list[Any]:
    """Put the batch, or an axis of length 1, in front of as many axes as the others have."""
    pairs = list(zip(tensors, dims, strict=False))
    ndim = max(t.ndim - (d is not None) for t, d in pairs if t is not None)
    placed: list[Tensor | None] = []
    for t, d in pairs:
        if t is not None:
            t = t.unsqueeze(0) if d is None else t.movedim(d, 0)
            t = t[(slice(None), *[None] * (ndim + 1 - t.ndim))]
        placed.append(t)
    return placed


def expanded(t: Tensor | None, size: int) -> Tensor | None:
    """Give a batch of length 1 its size."""
    return None if t is None else t.expand(size, *t.shape[1:])
