//! The ops on NumPy arrays and what NumPy makes arrays of.

use super::call::{CheckedCall, Inputs, Settings};
use crate::attention::op::{OpName, WEIGHTS, Y};
use crate::bindings::arguments::{parse_axes, tuple};
use crate::bindings::array::{
    Array, array_dtype, dtype_name, empty, empty_like, is_aligned, is_writeable,
};
use crate::bindings::array_inputs::{Given, as_arrays, check_unmasked};
use crate::bindings::settings::simd;
use crate::bindings::view::View;
use crate::tensor::dtype::Direction;
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

type Object<'py> = Bound<'py, PyAny>;

/// Output, and weights if these are asked for, of `objects`, of which the mask is one.
pub fn forward<'py>(
    op: OpName,
    objects: &Inputs<Object<'py>>,
    axis: &Object<'py>,
    scale: Option<f64>,
    out: Option<&Object<'py>>,
    return_weights: bool,
) -> PyResult<Object<'py>> {
    let py = axis.py();
    let (simd, axes) = (simd()?, parse_axes(axis)?);
    let inputs = as_arrays(op.definition().inputs, objects)?;
    let call = CheckedCall::new(op, &inputs, &Settings { axes: &axes, scale, residual: false })?;
    let y = match out {
        Some(out) => checked_out(out, &call, &inputs)?,
        None => empty_result(&call, &inputs)?,
    };
    let weights = return_weights.then(|| empty_result(&call, &inputs)).transpose()?;
    inputs.iter().flatten().try_for_each(Given::check)?;
    let mut kernels = call.into_kernels(Direction::Forward, &inputs);
    kernels.put(Y, &View::of_array(&y));
    if let Some(weights) = &weights {
        kernels.put(WEIGHTS, &View::of_array(weights));
    }
    // SAFETY: types, shapes and memory are checked, `y` and `weights` are new or checked; all are held.
    unsafe { kernels.run_from(py, Direction::Forward, simd) };
    match weights {
        Some(weights) => Ok((y, weights).into_pyobject(py)?.into_any()),
        None => Ok(y.into_any()),
    }
}

/// `out` if the result can be written there.
fn checked_out<'py>(
    out: &Object<'py>,
    call: &CheckedCall,
    inputs: &Inputs<Given<'py>>,
) -> PyResult<Array<'py>> {
    let Ok(array) = out.cast::<PyUntypedArray>() else {
        let found = out.get_type().fully_qualified_name()?;
        return Err(PyTypeError::new_err(format!("out: expected a numpy.ndarray, got {found}")));
    };
    check_unmasked("out", out, &[])?;
    if array_dtype(array) != Some(call.dtype) {
        let (expected, found) = (call.dtype.name(), dtype_name(array)?);
        return Err(PyTypeError::new_err(format!("out: expected dtype {expected}, got {found}")));
    }
    let view = View::of_array(array);
    if view.shape[..] != call.shape[..] {
        let (expected, found) = (tuple(&call.shape), tuple(&view.shape));
        return Err(PyValueError::new_err(format!("out: expected shape {expected}, got {found}")));
    }
    if !is_writeable(array) || !is_aligned(array) {
        return Err(PyValueError::new_err(
            "out: expected a writeable and aligned array, got one that is not",
        ));
    }
    // It may be an input itself; otherwise they must not share memory.
    let meets = |input: &&Given| view.overlaps(&input.view) && !view.is_same_memory(&input.view);
    if let Some(input) = inputs.iter().flatten().find(meets) {
        return Err(PyValueError::new_err(format!(
            "out: expected memory of its own (or exactly that of an input), got an array that overlaps {}",
            input.name
        )));
    }
    if view.repeats() {
        return Err(PyValueError::new_err(
            "out: expected an array whose elements are all distinct, got one in which some share memory",
        ));
    }
    Ok(array.clone())
}

/// An uninitialised array of the inputs' element type, in the memory order of the first input of that
/// shape.
fn empty_result<'py>(call: &CheckedCall, inputs: &Inputs<Given<'py>>) -> PyResult<Array<'py>> {
    let mut operands = inputs[..call.op.definition().mask()].iter().flatten();
    match operands.find(|given| given.view.shape[..] == call.shape[..]) {
        Some(like) => empty_like(&like.array),
        None => {
            let first = inputs[0].as_ref();
            let first = first.ok_or_else(|| PyTypeError::new_err("expected at least one input"))?;
            empty(first.array.py(), &first.array.dtype(), &call.shape)
        }
    }
}
