"""Registration of the ops with torch.library, for everything that is not a plain eager call.

`ewa_rs::NAME(inputs…, axes, scale, residual, return_weights) -> (y, weights, statistics)` and
`ewa_rs::NAME_backward(inputs…, axes, scale, residual, grad_y, grad_a, statistics, wanted)`, which
gives the gradients of the wanted inputs. Axes count from the front, a scale of None is 1/√n, and
weights that are not asked for are an empty tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._C import DispatchKey

from ewa_rs.ops._rules import Registrable, Rules

_LIBRARY = torch.library.Library("ewa_rs", "DEF")
_SETTINGS = "int[] axes, float? scale, bool residual"
_DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {}


def register(operator: Registrable) -> tuple[Any, Any]:
    """Register an op and its backward, and return both."""
    rules = Rules(operator)
    optional = ("mask", "b_q", "b_k", "b_v")
    tensors = ", ".join(f"Tensor{'?' * (name in optional)} {name}" for name in operator.names)
    saved = "Tensor grad_y, Tensor? grad_a, Tensor statistics"
    rules.op = define(
        f"{operator.name}({tensors}, {_SETTINGS}, bool return_weights)"
        " -> (Tensor y, Tensor weights, Tensor statistics)"
    )
    rules.op_backward = define(
        f"{operator.name}_backward({tensors}, {_SETTINGS}, {saved}, bool[] wanted) -> Tensor[]"
    )
    implement(
        rules.op, rules.rust, rules.device, rules.composite, rules.fake, rules.autograd, rules.vmap
    )
    implement(
        rules.op_backward,
        rules.rust_backward,
        rules.device_backward,
        rules.composite_backward,
        rules.fake_backward,
        rules.autograd_backward,
        rules.vmap_backward,
    )
    implement_autocast(rules.op, rules.autocast)
    return rules.op, rules.op_backward


def define(schema: str) -> Any:
    """Define an op by its schema, and return it."""
    name = _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    return getattr(torch.ops.ewa_rs, name).default


def implement(
    op: Any,
    rust: Callable[..., Any],
    device: Callable[..., Any],
    composite: Callable[..., Any],
    fake: Callable[..., Any],
    autograd: Callable[..., Any],
    vmap: Callable[..., Any],
) -> None:
    """Register what computes an op: on the CPU, elsewhere, without data, and in transforms."""
    _LIBRARY.impl(op, rust, "CPU")
    _LIBRARY.impl(op, device, "CompositeExplicitAutograd")
    _LIBRARY.impl(op, composite, "Batched")  # torch.autograd.grad(…, is_grads_batched=True)
    _LIBRARY.impl(op, autograd, "Autograd", with_keyset=True)
    torch.library.register_fake(op.name(), fake, lib=_LIBRARY)
    torch.library.register_vmap(op.name(), vmap, lib=_LIBRARY)
    _DECOMPOSITIONS[op] = composite
    torch._decomp.register_decomposition(op)(composite)  # where torch.onnx.export looks


def implement_autocast(op: Any, rule: Callable[[DispatchKey], Callable[..., Any]]) -> None:
    """Register what autocast makes of an op on each kind of device, given its key."""
    for device in ("CPU", "CUDA", "XPU", "MPS"):
        key = f"Autocast{device}"
        _LIBRARY.impl(op, rule(getattr(DispatchKey, key)), key)


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
