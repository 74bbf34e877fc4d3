//! `elementwise_attention_pool2d` on NumPy arrays and on torch tensors.

use super::arguments::check_kind;
use super::arrays::{self, Array};
use super::view::View;
use crate::pooling::elementwise_attention_pool2d::check;
use crate::pooling::{ImageView, Pool, PoolingCall};
use crate::tensor::dtype::Direction;
use crate::tensor::memory::OutOfMemory;
use numpy::PyUntypedArrayMethods;
use pyo3::exceptions::{PyMemoryError, PyTypeError, PyValueError};
use pyo3::prelude::*;

type Pair = Option<[usize; 2]>;

/// Pooling of arrays; see the Python function of this name.
#[pyfunction]
pub fn elementwise_attention_pool2d<'py>(
    x: &Bound<'py, PyAny>,
    w: &Bound<'py, PyAny>,
    kernel_size: Pair,
    stride: Pair,
) -> PyResult<Array<'py>> {
    let py = x.py();
    let simd = super::simd()?;
    // The op has no mask: no place is one's.
    let arrays = arrays::as_arrays(py, &["x", "w"], 2, &[Some(x), Some(w)])?;
    let [Some(x), Some(w), ..] = &arrays else { unreachable!("both were given") };
    let views = [View::of_array(x), View::of_array(w)];
    let pool = check(&views[0].shape, &views[1].shape, kernel_size, stride)
        .map_err(PyValueError::new_err)?;
    let y = empty_output(x, &views[0], &pool)?;
    let call = call(pool, &views, &View::of_array(&y))?;
    // SAFETY: `call` has checked the shapes, and `y` is new.
    py.detach(|| unsafe { call.run(Direction::Forward, simd) }).map_err(out_of_memory)?;
    Ok(y)
}

/// Fill `y` with the pooling of tensors.
#[pyfunction]
pub fn elementwise_attention_pool2d_forward(
    py: Python<'_>,
    inputs: [Bound<'_, PyAny>; 2],
    kernel_size: Pair,
    stride: Pair,
    y: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let call = call_of_tensors(&inputs, kernel_size, stride, y)?;
    let simd = super::simd()?;
    // SAFETY: the shapes have been checked, and the Python side has made `y`.
    py.detach(|| unsafe { call.run(Direction::Forward, simd) }).map_err(out_of_memory)
}

/// Fill those gradients of x and w that are not None.
#[pyfunction]
pub fn elementwise_attention_pool2d_backward(
    py: Python<'_>,
    inputs: [Bound<'_, PyAny>; 2],
    kernel_size: Pair,
    stride: Pair,
    grad: &Bound<'_, PyAny>,
    gradients: [Option<Bound<'_, PyAny>>; 2],
) -> PyResult<()> {
    let mut call = call_of_tensors(&inputs, kernel_size, stride, grad)?;
    for (j, gradient) in gradients.iter().enumerate() {
        let Some(gradient) = gradient else { continue };
        let (view, like) = (View::of_tensor(gradient)?, View::of_tensor(&inputs[j])?);
        check_kind("gradients", &view, &like.shape, like.dtype)?;
        if j == 0 {
            call.dx = Some(maps(&view));
        } else {
            call.dw = Some(maps(&view));
        }
    }
    let simd = super::simd()?;
    // SAFETY: as above.
    py.detach(|| unsafe { call.run(Direction::Backward, simd) }).map_err(out_of_memory)
}

fn out_of_memory(error: OutOfMemory) -> PyErr {
    PyMemoryError::new_err(error.to_string())
}

fn call_of_tensors(
    inputs: &[Bound<'_, PyAny>; 2],
    kernel_size: Pair,
    stride: Pair,
    y: &Bound<'_, PyAny>,
) -> PyResult<PoolingCall> {
    let views = [View::of_tensor(&inputs[0])?, View::of_tensor(&inputs[1])?];
    let pool = check(&views[0].shape, &views[1].shape, kernel_size, stride)
        .map_err(PyValueError::new_err)?;
    call(pool, &views, &View::of_tensor(y)?)
}

fn call(pool: Pool, [x, w]: &[View; 2], y: &View) -> PyResult<PoolingCall> {
    let mut shape = pool.lead.clone();
    shape.push(pool.channels);
    shape.extend(pool.output());
    check_kind("w", w, &w.shape, x.dtype)?;
    check_kind("y", y, &shape, x.dtype)?;
    let dtype = x.dtype.ok_or_else(|| PyTypeError::new_err("x: expected floats"))?;
    Ok(PoolingCall { pool, dtype, x: maps(x), w: maps(w), y: maps(y), dx: None, dw: None })
}

/// Images, or the array w, whose first axis is the channels.
fn maps(view: &View) -> ImageView {
    let item = view.dtype.map_or(1, |dtype| dtype.item()) as isize;
    let strides: Vec<isize> = view.strides.iter().map(|s| s / item).collect();
    if let &[channel] = &strides[..] {
        return ImageView { data: view.data, lead: Vec::new(), strides: [channel, 0, 0] };
    }
    let (lead, last) = strides.split_at(strides.len() - 3);
    ImageView { data: view.data, lead: lead.to_vec(), strides: [last[0], last[1], last[2]] }
}

/// An uninitialised output: channels last if x has them last.
fn empty_output<'py>(x: &Array<'py>, view: &View, pool: &Pool) -> PyResult<Array<'py>> {
    let [height, width] = pool.output();
    let mut shape = pool.lead.clone();
    let [.., channel, _, column] = &view.strides[..] else { unreachable!("checked") };
    let channels_last = pool.channels > 1 && channel.abs() < column.abs();
    if !channels_last {
        shape.extend([pool.channels, height, width]);
        return arrays::empty(x.py(), &x.dtype(), &shape, false);
    }
    shape.extend([height, width, pool.channels]);
    let y = arrays::empty(x.py(), &x.dtype(), &shape, false)?;
    let mut axes: Vec<usize> = (0..shape.len()).collect();
    axes[pool.lead.len()..].rotate_right(1);
    Ok(y.call_method1("transpose", (axes,))?.cast_into()?)
}
