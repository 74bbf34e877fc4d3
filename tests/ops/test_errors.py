"""What an op refuses: the message names the argument, what it was and what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.checks import BACKENDS, to_torch
from tests.registry import ALONG_SLICES, Op

from ewa_rs import (
    elementwise_attention,
    elementwise_attention_pool2d,
    elementwise_self_attention,
)

every_op = pytest.mark.parametrize("op", ALONG_SLICES.values(), ids=ALONG_SLICES)
every_kind = pytest.mark.parametrize("kind", ["numpy", "torch"])


def operands(op: Op, kind: str, shape: tuple[int, ...] = (2, 3)) -> dict[str, Any]:
    arrays = {n: np.ones(shape, np.float32) for n in (*op.operands, *op.optional)}
    if kind == "numpy":
        return arrays
    return {n: torch.from_numpy(x) for n, x in arrays.items()}


@every_op
@every_kind
@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "bool", "complex64"])
def test_dtypes_that_are_not_floats(op: Op, kind: str, dtype: str) -> None:
    for name, x in operands(op, kind).items():
        wrong = x.astype(dtype) if kind == "numpy" else x.to(getattr(torch, dtype))
        with pytest.raises(TypeError, match=rf"^{name}: .*float.*got {dtype}.*cast"):
            op(operands(op, kind) | {name: wrong})


@pytest.mark.parametrize("wrong", [[1, 2], ["a", "b"], [None, 1.0], [[1.0], [1.0, 2.0]], object()])
def test_array_likes_that_are_not_floats(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^k: "):
        elementwise_attention([1.0, 2.0], wrong, [1.0, 2.0])


@every_op
@every_kind
def test_an_operand_that_is_missing(op: Op, kind: str) -> None:
    for name in op.operands:
        wanted = "an array" if kind == "numpy" else "a tensor"
        with pytest.raises(TypeError, match=f"^{name}: expected {wanted}, got None"):
            op(operands(op, kind) | {name: None})


@pytest.mark.parametrize("make", [np.ones, torch.ones])
def test_an_operand_of_the_pooling_that_is_missing(make: Any) -> None:
    x, w = make((3, 4, 4)), make(3)
    with pytest.raises(TypeError, match=r"^x: expected an? (array|tensor), got None"):
        elementwise_attention_pool2d(None, w)
    with pytest.raises(TypeError, match=r"^w: expected an? (array|tensor), got None"):
        elementwise_attention_pool2d(x, None)


@every_op
def test_numpy_and_torch_mixed(op: Op) -> None:
    for name in operands(op, "numpy"):
        mixed = operands(op, "numpy") | {name: torch.ones(2, 3)}
        with pytest.raises(TypeError, match=rf"{name} torch.Tensor.*(NumPy|ndarray)"):
            op(mixed)
    for option in ("mask", "out"):
        with pytest.raises(TypeError, match=rf"{option}:? .*torch.Tensor"):
            op(operands(op, "numpy"), **{option: torch.ones(2, 3)})
        with pytest.raises(TypeError, match=rf"{option}:? .*numpy.ndarray"):
            op(operands(op, "torch"), **{option: np.ones((2, 3), np.float32)})


@every_op
@every_kind
def test_shapes_that_do_not_broadcast(op: Op, kind: str) -> None:
    for name in op.operands:
        wrong = operands(op, kind, (2, 4))[name]
        with pytest.raises(ValueError, match=rf"{name} \(2, 4\)"):
            op(operands(op, kind) | {name: wrong})


@every_op
@every_kind
@pytest.mark.parametrize(
    ("axis", "error"),
    [
        (2, ValueError),
        (-3, ValueError),
        ((0, 0), ValueError),
        ((0, -2), ValueError),
        ((), ValueError),
        (1.0, TypeError),
        ("0", TypeError),
        (None, TypeError),
        ((0, 1.0), TypeError),
        (2**70, (ValueError, TypeError)),
    ],
    ids=str,
)
def test_axes(op: Op, kind: str, axis: Any, error: Any) -> None:
    with pytest.raises(error, match="axis"):
        op(operands(op, kind), axis=axis)


@every_op
@every_kind
def test_zero_dimensions_have_no_axis(op: Op, kind: str) -> None:
    with pytest.raises(ValueError, match="axis"):
        op(operands(op, kind, ()))


@every_op
@every_kind
@pytest.mark.parametrize("shape", [(3, 3), (4, 2, 3), (1, 2, 3), (2, 4), (2,)])
@pytest.mark.parametrize("dtype", ["bool", "float32"])
def test_a_mask_may_not_enlarge_the_result(
    op: Op, kind: str, shape: tuple[int, ...], dtype: str
) -> None:
    mask: Any = np.ones(shape, dtype)
    if kind == "torch":
        mask = to_torch(mask, "float32")
    with pytest.raises(ValueError, match=r"^mask: .*\(2, 3\)"):
        op(operands(op, kind), mask=mask)


@every_op
@every_kind
def test_a_softmax_axis_is_never_that_of_the_mask_alone(op: Op, kind: str) -> None:
    """Length 1 in every operand: the mask cannot give the axis its length."""
    mask: Any = np.ones((2, 3), bool)
    mask = mask if kind == "numpy" else torch.from_numpy(mask)
    with pytest.raises(ValueError, match=r"^mask: "):
        op(operands(op, kind, (2, 1)), mask=mask)


@every_op
@every_kind
@pytest.mark.parametrize("dtype", ["int64", "uint8", "complex64"])
def test_a_mask_is_boolean_or_float(op: Op, kind: str, dtype: str) -> None:
    mask: Any = np.ones((2, 3), dtype)
    mask = mask if kind == "numpy" else torch.from_numpy(mask)
    with pytest.raises(TypeError, match=rf"^mask: .*bool.*got {dtype}"):
        op(operands(op, kind), mask=mask)


@every_op
@every_kind
@pytest.mark.parametrize("scale", ["1", [1.0], 1j])
def test_a_scale_is_a_number(op: Op, kind: str, scale: Any) -> None:
    with pytest.raises(TypeError, match="scale"):
        op(operands(op, kind), scale=scale)


@every_op
def test_a_scale_gets_no_gradient(op: Op) -> None:
    assert op(operands(op, "torch"), scale=torch.tensor(2.0)).shape == (2, 3)
    with pytest.raises(TypeError, match="scale: expected a number, got a tensor that requires"):
        op(operands(op, "torch"), scale=torch.tensor(2.0, requires_grad=True))


@every_op
@every_kind
def test_backends(op: Op, kind: str) -> None:
    with pytest.raises(ValueError, match=r"^backend: .*'rust'.*'cuda'"):
        op(operands(op, kind), backend="cuda")
    with pytest.raises(ValueError, match=r"^backend: .*'torch'"):
        op(operands(op, "numpy"), backend="torch")


@every_op
def test_the_rust_backend_takes_tensors_of_the_cpu(op: Op) -> None:
    on_meta = {n: x.to("meta") for n, x in operands(op, "torch").items()}
    with pytest.raises(ValueError, match=r"^backend: 'rust'.*meta"):
        op(on_meta, backend="rust")
    assert op(on_meta, backend="torch").shape == (2, 3)


@every_op
@pytest.mark.parametrize("backend", BACKENDS)
def test_tensors_on_two_devices(op: Op, backend: str) -> None:
    for name in op.operands[1:]:
        mixed = operands(op, "torch")
        mixed[name] = mixed[name].to("meta")
        with pytest.raises(ValueError, match=rf"{name} on meta"):
            op(mixed, backend=backend)


@every_op
def test_sparse_tensors_are_refused_or_right(op: Op) -> None:
    for name in op.operands:
        mixed = operands(op, "torch")
        mixed[name] = mixed[name].to_sparse()
        with pytest.raises((TypeError, ValueError, NotImplementedError, RuntimeError)):
            op(mixed, backend="rust")


def test_options_are_given_by_name() -> None:
    with pytest.raises(TypeError):
        elementwise_attention(*[np.ones(3)] * 3, -1)  # type: ignore[misc]
    with pytest.raises(TypeError):
        elementwise_self_attention(*[np.ones(3)] * 4, -1)  # type: ignore[misc]
