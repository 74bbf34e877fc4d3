"""The namespace `ewa_rs` of torch.library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ewa_rs.ops._registration.rules import Backward, Forward

LIBRARY = torch.library.Library("ewa_rs", "DEF")
_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {}


def define(schema: str) -> Any:
    """Define an op by its schema, and return it."""
    name = LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    return getattr(torch.ops.ewa_rs, name).default


def implement(
    op: Any, rules: Forward | Backward, autograd: Callable[..., Any], vmap: Callable[..., Any]
) -> None:
    """Register what computes an op: on the CPU, elsewhere, without data, and in transforms."""
    LIBRARY.impl(op, rules.rust, "CPU")
    LIBRARY.impl(op, rules.device, "CompositeExplicitAutograd")
    LIBRARY.impl(op, rules.composite, "Batched")  # torch.autograd.grad(…, is_grads_batched=True)
    LIBRARY.impl(op, autograd, "Autograd", with_keyset=True)
    torch.library.register_fake(op.name(), rules.fake, lib=LIBRARY)
    torch.library.register_vmap(op.name(), vmap, lib=LIBRARY)
    _DECOMPOSITIONS[op] = rules.composite
    torch._decomp.register_decomposition(op)(rules.composite)  # where torch.onnx.export looks


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Give the registered ops in PyTorch operations, for `ExportedProgram.run_decompositions`.

    Returns
    -------
    dict
        A function for each registered op, to be put into a table of decompositions.

    Examples
    --------
    >>> import torch, ewa_rs
    >>> from ewa_rs.nn import ElementwiseSelfAttention
    >>> program = torch.export.export(ElementwiseSelfAttention(9), (torch.rand(2, 9),))
    >>> table = torch.export.default_decompositions()
    >>> table.update(ewa_rs.decompositions())
    >>> nodes = program.run_decompositions(table).graph.nodes
    >>> any("ewa_rs" in str(node.target) for node in nodes)
    False
    """
    return dict(_DECOMPOSITIONS)
