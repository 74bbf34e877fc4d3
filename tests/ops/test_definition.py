"""The table of ops: what follows from it is there, in the compiled module, its stub and torch."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
import torch
from tests.registry import OPS

import ewa_rs.nn
from ewa_rs import _core
from ewa_rs.ops._definition import DEFINITIONS, Definition

every_definition = pytest.mark.parametrize("op", DEFINITIONS.values(), ids=DEFINITIONS)
STUB = Path(ewa_rs.__file__).with_name("_core.pyi")
# What the compiled module has beside the ops.
OTHERS = {"available_simd", "get_num_threads", "set_num_threads", "simd", "stream"}


def functions(op: Definition) -> dict[str, tuple[str, ...]]:
    """The functions that an op has in the compiled module, with what the table says they take."""
    settings = tuple(setting.name for setting in op.settings)
    gradients = tuple(output.gradient for output in op.differentiable)
    saved = tuple(output.name for output in op.saved)
    named = {
        f"{op.name}_forward": ("inputs", *settings, *op.requests),
        f"{op.name}_backward": ("inputs", *settings, *gradients, *saved, "wanted"),
    }
    return {op.name: ()} | named | ({f"{op.name}_eager": ()} if op.eager else {})


def test_the_stub_has_the_functions_of_the_table_and_no_others() -> None:
    tree = ast.parse(STUB.read_text(encoding="utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    expected = {name for op in DEFINITIONS.values() for name in functions(op)}
    assert found == expected | OTHERS


@every_definition
def test_the_functions_take_what_the_table_says(op: Definition) -> None:
    for name, expected in functions(op).items():
        parameters = tuple(inspect.signature(getattr(_core, name)).parameters)
        assert parameters == (expected or parameters)


def test_every_op_of_the_table_is_tested_and_the_reverse() -> None:
    assert set(OPS) == set(DEFINITIONS)


@every_definition
def test_the_public_function_takes_the_inputs_by_name(op: Definition) -> None:
    parameters = inspect.signature(getattr(ewa_rs, op.name)).parameters
    assert set(op.names) <= set(parameters)
    assert [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == [*op.required]


SCHEMAS = {
    "elementwise_attention": (
        "(Tensor q, Tensor k, Tensor v, Tensor? mask, int[] axes, float? scale, bool residual, ",
        "bool return_weights) -> (Tensor y, Tensor weights, Tensor statistics)",
        "Tensor grad_y, Tensor? grad_a, Tensor statistics, bool[] wanted) -> Tensor[]",
    ),
    "elementwise_attention_pool2d": (
        "(Tensor x, Tensor w, int[] kernel_size, int[] stride",
        ") -> Tensor",
        ", Tensor grad, bool[] wanted) -> Tensor[]",
    ),
    "elementwise_self_attention": (
        "(Tensor x, Tensor w_q, Tensor w_k, Tensor w_v, Tensor? b_q, Tensor? b_k, Tensor? b_v, "
        "Tensor? mask, int[] axes, float? scale, bool residual, ",
        "bool return_weights) -> (Tensor y, Tensor weights, Tensor statistics)",
        "Tensor grad_y, Tensor? grad_a, Tensor statistics, bool[] wanted) -> Tensor[]",
    ),
}


@every_definition
def test_exported_programs_hold_these_schemas(op: Definition) -> None:
    """Programs that were saved by `torch.export.save` name them: they stay what they are."""
    start, forward, backward = SCHEMAS[op.name]
    for name, rest in ((op.name, forward), (f"{op.name}_backward", backward)):
        schema = getattr(torch.ops.ewa_rs, name).default._schema
        assert str(schema) == f"ewa_rs::{name}{start}{rest}"
