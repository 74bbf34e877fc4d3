"""What Python can reach reads and writes nothing beyond an array, and never ends the interpreter.

What used to crash runs in a process of its own, so that a crash is a failure like another.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from tests.registry import ALONG_SLICES, OPS, Op

import ewa_rs.nn  # noqa: F401  every op is registered
from ewa_rs import _core

every_op = pytest.mark.parametrize("op", OPS.values(), ids=OPS)
along_slices = pytest.mark.parametrize("op", ALONG_SLICES.values(), ids=ALONG_SLICES)


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    return done.stdout.strip()


def inputs_of(op: Op, shape: tuple[int, ...] = (3, 7)) -> list[Any]:
    """One tensor for each input, and no mask."""
    if not op.has("axes"):
        return [torch.randn(2, *shape), torch.randn(2)]
    count = len(op.definition.operands)
    return [*(torch.randn(shape) for _ in range(count)), None]


def settings_of(op: Op) -> tuple[Any, ...]:
    return ([1], None, False) if op.has("axes") else ([], [])


def forward(op: Op, inputs: list[Any]) -> Any:
    requests = [True] * len(op.definition.requests)
    return getattr(_core, f"{op.name}_forward")(inputs, *settings_of(op), *requests)


def backward(op: Op, inputs: list[Any], *rest: Any) -> Any:
    return getattr(_core, f"{op.name}_backward")(inputs, *settings_of(op), *rest)


# A gradient of a mask of bytes


@along_slices
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_boolean_mask_has_no_gradient(op: Op, device: str) -> None:
    inputs = [t for t in inputs_of(op) if t is not None]
    inputs.append(torch.ones(3, 7, dtype=torch.bool))
    inputs = [t.to(device) for t in inputs]
    registered = getattr(torch.ops.ewa_rs, op.name)
    y, a, statistics = registered(*inputs, *settings_of(op), True)
    wanted = [True] * len(inputs)
    function = getattr(torch.ops.ewa_rs, f"{op.name}_backward")
    with pytest.raises(ValueError, match=r"^wanted: expected False for mask, .* got True"):
        function(*inputs, *settings_of(op), y, a, statistics, wanted)
    wanted[-1] = False
    assert len(function(*inputs, *settings_of(op), y, a, statistics, wanted)) == len(inputs) - 1


@along_slices
def test_a_boolean_mask_has_no_gradient_in_an_eager_call(op: Op) -> None:
    tensors = [t.requires_grad_() for t in inputs_of(op) if t is not None]
    names = (*op.operands, *op.optional)
    mask = torch.ones(3, 7, dtype=torch.bool)
    y = op(dict(zip(names, tensors, strict=True)), mask=mask)
    wanted = (True,) * (len(tensors) + 1)
    with torch.no_grad(), pytest.raises(ValueError, match=r"^wanted: expected False for mask"):
        y.grad_fn.call.backward((*tensors, mask), wanted, torch.ones(3, 7), None)


@every_op
def test_wanted_has_one_value_an_input(op: Op) -> None:
    inputs = inputs_of(op)
    outputs = forward(op, inputs)
    grads = outputs if op.has("axes") else outputs[:1]
    for wanted in ([], [True], [True] * 9):
        with pytest.raises((ValueError, TypeError), match=r"wanted|expected"):
            backward(op, inputs, *grads, wanted)


# What is not there, or is no tensor


@every_op
def test_none_in_place_of_a_tensor(op: Op) -> None:
    inputs = inputs_of(op)
    outputs = forward(op, inputs)
    grads = list(outputs) if op.has("axes") else [outputs[0]]
    wanted = [t is not None for t in inputs]
    for i in range(len(op.operands)):
        missing = [None if i == j else t for j, t in enumerate(inputs)]
        with pytest.raises((TypeError, ValueError), match=r"(None|NoneType)"):
            forward(op, missing)
        with pytest.raises((TypeError, ValueError), match=r"(None|NoneType)"):
            backward(op, missing, *grads, wanted)
    for i in range(len(grads)):
        if i == 1:  # the gradient of the weights may be absent
            continue
        missing = [None if i == j else t for j, t in enumerate(grads)]
        with pytest.raises(TypeError, match="NoneType"):
            backward(op, inputs, *missing, wanted)


class Pretender:
    """Says of itself what a tensor says."""

    dtype, shape, is_cpu = torch.float32, (3, 7), True

    def stride(self) -> tuple[int, int]:
        return (7, 1)

    def data_ptr(self) -> int:
        return 8

    def is_neg(self) -> bool:
        return False


@every_op
def test_only_tensors_are_looked_into(op: Op) -> None:
    for wrong in (Pretender(), np.ones((3, 7), np.float32), 1.0):
        with pytest.raises(TypeError, match=r"expected a torch\.Tensor"):
            forward(op, [wrong, *inputs_of(op)[1:]])


@every_op
def test_results_and_gradients_of_another_shape_are_refused(op: Op) -> None:
    inputs = inputs_of(op)
    grads = list(forward(op, inputs))
    wanted = [t is not None for t in inputs]
    for i, grad in enumerate(grads):
        for wrong in (grad[..., :0], grad.double(), grad[None]):
            given = [wrong if i == j else t for j, t in enumerate(grads)]
            with pytest.raises(ValueError, match="expected shape"):
                backward(op, inputs, *given, wanted)


@every_op
def test_negated_views_are_refused(op: Op) -> None:
    inputs = inputs_of(op)
    negated = torch.complex(inputs[0], -inputs[0]).conj().imag
    assert negated.is_neg()
    with pytest.raises(ValueError, match="resolve_neg"):
        forward(op, [negated, *inputs[1:]])
    resolved = forward(op, [negated.resolve_neg(), *inputs[1:]])
    torch.testing.assert_close(resolved, forward(op, inputs))
    registered = getattr(torch.ops.ewa_rs, op.name)
    requests = [True] * len(op.definition.requests)
    y = registered(negated, *inputs[1:], *settings_of(op), *requests)
    torch.testing.assert_close(y if isinstance(y, torch.Tensor) else y[0], resolved[0])


@every_op
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.uint8, torch.complex64])
def test_tensors_that_are_not_floats(op: Op, dtype: torch.dtype) -> None:
    inputs = [t if t is None else torch.ones_like(t, dtype=dtype) for t in inputs_of(op)]
    requests = [False] * len(op.definition.requests)
    name = op.definition.names[0]
    for registered in (getattr(torch.ops.ewa_rs, op.name), lambda *a: forward(op, inputs)):
        with pytest.raises(TypeError, match=rf"^{name}: expected float16, .* got"):
            registered(*inputs, *settings_of(op), *requests)
    on_meta = [t if t is None else t.to("meta") for t in inputs]
    with pytest.raises(TypeError, match=rf"^{name}: expected float16, .* got"):
        getattr(torch.ops.ewa_rs, op.name)(*on_meta, *settings_of(op), *requests)


# Calls of autograd by hand


@along_slices
def test_the_forward_of_a_call_looks_at_its_inputs_again(op: Op) -> None:
    tensors = [t.requires_grad_() for t in inputs_of(op, (40, 50)) if t is not None]
    y = op(dict(zip((*op.operands, *op.optional), tensors, strict=True)))
    call = y.grad_fn.call
    assert torch.equal(call.forward((*tensors, None))[0], y)
    for wrong in (
        [t[:1, :1] for t in tensors],
        [t.double() for t in tensors],
        [t[0] for t in tensors],
    ):
        with pytest.raises(ValueError, match=r"^inputs: expected"):
            call.forward((*wrong, None))
    with pytest.raises(ValueError, match=r"^inputs: expected \d in a tuple"):
        call.forward(tuple(tensors))
    with pytest.raises(ValueError, match=r"^mask: "):
        call.forward((*tensors, torch.zeros(2, 40, 50)))
    with pytest.raises(TypeError, match="got None"):
        call.forward((None,) * (len(tensors) + 1))


BEFORE = """
import torch
import ewa_rs.nn  # noqa: F401  every op is registered
from ewa_rs import _core
q = torch.randn(3, 7, requires_grad=True)
call = _core.elementwise_attention_eager((q, q, q), None, -1, None, False, False, None)
for use in (
    lambda: call.backward((q, q, q, None), (True,) * 4, torch.ones(3, 7), None),
    call.statistics,
):
    try:
        with torch.no_grad():
            use()
    except ValueError as error:
        print(error)
"""


def test_a_backward_before_its_forward_is_an_error() -> None:
    expected = "backward: expected a call after forward, got one before it"
    assert run(BEFORE).splitlines() == [expected] * 2


# Other code that runs meanwhile

INDEX = """
import numpy as np, torch, ewa_rs
{made}
class Index:
    def __index__(self):
        {change}
        return -1
try:
    y = ewa_rs.elementwise_attention(q, k, k, axis=Index())
    print(tuple(y.shape))
except (RuntimeError, TypeError, ValueError) as error:
    print(str(error).partition(":")[0])
"""
ARRAYS = "q = np.ones((2, 300_000), 'f4'); k = np.ones((1, 1), 'f4')"
TENSORS = "q = torch.ones(2, 300_000); k = torch.ones(1, 1)"


@pytest.mark.parametrize(
    ("made", "change"),
    [
        (ARRAYS, "q.resize((2, 3), refcheck=False)"),
        (ARRAYS, "q.resize((2, 3_000_000), refcheck=False)"),
        (TENSORS, "q.data = torch.ones(2, 3)"),
        (TENSORS, "q.resize_(2, 3_000_000)"),
        (TENSORS, "q.untyped_storage().resize_(0)"),
    ],
)
def test_an_axis_that_changes_an_operand(made: str, change: str) -> None:
    assert run(INDEX.format(made=made, change=change)) in ("(2, 3)", "(2, 3000000)", "q")


SWAPPED = """
import threading, torch, ewa_rs
torch.manual_seed(0)
{made}
stop, refused = False, 0
def swap():
    while not stop:
        for t in tensors:
            t.data = torch.ones({shape})
threads = [threading.Thread(target=swap) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range({calls}):
    try:
        y = {call}
        {then}
    except (RuntimeError, ValueError) as error:
        refused += 1
stop = True
for thread in threads:
    thread.join()
print("alive")
"""
PAIR = "tensors = [torch.ones({shape}, requires_grad={grad}) for _ in range(3)]"


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(("shape", "calls"), [("8, 16", 3000), ("200, 4000", 60)])
def test_threads_that_give_operands_other_memory(shape: str, calls: int, grad: bool) -> None:
    script = SWAPPED.format(
        made=PAIR.format(shape=shape, grad=grad),
        shape=shape,
        calls=calls,
        call="ewa_rs.elementwise_attention(*tensors)",
        then="y.sum().backward()" if grad else "",
    )
    assert run(script) == "alive"


def test_threads_that_give_images_other_memory() -> None:
    script = SWAPPED.format(
        made="tensors = [torch.ones(8, 16, 64, 64), torch.ones(16)]",
        shape="(8, 16, 64, 64) if t.ndim == 4 else (16,)",
        calls=100,
        call="ewa_rs.elementwise_attention_pool2d(*tensors, kernel_size=2)",
        then="",
    )
    assert run(script) == "alive"


# Arrays with a mask of their own


@every_op
def test_masked_arrays_are_refused(op: Op) -> None:
    arrays = {
        name: np.asarray(t) for name, t in zip(op.definition.operands, inputs_of(op), strict=False)
    }
    for name, array in arrays.items():
        masked = np.ma.masked_less(array, 0)
        with pytest.raises(TypeError, match=rf"^{name}: .*MaskedArray; {name}\.filled"):
            op(arrays | {name: masked})
    if op.has("axes"):
        mask = np.ma.array(np.ones((3, 7), bool), mask=np.eye(3, 7))
        with pytest.raises(TypeError, match=r"^mask: .*MaskedArray; mask\.filled"):
            op(arrays, mask=mask)
        with pytest.raises(TypeError, match=r"^out: .*MaskedArray; out\.filled"):
            op(arrays, out=np.ma.array(np.zeros((3, 7), np.float32)))
