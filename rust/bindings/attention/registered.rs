//! What is registered with torch.library for tensors on the CPU: inputs of one type, settings and, for the
//! backward, the gradients of the outputs and the statistics.

use super::call::{CheckedCall, Inputs, Settings};
use super::tensors::{self, seen_inputs};
use crate::attention::op::OpName;
use crate::bindings::arguments::{check_count, check_kind};
use crate::bindings::tensor::{Object, Seen};
use crate::bindings::torch::{Torch, torch};
use crate::tensor::dtype::Direction;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

pub type Tensors<'py> = Vec<Option<Object<'py>>>;

/// Output, weights (None unless they are asked for) and statistics.
pub fn forward<'py>(
    py: Python<'py>,
    op: OpName,
    inputs: Tensors<'py>,
    settings: &Settings,
    return_weights: bool,
) -> PyResult<Bound<'py, PyTuple>> {
    let torch = torch(py)?;
    let (call, inputs) = checked(torch, op, inputs, settings)?;
    let shape = call.statistics_shape();
    let statistics = torch.empty(py, &shape, call.dtype.computed())?;
    let view = torch.result_view(&statistics, &shape, call.dtype.computed())?;
    let kernels = call.into_kernels(Direction::Forward, &inputs);
    let found = tensors::forward(torch, kernels, &inputs, None, return_weights, Some(&view))?;
    (found.y, found.weights, statistics).into_pyobject(py)
}

/// The gradients of the inputs, None where none is wanted. `saved`: of the output and the weights, and the
/// statistics.
pub fn backward<'py>(
    py: Python<'py>,
    op: OpName,
    inputs: Tensors<'py>,
    settings: &Settings,
    (grad_y, grad_a, statistics): (Object<'py>, Option<Object<'py>>, Object<'py>),
    wanted: &[bool],
) -> PyResult<Vec<Option<Object<'py>>>> {
    let torch = torch(py)?;
    let checked = || {
        let (call, inputs) = checked(torch, op, inputs, settings)?;
        let grad_a = grad_a.map(|grad| Seen::new(torch, "grad_a", grad)).transpose()?;
        let upstream = (Seen::new(torch, "grad_y", grad_y)?, grad_a);
        for Seen { name, view, .. } in std::iter::once(&upstream.0).chain(&upstream.1) {
            check_kind(name, view, &call.shape, call.dtype)?;
        }
        let statistics = Seen::new(torch, "statistics", statistics)?;
        let (shape, dtype) = (call.statistics_shape(), call.dtype.computed());
        check_kind("statistics", &statistics.view, &shape, dtype)?;
        Ok((call, inputs, upstream, statistics))
    };
    let (call, inputs, upstream, statistics) = checked().map_err(|error: PyErr| {
        PyValueError::new_err(format!(
            "{}; inputs must not change between forward and backward",
            error.value(py)
        ))
    })?;
    let kept = (&statistics.view, Some(&statistics));
    let gradients = tensors::backward(torch, &call, &inputs, upstream, kept, wanted)?;
    Ok(gradients.into_iter().take(op.definition().inputs.len()).collect())
}

fn checked<'py>(
    torch: &Torch,
    op: OpName,
    tensors: Tensors<'py>,
    settings: &Settings,
) -> PyResult<(CheckedCall, Inputs<Seen<'py>>)> {
    check_count(tensors.len(), op.definition().inputs.len())?;
    let inputs = seen_inputs(torch, op, tensors, &Inputs::default())?;
    Ok((CheckedCall::new(op, &inputs, settings)?, inputs))
}
