"""Arguments with which a kernel would look beside their memory are refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.registry import OPS, Op

from ewa_rs import (
    _core,
    elementwise_attention,
    elementwise_attention_pool2d,
    elementwise_self_attention,
)

every_op = pytest.mark.parametrize("op", OPS.values(), ids=OPS)

# What follows it runs in a process of its own: it would not survive what is tested.
PRELUDE = """
import gc
import numpy as np
import torch
from ewa_rs import _core, elementwise_attention, elementwise_self_attention

def refused(call, *kinds):
    try:
        call()
    except kinds or (ValueError,) as error:
        print("refused:", error)
    else:
        raise SystemExit("not refused")

def eager(shape, **settings):
    leaves = tuple(torch.zeros(shape, requires_grad=True) for _ in range(3))
    return (*leaves, None), elementwise_attention(*leaves, **settings).grad_fn.call

class Axis:
    def __init__(self, then):
        self.then = then
    def __index__(self):
        self.then()
        return -1
"""


def run_alone(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def names(op: Op) -> tuple[str, ...]:
    return (*op.operands, *op.optional, "mask")


def tensors(op: Op, *shape: int) -> dict[str, Any]:
    """Inputs in the order of the registered op, of the type and shape of the first."""
    return {name: torch.randn(shape) for name in names(op)}


def forward_arguments(op: Op, *shape: int) -> list[Any]:
    kept = torch.empty(2, *shape[:-1], 1)
    outputs = [torch.empty(shape), torch.empty(shape), kept]
    return [list(tensors(op, *shape).values()), [len(shape) - 1], 1.0, False, outputs]


def backward_arguments(op: Op, *shape: int) -> list[Any]:
    arguments = forward_arguments(op, *shape)
    getattr(_core, f"{op.name}_forward")(*arguments)
    return [*arguments, [torch.empty(shape) for _ in arguments[0]]]


def attention(op: Op) -> tuple[Callable[..., None], Callable[..., None]]:
    return getattr(_core, f"{op.name}_forward"), getattr(_core, f"{op.name}_backward")


@every_op
def test_a_gradient_of_a_boolean_mask(op: Op) -> None:
    n = len(names(op))
    run_alone(f"""
inputs = [torch.zeros(64, 784) for _ in range({n})]
settings, saved = ([1], 1.0, False), (torch.zeros(64, 784), None, torch.zeros(2, 64, 1))
inputs[-1] = torch.ones(64, 784, dtype=torch.bool)
gradients = [torch.empty_like(t) for t in inputs]
refused(lambda: _core.{op.name}_backward(inputs, *settings, saved, gradients))
wanted = [True] * {n}
{op.name}(*inputs[:{len(op.operands)}])  # registers the op
refused(lambda: torch.ops.ewa_rs.{op.name}_backward(*inputs, *settings, *saved, wanted))
""")


def test_a_gradient_of_a_boolean_mask_in_an_eager_call() -> None:
    run_alone("""
inputs, call = eager((64, 784), mask=torch.ones(64, 784, dtype=torch.bool))
inputs = (*inputs[:3], torch.ones(64, 784, dtype=torch.bool))
with torch.no_grad():
    refused(lambda: call.backward(inputs, (True,) * 6, torch.zeros(64, 784), None))
""")


def test_an_eager_call_on_other_tensors() -> None:
    run_alone("""
inputs, call = eager((512, 784))
smaller = tuple(torch.zeros(1, 7) for _ in range(3))
refused(lambda: call.forward((*smaller, None)))
refused(lambda: call.forward((*inputs[:3], torch.zeros(3, 512, 784))))
refused(lambda: call.forward(()))
refused(lambda: call.forward((*inputs, *inputs)))
refused(lambda: call.forward(tuple(t.double() for t in inputs[:3])))
refused(lambda: call.forward(tuple(torch._neg_view(t.detach()) for t in inputs[:3])))
with torch.no_grad():
    refused(lambda: call.backward(inputs, (True,), torch.zeros(512, 784), None))
""")


def test_an_eager_call_without_a_forward() -> None:
    run_alone("""
leaves = tuple(torch.zeros(64, 784, requires_grad=True) for _ in range(3))
call = _core.elementwise_attention_eager(leaves, None, -1, None, False, False, False, None)
with torch.no_grad():
    refused(lambda: call.backward((*leaves, None), (True,) * 6, torch.zeros(64, 784), None))
refused(call.statistics)
""")


def test_an_eager_call_of_no_slices_has_a_backward() -> None:
    leaves = [torch.zeros(0, 8, requires_grad=True) for _ in range(3)]
    elementwise_attention(*leaves).sum().backward()
    assert all(t.grad is not None and t.grad.shape == (0, 8) for t in leaves)


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("name", OPS)
def test_results_that_are_missing(name: str, place: int) -> None:
    inputs = len(names(OPS[name]))
    run_alone(f"""
inputs = [torch.zeros(64, 784) for _ in range({inputs})]
def others():
    found = [torch.empty(64, 784), None, torch.zeros(2, 64, 1)]
    found[{place}] = None
    return found
settings = [1], 1.0, False
refused(lambda: _core.{name}_forward(inputs, *settings, others()))
gradients = [torch.empty(64, 784) for _ in inputs]
refused(lambda: _core.{name}_backward(inputs, *settings, others(), gradients))
""")


@every_op
def test_a_gradient_of_an_input_that_is_not_there(op: Op) -> None:
    given = backward_arguments(op, 4, 8)
    given[0][-1] = None
    with pytest.raises(ValueError, match="gradients: expected None for mask"):
        attention(op)[1](*given)


def shared(kind: str, like: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return a tensor whose elements share memory among themselves, or with another."""
    if kind == "expanded":
        return torch.zeros([1] * like.ndim).expand(like.shape)
    if kind == "windows":
        return torch.zeros(like.numel() + 8).as_strided(like.shape, [1] * like.ndim)
    return other.flatten()[: like.numel()].view(like.shape)


every_kind = pytest.mark.parametrize("kind", ["expanded", "windows", "another's"])


@every_op
@every_kind
def test_outputs_and_gradients_that_share_memory(op: Op, kind: str) -> None:
    forward, backward = attention(op)
    for place in range(3):
        given = forward_arguments(op, 4, 8)
        given[4][place] = shared(kind, given[4][place], given[4][0 if place else 1])
        with pytest.raises(ValueError, match="outputs: expected memory of its own"):
            forward(*given)
    for place in range(len(names(op))):
        given = backward_arguments(op, 4, 8)
        given[5][place] = shared(kind, given[5][place], given[0][place])
        with pytest.raises(ValueError, match="gradients: expected memory of its own"):
            backward(*given)


@every_kind
def test_outputs_and_gradients_of_the_pooling_that_share_memory(kind: str) -> None:
    forward = _core.elementwise_attention_pool2d_forward
    backward = _core.elementwise_attention_pool2d_backward
    x, w, y = torch.randn(3, 4, 4), torch.randn(3, 4, 4), torch.empty(3, 4, 4)
    out = shared(kind, y, w)
    with pytest.raises(ValueError, match="outputs: expected memory of its own"):
        forward((w, torch.randn(3)), (1, 1), (1, 1), out if kind != "another's" else out.mT)
    for gradients in (out, None), (None, out):
        with pytest.raises(ValueError, match="gradients: expected memory of its own"):
            backward((x, w), (4, 4), (4, 4), torch.randn(3, 1, 1), gradients)


@pytest.mark.parametrize("op", [elementwise_attention, elementwise_self_attention])
def test_an_out_that_is_read_only(op: Callable[..., Any]) -> None:
    operands = [np.ones((2, 3), np.float32) for _ in range(3 + (op is elementwise_self_attention))]
    out = np.zeros((2, 3), np.float32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out: expected a writeable"):
        op(*operands, out=out)
    assert not out.any()


@every_op
def test_tensors_with_the_negative_bit(op: Op) -> None:
    forward, backward = attention(op)
    for place in range(len(op.operands)):
        given = backward_arguments(op, 4, 8)
        given[0][place] = torch._neg_view(given[0][place])
        with pytest.raises(ValueError, match="negative bit"):
            forward(*given[:5])
        with pytest.raises(ValueError, match="negative bit"):
            backward(*given)
    given_names = tensors(op, 4, 8)
    mask = given_names.pop("mask")
    negative = {name: torch._neg_view(-t) for name, t in given_names.items()}
    found = op(negative, mask=torch._neg_view(-mask))
    assert torch.equal(found, op(given_names, mask=mask))


def test_tensors_of_the_pooling_with_the_negative_bit() -> None:
    x, w = torch.randn(3, 4, 4), torch.randn(3)
    with pytest.raises(ValueError, match="negative bit"):
        _core.elementwise_attention_pool2d_forward(
            (torch._neg_view(x), w), None, None, torch.empty(3, 1, 1)
        )


def test_a_conjugate_view_is_refused() -> None:
    x = torch.randn(4, 8, dtype=torch.complex64).conj()
    with pytest.raises((TypeError, ValueError), match="q"):
        elementwise_attention(x, x, x)


def test_a_pooling_of_booleans() -> None:
    x, w = torch.ones(3, 4, 4, dtype=torch.bool), torch.ones(3, dtype=torch.bool)
    y = torch.ones(3, 1, 1, dtype=torch.bool)
    with pytest.raises(TypeError, match="x: expected floats"):
        _core.elementwise_attention_pool2d_forward((x, w), None, None, y)
    with pytest.raises(TypeError, match="x: expected floats"):
        _core.elementwise_attention_pool2d_backward((x, w), None, None, y, (None, None))


def test_what_only_looks_like_a_tensor() -> None:
    run_alone("""
class Lie:
    dtype, shape = torch.float32, (64, 784)
    data_ptr = lambda self: 8
    stride = lambda self: (784, 1)
    is_neg = lambda self: False
    untyped_storage = lambda self: None

inputs = [Lie(), torch.zeros(64, 784), torch.zeros(64, 784), None]
outputs = [torch.zeros(64, 784), None, torch.zeros(2, 64, 1)]
refused(lambda: _core.elementwise_attention_forward(inputs, [1], 1.0, False, outputs), TypeError)
""")


def test_an_axis_that_frees_an_array() -> None:
    run_alone("""
q, k, v = (np.ones((512, 784), np.float32) for _ in range(3))
refused(lambda: elementwise_attention(q, k, v, axis=Axis(lambda: q.resize((1, 7), refcheck=False))))
refused(lambda: elementwise_attention(
    np.ones((512, 784), np.float32), k, v, axis=Axis(lambda: k.resize((9, 7, 3), refcheck=False))
))
""")


def test_an_axis_that_frees_an_out() -> None:
    run_alone("""
q, k, v, out = (np.ones((512, 784), np.float32) for _ in range(4))
refused(lambda: elementwise_attention(
    q, k, v, axis=Axis(lambda: out.resize((1, 7), refcheck=False)), out=out
))
""")


@pytest.mark.parametrize("keep", [False, True])
def test_an_axis_that_frees_a_tensor(keep: bool) -> None:
    run_alone(f"""
q, k, v = (torch.zeros(512, 784, requires_grad={keep}) for _ in range(3))
def free():
    q.data = torch.zeros(1, 7)
    k.data = torch.zeros(2, 7)
    gc.collect()
refused(lambda: elementwise_attention(q, k, v, axis=Axis(free)))
""")


def test_an_axis_that_enlarges_a_tensor_is_that_of_the_new_shape() -> None:
    class Axis:
        def __index__(self) -> int:
            q.data = larger
            return -1

    larger, k = torch.randn(32, 784), torch.randn(784)
    q = torch.randn(784)
    axis: Any = Axis()
    y = elementwise_attention(q, k, k, axis=axis)
    assert torch.equal(y, elementwise_attention(larger, k, k))


def test_another_thread_that_replaces_the_memory_of_a_tensor() -> None:
    """A call sees one memory or the other, never one that has been given back."""
    run_alone("""
import threading
stop = threading.Event()
q, k = torch.ones(256, 1024), torch.zeros(256, 1024)

def replace():
    while not stop.is_set():
        q.data = torch.ones(256, 1024)
        torch.full((256, 1024), 7.0)  # what has just been given back

thread = threading.Thread(target=replace)
thread.start()
try:
    results = [elementwise_attention(k, k, q) for _ in range(20)]
finally:
    stop.set()
    thread.join()
assert all(torch.allclose(y, torch.full_like(q, 1 / 1024)) for y in results)
""")


def masked() -> Any:
    return np.ma.masked_greater(np.ones((3, 4, 4), np.float32), 2.0)


@every_op
def test_masked_arrays(op: Op) -> None:
    for name in names(op):
        operands = {n: np.ones((3, 4, 4), np.float32) for n in names(op)}
        message = rf"^{name}: .*MaskedArray; pass {name}\.filled.*mask=~"
        mask = {"mask": (operands | {name: masked()}).pop("mask")}
        with pytest.raises(TypeError, match=message):
            op(operands | {name: masked()}, **mask)
    with pytest.raises(TypeError, match=r"^out: .*MaskedArray"):
        op(operands, out=masked())


def test_masked_arrays_of_the_pooling() -> None:
    x, w = np.ones((3, 4, 4), np.float32), np.ones(3, np.float32)
    with pytest.raises(TypeError, match=r"^x: .*MaskedArray; pass x\.filled"):
        elementwise_attention_pool2d(masked(), w)
    with pytest.raises(TypeError, match=r"^w: .*MaskedArray; pass w\.filled"):
        elementwise_attention_pool2d(x, np.ma.masked_array(w))


def test_other_subclasses_of_arrays() -> None:
    class Own(np.ndarray[Any, Any]):
        pass

    x = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    y = elementwise_attention(x.view(Own), x.view(Own), x.view(Own))
    assert np.array_equal(np.asarray(y), elementwise_attention(x, x, x))


def test_streams_of_objects() -> None:
    with pytest.raises(ValueError, match="without objects"):
        _core.stream([], [np.array([None] * 64, object)])
