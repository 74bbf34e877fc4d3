"""Derivatives of every kind and vmap, against the same on dot-product attention in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.registry import ALONG_SLICES, Op
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap

every_op = pytest.mark.parametrize("op", ALONG_SLICES.values(), ids=ALONG_SLICES)
TRANSFORMS: dict[str, Callable[..., Any]] = {
    "grad": lambda f: grad(f, (0, 1, 2)),
    "jacrev": lambda f: jacrev(f, (0, 1)),
    "jacfwd": lambda f: jacfwd(f, (0, 2)),
    "hessian": lambda f: hessian(f, (0, 1)),
    "jacrev of jacrev": lambda f: jacrev(jacrev(f)),
    "jacrev of jacfwd": lambda f: jacrev(jacfwd(f, 1), 2),
    "grad of grad of grad": lambda f: jacrev(grad(lambda *a: grad(f)(*a).sin().sum())),
}


def tensors(op: Op, shape: tuple[int, ...] = (2, 3)) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(shape, dtype=torch.float64) for _ in op.operands)


def close(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def both(op: Op, **options: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The op and the reference, as functions to one number."""

    def scalar(function: Callable[..., Any]) -> Callable[..., Any]:
        def total(*values: torch.Tensor) -> torch.Tensor:
            y, a = function(*values, **options)
            result: torch.Tensor = y.sin().sum() + a.square().sum()
            return result

        return total

    ours = scalar(lambda *values, **named: op.function(*values, return_weights=True, **named))
    return ours, scalar(op.dot_product_reference)


@every_op
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("axis", [-1, 0])
def test_transforms(op: Op, transform: str, axis: int) -> None:
    ours, reference = both(op, axis=axis)
    values = tensors(op)
    close(TRANSFORMS[transform](ours)(*values), TRANSFORMS[transform](reference)(*values))


@every_op
def test_jvp(op: Op) -> None:
    values, tangents = tensors(op), tensors(op)

    def ours(*given: torch.Tensor) -> Any:
        return op.function(*given, return_weights=True)

    close(jvp(ours, values, tangents), jvp(op.dot_product_reference, values, tangents))


@every_op
@pytest.mark.parametrize("masked", ["no", "boolean", "additive"])
def test_gradcheck_of_every_mode(op: Op, masked: str) -> None:
    """Through the dispatcher: reverse, forward, batched, forward over reverse."""
    values = tuple(t.requires_grad_() for t in tensors(op, (2, 2)))
    absent = (None,) * len(op.optional)
    mask = {"no": None, "boolean": torch.tensor([True, False]), "additive": torch.randn(2).double()}
    registered = getattr(torch.ops.ewa_rs, op.name)

    def function(*given: torch.Tensor) -> Any:
        return registered(*given, *absent, mask[masked], [1], 0.7, False, True)[:2]

    assert torch.autograd.gradcheck(
        function, values, check_forward_ad=True, check_batched_grad=True
    )
    assert torch.autograd.gradgradcheck(function, values, check_fwd_over_rev=True)


@every_op
@pytest.mark.parametrize("batched", ["first", "last", "all"])
@pytest.mark.parametrize("dim", [0, 1])
def test_vmap(op: Op, batched: str, dim: int) -> None:
    """Against a loop, outputs and gradients; a batch of some of the operands, at any place."""
    values = list(tensors(op, (3, 4)))
    where = {"first": [0], "last": [len(values) - 1], "all": range(len(values))}[batched]
    for i in where:
        values[i] = torch.randn(5, 3, 4, dtype=torch.float64)
    dims = tuple(dim if i in where else None for i in range(len(values)))
    given = [t.movedim(0, dim) if d is not None else t for t, d in zip(values, dims, strict=True)]
    ours, _ = both(op, axis=0)
    every = tuple(range(len(values)))
    loop = [
        grad(ours, every)(*(t[n] if i in where else t for i, t in enumerate(values)))
        for n in range(5)
    ]
    close(
        vmap(grad(ours, every), dims)(*given),
        tuple(torch.stack(grads) for grads in zip(*loop, strict=True)),
    )
    summed = grad(lambda *v: vmap(ours, dims)(*v).sum(), every)(*given)
    for i, (got, grads) in enumerate(zip(summed, zip(*loop, strict=True), strict=True)):
        stacked = torch.stack(grads)
        close(got, stacked.movedim(0, dim) if i in where else stacked.sum(0))


@every_op
def test_vmap_of_operands_with_fewer_dimensions_and_of_the_mask_alone(op: Op) -> None:
    first, *others = tensors(op, (3, 4))
    rows = [torch.randn(5, 4, dtype=torch.float64) for _ in others]
    got = vmap(op.function, (None, *[0] * len(rows)))(first, *rows)
    close(got, torch.stack([op.function(first, *(t[n] for t in rows)) for n in range(5)]))
    masks = torch.rand(5, 3, 1) < 0.6
    got = vmap(lambda m: op.function(first, *others, mask=m))(masks)
    close(got, torch.stack([op.function(first, *others, mask=m) for m in masks]))


@every_op
def test_vmap_of_vmap(op: Op) -> None:
    values = tuple(torch.randn(2, 5, 4, dtype=torch.float64) for _ in op.operands)
    close(vmap(vmap(op.function))(*values), op.function(*values))


@every_op
def test_batched_gradients_of_autograd(op: Op) -> None:
    values = tuple(t.requires_grad_() for t in tensors(op))
    given = torch.randn(4, 2, 3, dtype=torch.float64)
    y = op.function(*values)
    got = torch.autograd.grad(y, values, given, is_grads_batched=True, retain_graph=True)
    loop = [torch.autograd.grad(y, values, g, retain_graph=True) for g in given]
    close(got, tuple(torch.stack(grads) for grads in zip(*loop, strict=True)))
