"""Calls on plain tensors, which Rust does alone, and what stops being plain after the forward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.registry import ALONG_SLICES, Op
from torch.utils._python_dispatch import TorchDispatchMode

every_op = pytest.mark.parametrize("op", ALONG_SLICES.values(), ids=ALONG_SLICES)
every_dtype = pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64]
)


def leaves(op: Op, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    names = (*op.operands, *op.optional)
    return {n: torch.randn(3, 7, dtype=dtype, requires_grad=True) for n in names}


def gradients(y: torch.Tensor, operands: dict[str, torch.Tensor]) -> Sequence[torch.Tensor]:
    grad = torch.arange(y.numel(), dtype=y.dtype).view(y.shape)
    return torch.autograd.grad(y, list(operands.values()), grad)


class Seen(TorchDispatchMode):
    """Remembers the names of the operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


@every_op
@every_dtype
@pytest.mark.parametrize("axis", [0, 1, (0, 1)])
def test_a_mode_around_the_backward_alone(op: Op, dtype: torch.dtype, axis: Any) -> None:
    """It sees the registered op, which gets the statistics that the forward kept."""
    operands = leaves(op, dtype)
    expected = gradients(op(operands, axis=axis), operands)
    y = op(operands, axis=axis)
    with Seen() as seen:
        got = gradients(y, operands)
    assert f"ewa_rs::{op.name}_backward" in seen.names
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@every_op
def test_hooks_on_what_is_saved(op: Op) -> None:
    """The kernels take what the hooks give back, whatever its strides."""
    operands = leaves(op)
    expected = gradients(op(operands), operands)
    packed: list[torch.Tensor] = []

    def pack(t: torch.Tensor) -> int:
        packed.append(t.detach().T.contiguous())
        return len(packed) - 1

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda place: packed[place].T):
        y = op(operands)
    assert len(packed) == len(operands)
    for got, wanted in zip(gradients(y, operands), expected, strict=True):
        torch.testing.assert_close(got, wanted)


@every_op
def test_a_saved_input_that_changed_is_an_error(op: Op) -> None:
    operands = leaves(op)
    changed = operands["b_q" if op.optional else "v"].clone()
    y = op(operands | {"b_q" if op.optional else "v": changed})
    changed.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def with_more_rows(t: torch.Tensor) -> torch.Tensor:
    return t.repeat(100, 1)


@every_op
@pytest.mark.parametrize("convert", [torch.Tensor.double, torch.Tensor.half, with_more_rows])
@pytest.mark.parametrize("which", [slice(None), slice(1), slice(1, None)], ids=str)
def test_an_input_whose_memory_was_replaced_is_an_error(op: Op, convert: Any, which: slice) -> None:
    """As by `layer.double()` after the forward, which autograd does not notice."""
    operands = leaves(op)
    y = op(operands)
    for t in list(operands.values())[which]:
        t.data = convert(t.data)
    with pytest.raises(ValueError, match="must not change between forward and backward"):
        y.backward(torch.ones(3, 7))


@every_op
def test_a_mask_that_was_replaced_is_an_error(op: Op) -> None:
    mask = torch.zeros(7, requires_grad=True)
    y = op(leaves(op), mask=mask)
    mask.data = torch.zeros(2, 3, 7)
    with pytest.raises(ValueError, match=r"mask: .* must not change between"):
        y.backward(torch.ones(3, 7))


@every_op
def test_a_graph_is_used_once_unless_it_is_kept(op: Op) -> None:
    operands = leaves(op)
    y = op(operands)
    first, second = (
        torch.autograd.grad(y.sum(), operands["v" if not op.optional else "x"], retain_graph=again)
        for again in (True, False)
    )
    assert torch.equal(*first, *second)
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()


@every_op
def test_gradients_of_some_operands(op: Op) -> None:
    operands = leaves(op)
    expected = dict(zip(operands, gradients(op(operands), operands), strict=True))
    for name in operands:
        some = {n: t if n == name else t.detach() for n, t in operands.items()}
        (got,) = gradients(op(some), {name: operands[name]})
        assert torch.equal(got, expected[name])


@every_op
def test_what_is_asked_for_decides_what_comes(op: Op) -> None:
    operands = leaves(op)
    y = op(operands)
    with torch.no_grad():
        plain, weights = op(operands, return_weights=True)
    assert (y.requires_grad, plain.requires_grad, weights.requires_grad) == (True, False, False)
    assert torch.equal(y, plain)
    assert y.grad_fn is not None
    pair = op(operands, return_weights=True)
    assert [t.requires_grad for t in pair] == [True, True]
    torch.testing.assert_close(pair[1].sum(-1), torch.ones(3))
