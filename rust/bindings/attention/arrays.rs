//! The ops on NumPy arrays and what NumPy makes arrays of.

use super::call::{CheckedCall, Inputs, Settings};
use crate::attention::op::{OpName, WEIGHTS, Y};
use crate::bindings::arguments::{parse_axes, tuple};
use crate::bindings::array::{
    Array, array_dtype, as_arrays, check_unmasked, dtype_name, empty, empty_like, is_aligned,
    is_writeable,
};
use crate::bindings::settings::simd;
use crate::bindings::view::View;
use crate::definition::{Definition, InputKind};
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
    let definition = op.definition();
    let (simd, axes) = (simd()?, parse_axes(axis)?);
    let arrays = as_arrays(definition.inputs, objects)?;
    let views: Inputs<View> = std::array::from_fn(|j| arrays[j].as_ref().map(View::of_array));
    let call = CheckedCall::new(op, &views, &Settings { axes: &axes, scale, residual: false })?;
    let y = match out {
        Some(out) => checked_out(out, &call, definition, &arrays, &views)?,
        None => empty_result(definition, &arrays, &call.shape)?,
    };
    let weights = return_weights.then(|| empty_result(definition, &arrays, &call.shape));
    let weights = weights.transpose()?;
    for ((input, array), view) in definition.inputs.iter().zip(&arrays).zip(&views) {
        let seen = array.as_ref().zip(view.as_ref());
        seen.map_or(Ok(()), |(array, view)| view.check_array(input.name, array))?;
    }
    let mut call = call.call(Direction::Forward, &views);
    call.put(Y, &View::of_array(&y));
    if let Some(weights) = &weights {
        call.put(WEIGHTS, &View::of_array(weights));
    }
    // SAFETY: types, shapes and memory are checked, `y` and `weights` are new or checked; all are held.
    unsafe { call.run_from(py, Direction::Forward, simd) };
    match weights {
        Some(weights) => Ok((y, weights).into_pyobject(py)?.into_any()),
        None => Ok(y.into_any()),
    }
}

/// `out` if the result can be written there.
fn checked_out<'py>(
    out: &Object<'py>,
    call: &CheckedCall,
    definition: &Definition,
    arrays: &Inputs<Array<'py>>,
    views: &Inputs<View>,
) -> PyResult<Array<'py>> {
    let Ok(array) = out.cast::<PyUntypedArray>() else {
        let found = out.get_type().fully_qualified_name()?;
        return Err(PyTypeError::new_err(format!("out: expected a numpy.ndarray, got {found}")));
    };
    check_unmasked("out", out, &[])?;
    if array_dtype(array) != Some(call.dtype) {
        let like = arrays[0].as_ref().map(dtype_name).transpose()?.unwrap_or_default();
        let found = dtype_name(array)?;
        return Err(PyTypeError::new_err(format!("out: expected dtype {like}, got {found}")));
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
    for (input, other) in definition.inputs.iter().zip(views) {
        // It may be an input itself; otherwise they must not share memory.
        if other.as_ref().is_some_and(|other| view.overlaps(other) && !view.is_same_memory(other)) {
            return Err(PyValueError::new_err(format!(
                "out: expected memory of its own (or exactly that of an input), got an array that \
                 overlaps {}",
                input.name
            )));
        }
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
fn empty_result<'py>(
    definition: &Definition,
    arrays: &Inputs<Array<'py>>,
    shape: &[usize],
) -> PyResult<Array<'py>> {
    let operands = definition.inputs.iter().zip(arrays);
    let operands = operands.filter(|(input, _)| input.kind == InputKind::Float);
    let operands = operands.filter_map(|(_, array)| array.as_ref());
    match operands.clone().find(|array| array.shape() == shape) {
        Some(like) => empty_like(like),
        None => {
            let first = operands.clone().next();
            let first = first.ok_or_else(|| PyTypeError::new_err("expected at least one input"))?;
            empty(first.py(), &first.dtype(), shape)
        }
    }
}
