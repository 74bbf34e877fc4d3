"""What holds for every op, checked for each one in the registry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.checks import BACKENDS, check_op, to_torch
from tests.registry import ALONG_SLICES, OPS, Op
from tests.strategies import LAYOUTS, examples, lay_out, numbers, rounded
from tests.strategies import full_example as example

pytestmark = pytest.mark.usefixtures("poisoned_memory")
every_op = pytest.mark.parametrize("op", OPS.values(), ids=OPS)
along_slices = pytest.mark.parametrize("op", ALONG_SLICES.values(), ids=ALONG_SLICES)
every_backend = pytest.mark.parametrize("backend", BACKENDS)


@every_op
@given(data=st.data())
def test_whatever_is_drawn(op: Op, data: st.DataObject) -> None:
    check_op(op, data.draw(examples(op)))


@every_op
@given(data=st.data())
def test_infinities_and_nan(op: Op, data: st.DataObject) -> None:
    check_op(op, data.draw(examples(op, values=("special",))))


@every_op
@pytest.mark.parametrize("values", ["normal", "ties"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((2, 40_009), -1), ((40_009, 3), 0), ((150, 2, 150), (0, 2)), ((257, 129), (0, 1))],
    ids=str,
)
def test_long_slices(op: Op, shape: tuple[int, ...], axis: Any, values: str) -> None:
    """Too long for one pass in the cache, and long sums."""
    if not op.has("axes"):
        pytest.xfail("the sums over windows are added up one by one")
    drawn = example(op, shape, axis=axis)
    rng = np.random.default_rng(1)
    for name in op.operands:
        size = drawn.operands[name].shape
        drawn.operands[name] = rounded(numbers(rng, values, size, 1.0, "float32"), "float32")
    check_op(op, drawn)


@along_slices
def test_gradients_of_broadcast_operands_over_many_rows(op: Op) -> None:
    drawn = example(op, (3000, 17))
    others = op.operands[1:]
    for name in others:
        drawn.operands[name] = drawn.operands[name][0]
    check_op(op, drawn)


@along_slices
@pytest.mark.parametrize("layout", ["contiguous", "fortran", "reversed", "sliced", "transposed"])
def test_out_of_numpy(op: Op, layout: str) -> None:
    drawn = example(op, (3, 4, 33))
    expected = op(drawn.operands, return_weights=True)
    for weights in (False, True):
        out = lay_out(layout, np.zeros((3, 4, 33), "f4"))
        got = op(drawn.operands, out=out, return_weights=weights)
        assert (got[0] if weights else got) is out
        np.testing.assert_allclose(out, expected[0], rtol=1e-6)  # sums in another order
        if weights:
            np.testing.assert_allclose(got[1], expected[1], rtol=1e-6)


@along_slices
@every_backend
@pytest.mark.parametrize("layout", LAYOUTS)
def test_out_of_torch(op: Op, backend: str, layout: str) -> None:
    drawn = example(op, (3, 4, 33))
    tensors = {n: to_torch(x, "float32") for n, x in drawn.operands.items()}
    out = to_torch(lay_out(layout, np.zeros((3, 4, 33), "f4")), "float32")
    assert op(tensors, out=out, backend=backend) is out
    torch.testing.assert_close(out, op(tensors, backend=backend), rtol=1e-6, atol=0)


@along_slices
@pytest.mark.parametrize("axis", [-1, 0, (0, 1)])
def test_out_may_be_any_operand_of_its_shape(op: Op, axis: Any) -> None:
    drawn = example(op, (40, 33), axis=axis)
    expected = op(drawn.operands, axis=axis)
    for name in drawn.operands:
        copies = {n: x.copy() for n, x in drawn.operands.items()}
        right_or_refused(op, copies, axis, copies[name], expected)


@along_slices
@pytest.mark.parametrize("shift", [(1, 0), (0, 1), (3, 2)])
def test_out_that_overlaps_an_operand(op: Op, shift: tuple[int, int]) -> None:
    drawn = example(op, (40, 33))
    expected = op(drawn.operands)
    for name in drawn.operands:
        memory = np.zeros((44, 36), "f4")
        operands = dict(drawn.operands) | {name: memory[:40, :33]}
        operands[name][...] = drawn.operands[name]
        down, right = shift
        right_or_refused(op, operands, -1, memory[down : 40 + down, right : 33 + right], expected)


@along_slices
def test_out_that_is_an_operand_in_another_order(op: Op) -> None:
    drawn = example(op, (33, 33))
    expected = op(drawn.operands)
    for name in drawn.operands:
        for view in (np.transpose, np.flipud, np.fliplr):
            operands = {n: x.copy() for n, x in drawn.operands.items()}
            right_or_refused(op, operands, -1, view(operands[name]), expected)


@along_slices
@pytest.mark.parametrize("strides", [(4, 4), (0, 4), (-4, 4), (264, 8)], ids=str)
def test_out_whose_elements_share_memory(op: Op, strides: tuple[int, int]) -> None:
    drawn = example(op, (40, 33))
    memory = np.zeros(41 * 66, "f4")[40:]
    out = np.lib.stride_tricks.as_strided(memory, (40, 33), strides)
    if strides == (264, 8):  # these do not
        op(drawn.operands, out=out)
        np.testing.assert_array_equal(out, op(drawn.operands))
    else:
        with pytest.raises(ValueError, match="elements are all distinct"):
            op(drawn.operands, out=out)


def right_or_refused(op: Op, operands: dict[str, Any], axis: Any, out: Any, expected: Any) -> None:
    try:
        op(operands, axis=axis, out=out)
    except ValueError as error:
        assert "out" in str(error)
    else:
        np.testing.assert_allclose(out, expected, rtol=1e-6)


@along_slices
def test_out_of_torch_that_overlaps(op: Op) -> None:
    drawn = example(op, (40, 33))
    for backend in BACKENDS:
        expected = op({n: to_torch(x, "float32") for n, x in drawn.operands.items()})
        for name in drawn.operands:
            tensors = {n: to_torch(x, "float32") for n, x in drawn.operands.items()}
            op(tensors, out=tensors[name], backend=backend)
            torch.testing.assert_close(tensors[name], expected)


@along_slices
@every_backend
def test_out_of_torch_that_shares_a_part_of_an_operand(op: Op, backend: str) -> None:
    drawn = example(op, (40, 33))
    expected = op({n: to_torch(x, "float32") for n, x in drawn.operands.items()}, backend=backend)
    for name in drawn.operands:
        tensors = {n: to_torch(x, "float32") for n, x in drawn.operands.items()}
        memory = torch.zeros(44, 36)
        tensors[name] = memory[:40, :33].copy_(tensors[name])
        torch.testing.assert_close(op(tensors, out=memory[3:43, 2:35], backend=backend), expected)


@along_slices
@every_backend
def test_autograd_hears_of_what_is_written_to_out(op: Op, backend: str) -> None:
    tensors = {n: to_torch(x, "float32") for n, x in example(op, (3, 33)).operands.items()}
    leaf, out = torch.ones(3, 33, requires_grad=True), torch.ones(3, 33)
    loss = (leaf * out).sum()
    op(tensors, out=out, backend=backend)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    with torch.inference_mode():
        mine = torch.empty(3, 33)
        torch.testing.assert_close(op(tensors, out=mine, backend=backend), out)


@along_slices
def test_an_out_that_does_not_fit_is_refused_and_left_alone(op: Op) -> None:
    operands = example(op, (3, 33)).operands
    readonly = np.zeros((3, 33), "f4")
    readonly.flags.writeable = False
    unaligned = lay_out("unaligned", np.zeros((3, 33), "f4"))
    for out, error in [
        (np.zeros((3, 32), "f4"), ValueError),
        (np.zeros((33,), "f4"), ValueError),
        (np.zeros((1, 3, 33), "f4"), ValueError),
        (np.zeros((3, 33), "f8"), TypeError),
        (np.zeros((3, 33), "i4"), TypeError),
        (readonly, ValueError),
        (unaligned, ValueError),
        (np.zeros((3, 33), "f4").tolist(), TypeError),
    ]:
        with pytest.raises(error, match="out"):
            op(operands, out=out)
        assert not np.any(out)


@along_slices
@every_backend
def test_an_out_of_torch_that_does_not_fit_is_refused(op: Op, backend: str) -> None:
    tensors = {n: torch.from_numpy(x) for n, x in example(op, (3, 33)).operands.items()}
    with pytest.raises(ValueError, match="out"):
        op(tensors, out=torch.zeros(3, 32), backend=backend)
    with pytest.raises(TypeError, match="out"):
        op(tensors, out=torch.zeros(3, 33).double(), backend=backend)
    tensors[op.operands[0]].requires_grad_()
    with pytest.raises((ValueError, RuntimeError), match="out"):
        op(tensors, out=torch.zeros(3, 33), backend=backend)


@every_op
@every_backend
def test_each_operand_alone_has_the_same_gradient(op: Op, backend: str) -> None:
    drawn = example(op, (5, 33))
    options: dict[str, Any] = {"backend": backend}
    if op.has("axes"):
        options["mask"] = torch.randn(5, 33)

    def gradients(names: list[str]) -> dict[str, torch.Tensor]:
        tensors = {n: torch.tensor(x) for n, x in drawn.operands.items()}
        leaves = [tensors[n].requires_grad_() for n in names]
        grads = torch.autograd.grad(op(tensors, **options).square().sum(), leaves)
        return dict(zip(names, grads, strict=True))

    together = gradients(list(drawn.operands))
    for name, grad in together.items():
        assert torch.equal(gradients([name])[name], grad), name


@along_slices
@every_backend
@pytest.mark.parametrize("used", ["output", "weights"])
def test_gradient_through_one_of_the_two_outputs(op: Op, backend: str, used: str) -> None:
    drawn = example(op, (5, 33))
    tensors = {n: torch.tensor(x).double().requires_grad_() for n, x in drawn.operands.items()}
    both = op(tensors, return_weights=True, backend=backend)
    exact = op.call(op.dot_product_reference, tensors)
    index = ["output", "weights"].index(used)
    given = torch.randn(5, 33, dtype=torch.float64)
    got, expected = (
        torch.autograd.grad(y[index], list(tensors.values()), given, materialize_grads=True)
        for y in (both, exact)
    )
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)


@every_op
@every_backend
def test_expanded_memory(op: Op, backend: str) -> None:
    """Strides of zero: of an operand, and of the gradient that sum() sends back."""
    drawn = example(op, (4, 3, 33))
    plain = {n: torch.tensor(x) for n, x in drawn.operands.items()}
    for name, t in plain.items():
        dense = plain | {name: t[:1].expand(t.shape).clone().requires_grad_()}
        expanded = plain | {name: t[:1].expand(t.shape).requires_grad_()}
        y = op(dense, backend=backend)
        y.backward(torch.ones_like(y))
        op(expanded, backend=backend).sum().backward()
        assert torch.equal(dense[name].grad, expanded[name].grad), name


@every_op
@every_backend
def test_gradgrad(op: Op, backend: str) -> None:
    tensors = {
        n: torch.tensor(x).double().requires_grad_()
        for n, x in example(op, (2, 5)).operands.items()
    }

    def function(*values: torch.Tensor) -> Any:
        named = dict(zip(tensors, values, strict=True))
        return op.outputs(named, backend=backend)

    assert torch.autograd.gradcheck(function, tuple(tensors.values()))
    assert torch.autograd.gradgradcheck(function, tuple(tensors.values()))
