"""The registered ops: opcheck, tensors without data, modes, memory formats, autocast, backends."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from tests.registry import ALONG_SLICES, Op
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import ewa_rs
from ewa_rs.nn import ElementwiseSelfAttention

every_op = pytest.mark.parametrize("op", ALONG_SLICES.values(), ids=ALONG_SLICES)
SHAPES = {
    "rows": ((3, 5), [1], {}),
    "columns": ((3, 5), [0], {}),
    "all": ((2, 3, 4), [0, 2], {}),
    "broadcast": ((2, 3, 4), [1], {"last": (3, 1)}),
    "empty": ((0, 5), [1], {}),
}


def drawn(
    op: Op, shape: tuple[int, ...] = (3, 5), dtype: torch.dtype = torch.float32, grad: bool = False
) -> dict[str, torch.Tensor]:
    return {
        n: torch.randn(shape, dtype=dtype, requires_grad=grad) for n in (*op.operands, *op.optional)
    }


@every_op
@pytest.mark.parametrize("case", SHAPES)
@pytest.mark.parametrize("mask", ["none", "boolean", "additive"])
def test_opcheck(op: Op, case: str, mask: str) -> None:
    shape, axes, smaller = SHAPES[case]
    grad = mask != "boolean"
    inputs: list[Any] = list(drawn(op, shape, grad=grad).values())
    inputs[-1] = torch.randn(smaller.get("last", shape), requires_grad=grad)
    masks = {"none": None, "boolean": torch.rand(shape) < 0.7, "additive": torch.randn(shape)}
    inputs.append(masks[mask])
    registered = getattr(torch.ops.ewa_rs, op.name).default
    backward = getattr(torch.ops.ewa_rs, f"{op.name}_backward").default
    arguments = (*inputs, axes, None, False, mask != "boolean")
    torch.library.opcheck(registered, arguments)
    _, _, statistics = registered(*arguments)
    wanted = [n % 2 == 0 for n in range(len(inputs) - 1)] + [mask == "additive"]
    grads = (torch.randn(shape), torch.randn(shape) if grad else None)
    torch.library.opcheck(
        backward, (*inputs, axes, 0.5, False, *grads, statistics.detach(), wanted)
    )


@every_op
def test_a_registered_op_checks_what_it_is_given(op: Op) -> None:
    registered = getattr(torch.ops.ewa_rs, op.name)
    inputs = [*drawn(op).values(), None]
    for position, wrong in ((1, torch.randn(3, 5).double()), (1, torch.randn(3, 4))):
        mixed = [wrong if i == position else t for i, t in enumerate(inputs)]
        with pytest.raises((TypeError, ValueError), match=op.operands[1]):
            registered(*mixed, [1], None, False, False)
    with pytest.raises(ValueError, match="axis"):
        registered(*inputs, [2], None, False, False)


@every_op
@pytest.mark.parametrize("kind", ["fake", "meta"])
def test_without_data(op: Op, kind: str) -> None:
    """Shape, type and strides are those that the kernels give."""
    operands = drawn(op, (2, 3, 4, 5), torch.bfloat16)
    operands = {n: t.to(memory_format=torch.channels_last) for n, t in operands.items()}
    expected = op(operands, axis=(1, 2), return_weights=True)
    if kind == "meta":
        given = {n: t.to("meta") for n, t in operands.items()}
        got = op(given, axis=(1, 2), return_weights=True)
    else:
        with FakeTensorMode() as mode:
            given = {n: mode.from_tensor(t) for n, t in operands.items()}
            got = op(given, axis=(1, 2), return_weights=True)
    for want, t in zip(expected, got, strict=True):
        assert (t.shape, t.dtype, t.stride()) == (want.shape, want.dtype, want.stride())


@every_op
def test_a_fake_tensor_has_no_backend_of_its_own(op: Op) -> None:
    with FakeTensorMode() as mode:
        operands = {n: mode.from_tensor(t.requires_grad_()) for n, t in drawn(op).items()}
        y = op(operands, backend="rust")
        grads = torch.autograd.grad(y.sum(), list(operands.values()))
    assert [g.shape for g in grads] == [t.shape for t in operands.values()]


@every_op
def test_modes_see_the_ops(op: Op) -> None:
    class Record(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    seen: list[Any] = []
    operands = drawn(op, grad=True)
    expected = torch.autograd.grad(op(operands).sin().sum(), list(operands.values()))
    with Record():
        got = torch.autograd.grad(op(operands).sin().sum(), list(operands.values()))
    torch.testing.assert_close(got, expected)
    names = [getattr(torch.ops.ewa_rs, name).default for name in (op.name, f"{op.name}_backward")]
    assert [f for f in seen if f in names] == names


@every_op
@pytest.mark.parametrize("path", ["eager", "registered", "torch"])
@pytest.mark.parametrize("kind", ["channels_last", "transposed", "negative"])
def test_memory_formats_are_kept(op: Op, path: str, kind: str) -> None:
    operands = drawn(op, (2, 3, 4, 5), torch.float64)
    expected = op(operands, axis=1, backend="torch")
    laid_out = {
        "channels_last": lambda t: t.contiguous(memory_format=torch.channels_last),
        "transposed": lambda t: t.transpose(0, 3).contiguous().transpose(0, 3),
        "negative": lambda t: torch.complex(t, -t).conj().imag,  # a view that is to be negated
    }[kind]
    given = {n: laid_out(t).requires_grad_() for n, t in operands.items()}
    first = next(iter(given.values()))
    assert first.is_neg() == (kind == "negative")
    if path == "registered":
        y = getattr(torch.ops.ewa_rs, op.name)(*given.values(), None, [1], None, False, False)[0]
    else:
        y = op(given, axis=1, backend="torch" if path == "torch" else None)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-14)
    grads = torch.autograd.grad(y.sin().sum(), list(given.values()))
    if kind != "negative":
        assert y.stride() == first.stride()
        assert {g.stride() for g in grads} == {first.stride()}


@every_op
@pytest.mark.parametrize("backend", ["rust", "torch"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast(op: Op, backend: str, dtype: torch.dtype) -> None:
    """Inputs in the type of autocast, float32 inside, the output in the type of autocast."""
    operands = drawn(op, grad=True)
    with torch.autocast("cpu", dtype=dtype):
        y = op(operands, backend=backend)
    assert y.dtype == dtype
    lower = {n: t.to(dtype) for n, t in operands.items()}
    assert torch.equal(y, op(lower, backend=backend))
    y.float().sum().backward()
    assert all(t.grad is not None and t.grad.dtype == torch.float32 for t in operands.values())
    with torch.autocast("cpu", dtype=dtype):
        registered = getattr(torch.ops.ewa_rs, op.name)
        assert registered(*operands.values(), None, [1], None, False, False)[0].dtype == dtype
        assert op({n: t.double() for n, t in operands.items()}).dtype == torch.float64


def test_float16_with_a_grad_scaler_at_scores_of_ten_thousand() -> None:
    layer = ElementwiseSelfAttention(64)
    with torch.no_grad():
        layer.w_q.copy_(torch.linspace(-100, 100, 64))
        layer.w_k.fill_(100.0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=16.0)
    before = copy.deepcopy(layer.state_dict())
    for _ in range(3):
        with torch.autocast("cpu", dtype=torch.float16):
            loss = layer(torch.rand(8, 64) + 0.5).float().square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        assert loss.isfinite()
    assert all(p.isfinite().all() for p in layer.parameters())
    assert scaler.get_scale() == 16.0  # no step was left out
    assert not torch.equal(layer.w_v, before["w_v"])


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_activation_checkpointing(use_reentrant: bool) -> None:
    layer = ElementwiseSelfAttention((3, 4), bias=True)
    x = torch.randn(2, 3, 4, requires_grad=True)
    leaves = (x, *layer.parameters())

    def gradients(y: torch.Tensor) -> list[torch.Tensor]:
        for t in leaves:
            t.grad = None
        y.sin().sum().backward()
        return [t.grad for t in leaves if t.grad is not None]

    again = gradients(checkpoint(layer, x, use_reentrant=use_reentrant))
    torch.testing.assert_close(again, gradients(layer(x)), rtol=0, atol=0)


@every_op
def test_deterministic_algorithms(op: Op) -> None:
    operands = drawn(op, (300, 33), grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (
            torch.autograd.grad(op(operands).sin().sum(), list(operands.values())) for _ in range(2)
        )
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_state_dict_across_devices_and_types(dtype: torch.dtype) -> None:
    layer = ElementwiseSelfAttention((3, 4), bias=True)
    buffer = io.BytesIO()
    torch.save(layer.to(dtype).state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True, map_location="cpu")
    other = ElementwiseSelfAttention((3, 4), bias=True, device="meta")
    other.load_state_dict(state, assign=True)
    x = torch.randn(2, 3, 4, dtype=dtype)
    assert torch.equal(copy.deepcopy(other)(x), layer(x))


def test_backend_for() -> None:
    assert ewa_rs.backend_for(torch.ones(2)) == "rust"
    assert ewa_rs.backend_for(torch.ones(2), None) == "rust"
    assert ewa_rs.backend_for([1.0, 2.0]) == "rust"
    assert ewa_rs.backend_for(torch.ones(2, device="meta")) == "torch"
    with pytest.raises(TypeError, match="inputs"):
        ewa_rs.backend_for()
    with pytest.raises(ValueError, match=r"input 0 on cpu, input 1 on meta"):
        ewa_rs.backend_for(torch.ones(2), torch.ones(2, device="meta"))


@every_op
def test_a_backend_that_cannot_run_is_an_error(op: Op) -> None:
    with pytest.raises(ValueError, match=r"^backend: 'triton' .*CUDA.* on cpu"):
        op(drawn(op), backend="triton")


@every_op
def test_tensors_that_are_not_dense(op: Op) -> None:
    dense = drawn(op)
    for name in dense:
        with pytest.raises(TypeError, match=rf"^{name}: .*dense.*sparse_coo"):
            op(dense | {name: dense[name].to_sparse()})
        quantised = torch.quantize_per_tensor(dense[name], 0.1, 0, torch.qint8)
        with pytest.raises(TypeError, match=rf"^{name}: .*qint8.*dequantize"):
            op(dense | {name: quantised})
    with pytest.raises(TypeError, match=r"^mask: .*dense"):
        op(dense, mask=torch.ones(3, 5).to_sparse())
