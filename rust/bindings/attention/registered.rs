//! What is registered with torch.library for tensors on the CPU: inputs of one type, settings and, for the
//! backward, the gradients of the outputs and the statistics.

use super::call::{CheckedCall, Inputs, Settings};
use super::tensors::{self, Kept, seen_inputs};
use crate::attention::op::OpName;
use crate::bindings::arguments::check_kind;
use crate::bindings::tensor::{Object, Seen};
use crate::bindings::torch::{Torch, torch};
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
    let (y, weights) = tensors::forward(torch, &call, &inputs, None, return_weights, Some(&view))?;
    (y, weights, statistics).into_pyobject(py)
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
    let statistics = Seen::new(torch, "statistics", statistics)?;
    let checked = || {
        let (call, inputs) = checked(torch, op, inputs, settings)?;
        let (shape, dtype) = (call.statistics_shape(), call.dtype.computed());
        check_kind("statistics", &statistics.view, &shape, dtype)?;
        Ok((call, inputs))
    };
    let (call, inputs) = checked().map_err(|error: PyErr| {
        PyValueError::new_err(format!(
            "{}; inputs must not change between forward and backward",
            error.value(py)
        ))
    })?;
    let grad_a = grad_a.map(|grad| Seen::new(torch, "grad_a", grad)).transpose()?;
    let upstream = (Seen::new(torch, "grad_y", grad_y)?, grad_a);
    let kept = Kept::InTensor(&statistics);
    let gradients = tensors::backward(torch, &call, &inputs, upstream, kept, wanted)?;
    Ok(gradients.into_iter().take(op.definition().inputs.len()).collect())
}

fn checked<'py>(
    torch: &Torch,
    op: OpName,
    tensors: Tensors<'py>,
    settings: &Settings,
) -> PyResult<(CheckedCall, Inputs<Seen<'py>>)> {
    let expected = op.definition().inputs.len();
    if tensors.len() != expected {
        let found = tensors.len();
        let message = format!("inputs: expected {expected} tensors or None, got {found}");
        return Err(PyValueError::new_err(message));
    }
    let inputs = seen_inputs(torch, op, tensors)?;
    Ok((CheckedCall::new(op, &inputs, settings)?, inputs))
}
