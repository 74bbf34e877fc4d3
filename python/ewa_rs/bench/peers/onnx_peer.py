"""ONNX Runtime: the formula as a graph, on its CPU provider, into memory that is there."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from ewa_rs.bench.cases import OPERANDS, Array, Problem
from ewa_rs.bench.peers.runner import NotForThis, Runner, named

_TYPES = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
}


def _flatten(problem: Problem, x: Array) -> Array:
    """Several softmax axes, which are neighbours in memory, as one."""
    axes = problem.dense_axes
    if len(axes) == 1:
        return x
    shape = (*x.shape[: x.ndim + axes[0]], math.prod(x.shape[axes[0] :][: len(axes)]))
    return x.reshape(*shape, *x.shape[x.ndim + axes[-1] + 1 :])


def _model(problem: Problem, inputs: dict[str, Array], y: Array) -> bytes:
    kind = _TYPES[problem.case.dtype]
    axis = problem.dense_axes[-1]
    scale = numpy_helper.from_array(np.asarray(problem.scale, y.dtype), "scale")
    nodes, constants = [], [scale]
    if len(problem.inputs) == 4:
        nodes += [helper.make_node("Mul", ["x", f"w_{p}"], [p]) for p in "qkv"]
    # The scale goes to q if that is the small one: fewer products.
    nodes += [
        helper.make_node("Mul", ["q", "scale"], ["s"]),
        helper.make_node("Mul", ["s", "k"], ["z"]),
    ]
    scores = "z"
    if problem.mask is not None:
        constants.append(numpy_helper.from_array(np.asarray(-np.inf, y.dtype), "minus_infinity"))
        nodes.append(helper.make_node("Where", ["mask", "z", "minus_infinity"], ["kept"]))
        scores = "kept"
    nodes += [
        helper.make_node("Softmax", [scores], ["a"], axis=axis),
        helper.make_node("Mul", ["a", "v"], ["y"]),
    ]
    types = {name: TensorProto.BOOL if name == "mask" else kind for name in inputs}
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info(n, types[n], x.shape) for n, x in inputs.items()],
        [helper.make_tensor_value_info("y", kind, y.shape)],
        constants,
    )
    opset = helper.make_opsetid("", 17)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())


def forward(problem: Problem) -> Runner:
    """Forward."""
    if problem.case.dtype not in _TYPES:
        raise NotForThis(f"no {problem.case.dtype}")
    inputs = {name: _flatten(problem, problem.dense(name)) for name in OPERANDS[problem.case.op]}
    if problem.mask is not None:
        inputs["mask"] = problem.mask
    out = problem.empty().transpose(problem.order)
    y = _flatten(problem, out)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", 0))
    options.log_severity_level = 3
    try:
        session: Any = onnxruntime.InferenceSession(
            _model(problem, inputs, y), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # the errors of its C++ have no common type
        raise NotForThis(f"no kernel for {problem.case.dtype}") from error
    binding = session.io_binding()
    for name, x in inputs.items():
        binding.bind_input(name, "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    binding.bind_output("y", "cpu", 0, y.dtype, y.shape, y.ctypes.data)

    def call() -> Array:
        session.run_with_iobinding(binding)
        return out

    keep = (inputs, y)  # the binding holds addresses only
    return Runner(call, lambda y: named(problem, [y]) if keep else {})
