//! The ops on NumPy arrays and what NumPy makes arrays of.

use super::arguments::{
    self, Inputs, axes, broadcast_shape, check_broadcasts_to, softmax_axes, tuple,
};
use super::conversion::{Array, as_arrays, empty_result, is_masked};
use super::run::{guarded, run_kernel, simd};
use super::view::{View, array_dtype, dtype_name, is_aligned, is_writeable};
use crate::attention::op::OpName;
use crate::attention::op::{WEIGHTS, Y};
use crate::tensor::dtype::Direction;
use numpy::PyUntypedArray;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// softmax(scale · q∘k [+ mask]) ∘ v on arrays; see the Python function of this name.
#[pyfunction]
#[pyo3(signature = (q, k, v, axis, scale=None, mask=None, out=None, return_weights=false))]
#[allow(clippy::too_many_arguments)]
pub fn elementwise_attention<'py>(
    q: &Bound<'py, PyAny>,
    k: &Bound<'py, PyAny>,
    v: &Bound<'py, PyAny>,
    axis: &Bound<'py, PyAny>,
    scale: Option<f64>,
    mask: Option<&Bound<'py, PyAny>>,
    out: Option<&Bound<'py, PyAny>>,
    return_weights: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let inputs = [Some(q), Some(k), Some(v), mask];
    guarded(|| run(OpName::ElementwiseAttention, &inputs, axis, scale, out, return_weights))
}

/// Self-attention of x with learned arrays; see the Python function of this name.
#[pyfunction]
#[pyo3(signature = (x, w_q, w_k, w_v, b_q, b_k, b_v, axis, scale=None, mask=None, out=None, return_weights=false))]
#[allow(clippy::too_many_arguments)]
pub fn elementwise_self_attention<'py>(
    x: &Bound<'py, PyAny>,
    w_q: &Bound<'py, PyAny>,
    w_k: &Bound<'py, PyAny>,
    w_v: &Bound<'py, PyAny>,
    b_q: Option<&Bound<'py, PyAny>>,
    b_k: Option<&Bound<'py, PyAny>>,
    b_v: Option<&Bound<'py, PyAny>>,
    axis: &Bound<'py, PyAny>,
    scale: Option<f64>,
    mask: Option<&Bound<'py, PyAny>>,
    out: Option<&Bound<'py, PyAny>>,
    return_weights: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let inputs = [Some(x), Some(w_q), Some(w_k), Some(w_v), b_q, b_k, b_v, mask];
    guarded(|| run(OpName::ElementwiseSelfAttention, &inputs, axis, scale, out, return_weights))
}

fn run<'py>(
    op: OpName,
    objects: &[Option<&Bound<'py, PyAny>>],
    axis: &Bound<'py, PyAny>,
    scale: Option<f64>,
    out: Option<&Bound<'py, PyAny>>,
    return_weights: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let py = axis.py();
    let simd = simd()?;
    // Whatever runs code of others comes first: it may change the arrays.
    let axes = axes(axis)?;
    let out = out.map(as_out).transpose()?;
    let arrays = as_arrays(py, op.inputs(), op.mask(), objects)?;
    let views: Inputs<View> = std::array::from_fn(|j| arrays[j].as_ref().map(View::of_array));
    let mask = op.mask();
    let shape = broadcast_shape(op.inputs(), &views[..mask])?;
    let softmax = softmax_axes(&axes, &shape)?;
    if let Some(view) = &views[mask] {
        check_broadcasts_to("mask", view, &shape, "the result")?;
    }
    let y = match out {
        Some(out) => checked_out(&out, &arrays[0], &shape, op.inputs(), &views)?,
        None => empty_result(&arrays[..mask], &shape)?,
    };
    let weights = return_weights.then(|| empty_result(&arrays[..mask], &shape)).transpose()?;
    let scale = arguments::scale(scale, &shape, &softmax);
    let mut call = arguments::call(op, Direction::Forward, &views, shape, softmax, scale);
    call.call.operands[Y] = View::of_array(&y).operand(&call.call.shape);
    if let Some(weights) = &weights {
        call.call.operands[WEIGHTS] = View::of_array(weights).operand(&call.call.shape);
    }
    let elements = call.call.shape.iter().product();
    // SAFETY: the operands are checked or new, and their arrays live until this returns.
    run_kernel(py, elements, || unsafe { call.run(Direction::Forward, simd) });
    match weights {
        Some(weights) => Ok((y, weights).into_pyobject(py)?.into_any()),
        None => Ok(y.into_any()),
    }
}

fn as_out<'py>(out: &Bound<'py, PyAny>) -> PyResult<Array<'py>> {
    match out.cast::<PyUntypedArray>() {
        Ok(array) if !is_masked(array)? => Ok(array.clone()),
        _ => {
            let found = out.get_type().fully_qualified_name()?;
            Err(PyTypeError::new_err(format!("out: expected a numpy.ndarray, got {found}")))
        }
    }
}

/// `out` if the result can be written there.
fn checked_out<'py>(
    array: &Array<'py>,
    like: &Option<Array<'py>>,
    shape: &[usize],
    names: &[&str],
    inputs: &[Option<View>],
) -> PyResult<Array<'py>> {
    let view = View::of_array(array);
    let like = like.as_ref().expect("the first input is required");
    if view.dtype != array_dtype(like) {
        let (expected, found) = (dtype_name(like)?, dtype_name(array)?);
        return Err(PyTypeError::new_err(format!("out: expected dtype {expected}, got {found}")));
    }
    if view.shape[..] != *shape {
        let (expected, found) = (tuple(shape), tuple(&view.shape));
        return Err(PyValueError::new_err(format!("out: expected shape {expected}, got {found}")));
    }
    if !is_writeable(array) || !is_aligned(array) {
        return Err(PyValueError::new_err(
            "out: expected a writeable and aligned array, got one that is not",
        ));
    }
    for (name, input) in names.iter().zip(inputs) {
        if let Some(input) = input {
            check_overlap(&view, name, input)?;
        }
    }
    if view.repeats() {
        return Err(PyValueError::new_err(
            "out: expected an array whose elements are all distinct, got one in which some share memory",
        ));
    }
    Ok(array.clone())
}

/// `out` may be an input itself; otherwise they must not share memory.
fn check_overlap(out: &View, name: &str, input: &View) -> PyResult<()> {
    if out.overlaps(input) && !out.is_same_memory(input) {
        return Err(PyValueError::new_err(format!(
            "out: expected memory of its own (or exactly that of an input), got an array that overlaps {name}"
        )));
    }
    Ok(())
}
