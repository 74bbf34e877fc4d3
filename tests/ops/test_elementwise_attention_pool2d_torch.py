"""Attention pooling registered with torch: opcheck, compile, export, transforms, autocast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

import ewa_rs
from ewa_rs import elementwise_attention_pool2d as pool
from ewa_rs.nn import ElementwiseAttentionPool2d
from ewa_rs.ops.elementwise_attention_pool2d.reference import dot_product_reference

OP = torch.ops.ewa_rs.elementwise_attention_pool2d
BACKWARD = torch.ops.ewa_rs.elementwise_attention_pool2d_backward
WINDOWS: dict[str, tuple[list[int], list[int]]] = {
    "pairs": ([2, 2], []),
    "whole image": ([], []),
    "overlapping": ([3, 2], [1, 2]),
}
every_window = pytest.mark.parametrize(("kernel", "stride"), WINDOWS.values(), ids=WINDOWS)
every_shape = pytest.mark.parametrize("per_place", [False, True])
double = torch.float64


@pytest.fixture(autouse=True)
def nothing_compiled() -> None:
    torch._dynamo.reset()


def named(kernel: list[int], stride: list[int]) -> dict[str, Any]:
    return {"kernel_size": tuple(kernel) or None, "stride": tuple(stride) or None}


def drawn(
    kernel: list[int], per_place: bool, shape: tuple[int, ...] = (2, 3, 4, 5), **options: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    window = tuple(kernel or shape[-2:]) if per_place else ()
    return torch.randn(shape, **options), torch.randn(shape[-3], *window, **options)


def close(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@every_window
@every_shape
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 4, 5), (2, 1, 3, 4, 5), (0, 3, 4, 5)], ids=str)
def test_opcheck(kernel: Any, stride: Any, per_place: bool, shape: tuple[int, ...]) -> None:
    x, w = drawn(kernel, per_place, shape, requires_grad=True)
    torch.library.opcheck(OP.default, (x, w, kernel, stride))
    given = torch.randn_like(OP(x, w, kernel, stride)).detach()
    for wanted in ([True, True], [False, True]):
        torch.library.opcheck(BACKWARD.default, (x, w, kernel, stride, given, wanted))


@every_window
@every_shape
def test_gradcheck_of_every_mode(kernel: Any, stride: Any, per_place: bool) -> None:
    leaves = drawn(kernel, per_place, (2, 2, 3, 4), dtype=double, requires_grad=True)

    def function(x: torch.Tensor, w: torch.Tensor) -> Any:
        return OP(x, w, kernel, stride)

    check = torch.autograd.gradcheck
    assert check(function, leaves, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function, leaves, check_fwd_over_rev=True)


@every_window
@every_shape
def test_transforms(kernel: Any, stride: Any, per_place: bool) -> None:
    values = drawn(kernel, per_place, (2, 3, 4), dtype=double)
    window = named(kernel, stride)

    def ours(x: torch.Tensor, w: torch.Tensor) -> Any:
        return pool(x, w, **window).sin().sum()

    def exact(x: torch.Tensor, w: torch.Tensor) -> Any:
        return dot_product_reference(x, w, **window).sin().sum()

    for transform in (
        lambda f: grad(f, (0, 1)),
        lambda f: jacrev(grad(f, 1), (0, 1)),
        lambda f: jacfwd(f, (0, 1)),
        lambda f: hessian(f, (0, 1)),
    ):
        close(transform(ours)(*values), transform(exact)(*values))
    tangents = drawn(kernel, per_place, (2, 3, 4), dtype=double)
    close(jvp(ours, values, tangents), jvp(exact, values, tangents))


@every_window
@every_shape
@pytest.mark.parametrize("dims", [(0, None), (None, 0), (0, 0), (3, 1), (2, None), (None, 1)])
def test_vmap(kernel: Any, stride: Any, per_place: bool, dims: Any) -> None:
    """Against a loop: outputs and gradients, of a batch of images, of arrays, or of both."""
    window = named(kernel, stride)
    pairs = [drawn(kernel, per_place, dtype=double) for _ in range(4)]
    values = [
        pairs[0][i] if d is None else torch.stack([p[i] for p in pairs], d)
        for i, d in enumerate(dims)
    ]
    one = [[pairs[0 if d is None else n][i] for i, d in enumerate(dims)] for n in range(4)]

    def total(x: torch.Tensor, w: torch.Tensor) -> Any:
        return pool(x, w, **window).sin().sum()

    got = vmap(lambda x, w: pool(x, w, **window), dims)(*values)
    close(got, torch.stack([pool(*given, **window) for given in one]))
    found = vmap(grad(total, (0, 1)), dims)(*values)
    loop = [grad(total, (0, 1))(*given) for given in one]
    close(found, tuple(torch.stack(each) for each in zip(*loop, strict=True)))


@every_window
@pytest.mark.parametrize("backend", [None, "torch"])
def test_compiled_in_one_graph_for_all_sizes(kernel: Any, stride: Any, backend: Any) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    window = named(kernel, stride)

    def function(x: torch.Tensor, w: torch.Tensor) -> Any:
        return pool(x, w, **window, backend=backend)

    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend=counter)
    for shape in ((2, 3, 6, 8), (3, 3, 7, 9), (5, 4, 10, 6)):
        values = drawn(kernel, False, shape, requires_grad=True)
        results = [f(*values) for f in (compiled, function)]
        torch.testing.assert_close(*results)
        torch.testing.assert_close(*[torch.autograd.grad(r.sin().sum(), values) for r in results])
    assert counter.frame_count == 1


def test_inductor_takes_the_kernels_and_the_formula() -> None:
    x = torch.randn(2, 3, 6, 8, requires_grad=True)
    layers = [ElementwiseAttentionPool2d(3, 2, backend=backend) for backend in (None, "torch")]
    compiled = torch.compile(lambda x: [layer(x) for layer in layers], fullgraph=True)
    expected = torch.autograd.grad(layers[0](x).sin().sum(), (x, layers[0].weight))
    for layer, y in zip(layers, compiled(x), strict=True):
        got = torch.autograd.grad(y.sin().sum(), (x, layer.weight), retain_graph=True)
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kernel_size", [2, None])
def test_export(strict: bool, kernel_size: Any, tmp_path: Path) -> None:
    """The op itself, and, decomposed, nothing but core ATen operations."""
    layer, x = ElementwiseAttentionPool2d(3, kernel_size), torch.randn(2, 3, 6, 8)
    batch = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(layer, (x,), dynamic_shapes=batch, strict=strict)
    torch.export.save(program, tmp_path / "layer.pt2")
    program = torch.export.load(tmp_path / "layer.pt2")
    table = torch.export.default_decompositions() | ewa_rs.decompositions()
    decomposed = program.run_decompositions(table)
    calls = [
        {str(node.target) for node in p.graph.nodes if node.op == "call_function"}
        for p in (program, decomposed)
    ]
    assert calls[0] == {"ewa_rs.elementwise_attention_pool2d.default"}
    assert all(target.startswith("aten.") for target in calls[1]), calls[1]
    for given in (x, torch.randn(5, 3, 6, 8)):
        for exported in (program, decomposed):
            torch.testing.assert_close(exported.module()(given), layer(given))


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_traced(mode: str) -> None:
    values = drawn([2, 2], False)
    traced = make_fx(lambda x, w: pool(x, w, kernel_size=2), tracing_mode=mode)(*values)
    assert "ewa_rs.elementwise_attention_pool2d" in traced.code
    torch.testing.assert_close(traced(*values), pool(*values, kernel_size=2))


@pytest.mark.parametrize("kind", ["fake", "meta"])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_without_data(kind: str, order: torch.memory_format) -> None:
    x, w = drawn([2, 2], False, dtype=torch.bfloat16)
    x = x.contiguous(memory_format=order)
    expected = pool(x, w, kernel_size=2)
    if kind == "meta":
        got = pool(x.to("meta"), w.to("meta"), kernel_size=2)
    else:
        with FakeTensorMode() as fake:
            got = pool(fake.from_tensor(x), fake.from_tensor(w), kernel_size=2)
    assert (got.shape, got.dtype, got.stride()) == (expected.shape, w.dtype, expected.stride())


@pytest.mark.parametrize("backend", ["rust", "torch"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast(backend: str, dtype: torch.dtype) -> None:
    x, w = drawn([2, 2], False, requires_grad=True)
    with torch.autocast("cpu", dtype=dtype):
        y = pool(x, w, kernel_size=2, backend=backend)
        assert OP(x, w, [2, 2], []).dtype == dtype
        assert pool(x.double(), w, kernel_size=2).dtype == torch.float64
    assert y.dtype == dtype
    assert torch.equal(y, pool(x.to(dtype), w.to(dtype), kernel_size=2, backend=backend))
    y.float().sum().backward()
    assert x.grad is not None and w.grad is not None
    assert x.grad.dtype == w.grad.dtype == torch.float32


@pytest.mark.parametrize("backend", ["rust", "torch"])
def test_each_operand_alone_has_the_same_gradient(backend: str) -> None:
    x, w = drawn([2, 2], False)
    both = (x.requires_grad_(), w.requires_grad_())
    together = torch.autograd.grad(pool(x, w, kernel_size=2, backend=backend).sum(), both)
    for i in range(2):
        values = [t.detach().requires_grad_(i == n) for n, t in enumerate(both)]
        y = pool(*values, kernel_size=2, backend=backend)
        (alone,) = torch.autograd.grad(y.sum(), values[i])
        assert torch.equal(alone, together[i])


def test_a_registered_op_checks_what_it_is_given() -> None:
    x, w = drawn([2, 2], False)
    for wrong in ((x, w.double(), [2, 2], []), (x, w[:2], [2, 2], []), (x, w, [9, 2], [])):
        with pytest.raises((TypeError, ValueError), match=r"^(w|kernel_size): "):
            OP(*wrong)


def test_ensembles_of_the_layer() -> None:
    layer, x = ElementwiseAttentionPool2d(3, 2).double(), torch.randn(2, 3, 4, 6, dtype=double)
    weights = torch.randn(5, 3, dtype=double)
    got = vmap(lambda w: functional_call(layer, {"weight": w}, (x,)))(weights)
    close(got, torch.stack([pool(x, w, kernel_size=2) for w in weights]))
