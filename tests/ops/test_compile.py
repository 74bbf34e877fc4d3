"""torch.compile, torch.export and what they are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.registry import ALONG_SLICES, Op
from torch._dynamo.testing import CompileCounterWithBackend
from torch.fx.experimental.proxy_tensor import make_fx

import ewa_rs
from ewa_rs.models import create_model
from ewa_rs.nn import ElementwiseSelfAttention

every_op = pytest.mark.parametrize("op", ALONG_SLICES.values(), ids=ALONG_SLICES)
every_backend = pytest.mark.parametrize("backend", [None, "torch"])


@pytest.fixture(autouse=True)
def nothing_compiled() -> None:
    torch._dynamo.reset()


def tensors(op: Op, *shape: int) -> list[torch.Tensor]:
    return [torch.randn(shape, requires_grad=True) for _ in op.operands]


def targets(graph: torch.fx.Graph) -> set[str]:
    return {str(node.target) for node in graph.nodes if node.op == "call_function"}


@every_op
@every_backend
def test_compiled_in_one_graph_for_all_sizes(op: Op, backend: Any) -> None:
    """Forward and backward, without graph breaks; dynamic shapes are compiled once."""
    counter = CompileCounterWithBackend("aot_eager")

    def function(*values: torch.Tensor) -> Any:
        return op.function(*values, return_weights=True, backend=backend)

    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend=counter)
    for shape in ((5, 7), (6, 7), (9, 11), (4, 8)):
        values = tensors(op, *shape)
        given = torch.randn(shape)
        results = [f(*values) for f in (compiled, function)]
        torch.testing.assert_close(*results)
        grads = [torch.autograd.grad(r, values, (given, given)) for r in results]
        torch.testing.assert_close(*grads)
    assert counter.frame_count == 1


@every_op
def test_sizes_that_vary_are_compiled_twice_at_most(op: Op) -> None:
    counter = CompileCounterWithBackend("eager")
    compiled = torch.compile(op.function, fullgraph=True, backend=counter)
    for n in range(3, 9):
        compiled(*tensors(op, n, 4))
    assert counter.frame_count == 2


def test_inductor_takes_the_kernels_and_the_formula() -> None:
    x = torch.randn(5, 3, 4, requires_grad=True)
    rust = ElementwiseSelfAttention((3, 4), axis=(0, 1), bias=True, residual=True, gain=12.0)
    formula = ElementwiseSelfAttention((3, 4), axis=(0, 1), bias=True, residual=True, gain=12.0)
    formula.load_state_dict(rust.state_dict())
    formula.backend = "torch"
    expected = torch.autograd.grad(rust(x).sin().sum(), (x, *rust.parameters()))
    compiled = torch.compile(lambda x: (rust(x), formula(x)), fullgraph=True)
    for layer, y in zip((rust, formula), compiled(x), strict=True):
        got = torch.autograd.grad(y.sin().sum(), (x, *layer.parameters()), retain_graph=True)
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("strict", [True, False])
def test_export(strict: bool, tmp_path: Path) -> None:
    """The op itself, and, decomposed, nothing but core ATen operations."""
    layer = ElementwiseSelfAttention((3, 4), axis=(0, 1), bias=True, residual=True, gain=12.0)
    batch = {"x": {0: torch.export.Dim("batch")}}
    x = torch.randn(5, 3, 4)
    program = torch.export.export(layer, (x,), dynamic_shapes=batch, strict=strict)
    assert "ewa_rs.elementwise_self_attention.default" in targets(program.graph)
    torch.export.save(program, tmp_path / "layer.pt2")
    program = torch.export.load(tmp_path / "layer.pt2")
    table = torch.export.default_decompositions()
    table.update(ewa_rs.decompositions())
    decomposed = program.run_decompositions(table)
    found = targets(decomposed.graph)
    assert found
    assert all(target.startswith("aten.") for target in found), found
    for given in (x, torch.randn(8, 3, 4)):
        for exported in (program, decomposed):
            torch.testing.assert_close(exported.module()(given), layer(given))


def test_the_network_is_compiled_and_exported() -> None:
    network = create_model("ewa", input_shape=(1, 8, 8), num_classes=10)
    x = torch.randn(3, 1, 8, 8)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), network(x))
    program = torch.export.export(network.eval(), (x,))
    torch.testing.assert_close(program.module()(x), network(x))


@every_op
@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_traced(op: Op, mode: str) -> None:
    values = [t.detach() for t in tensors(op, 3, 4)]
    traced = make_fx(lambda *given: op.function(*given), tracing_mode=mode)(*values)
    assert f"ewa_rs.{op.name}.default" in targets(traced.graph)
    torch.testing.assert_close(traced(*values), op.function(*values))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_training_script_with_the_layer_dropped_in(tmp_path: Path) -> None:
    """Model, torch.compile, autocast, gradient scaler, scheduler, save, load, export."""
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        ElementwiseSelfAttention((8, 8, 8), axis=(-2, -1), residual=True, gain=64.0),
        torch.nn.BatchNorm2d(8),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 4),
    ).to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(model)
    compiled = torch.compile(model, backend="aot_eager")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    scaler = torch.amp.GradScaler("cpu", init_scale=128.0)
    images = torch.randn(32, 3, 8, 8).to(memory_format=torch.channels_last)
    labels = images.mean((1, 2, 3)).argsort().argsort() // 8
    losses = []
    for _ in range(20):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(compiled(images), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        average.update_parameters(model)
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, tmp_path / "checkpoint.pth")
    loaded = torch.load(tmp_path / "checkpoint.pth", weights_only=True)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    model.load_state_dict(loaded["model"])
    optimizer.load_state_dict(loaded["optimizer"])
    model.eval()
    program = torch.export.export(model, (images,))
    torch.testing.assert_close(program.module()(images), model(images))
