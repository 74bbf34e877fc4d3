//! `elementwise_attention_pool2d` on NumPy arrays and on torch tensors.

use super::arguments::{check_kind, check_written};
use super::conversion::{Array, as_arrays, empty};
use super::run::{guarded, run_kernel, simd};
use super::torch;
use super::view::View;
use crate::pooling::elementwise_attention_pool2d::check;
use crate::pooling::{ImageView, Pool, PoolingCall};
use crate::tensor::dtype::{DType, Direction};
use numpy::PyUntypedArrayMethods;
use pyo3::exceptions::{PyTypeError, PyValueError};
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
    guarded(|| {
        let simd = simd()?;
        // The op has no mask: no place is one's.
        let arrays = as_arrays(x.py(), &["x", "w"], 2, &[Some(x), Some(w)])?;
        let [Some(x), Some(w), ..] = &arrays else { unreachable!("both were given") };
        let views = [View::of_array(x), View::of_array(w)];
        let pool = checked(&views, kernel_size, stride)?;
        let y = empty_output(x, &views[0], &pool)?;
        let call = call(pool, &views, "y", &View::of_array(&y))?;
        // SAFETY: `call` has checked shapes and type, and `y` is new.
        run_kernel(x.py(), elements(&call), || unsafe { call.run(Direction::Forward, simd) });
        Ok(y)
    })
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
    guarded(|| {
        let _memory = torch::memory(inputs.iter().chain([y]))?;
        let (views, y) = (views_of(&inputs)?, View::of_tensor(y)?);
        let call = call(checked(&views, kernel_size, stride)?, &views, "y", &y)?;
        check_written("outputs", [&y].into_iter(), views.iter())?;
        let simd = simd()?;
        // SAFETY: all is checked, and the memory is kept until this returns.
        run_kernel(py, elements(&call), || unsafe { call.run(Direction::Forward, simd) });
        Ok(())
    })
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
    guarded(|| {
        let _memory = torch::memory(inputs.iter().chain([grad]).chain(gradients.iter().flatten()))?;
        let (views, grad) = (views_of(&inputs)?, View::of_tensor(grad)?);
        let mut call = call(checked(&views, kernel_size, stride)?, &views, "grad", &grad)?;
        let written = gradients.map(|gradient| gradient.as_ref().map(View::of_tensor).transpose());
        let [dx, dw] = written;
        let written = [dx?, dw?];
        for (view, like) in written.iter().zip(&views) {
            let Some(view) = view else { continue };
            check_kind("gradients", view, &like.shape, like.dtype)?;
        }
        let read = views.iter().chain([&grad]);
        check_written("gradients", written.iter().flatten(), read)?;
        [call.dx, call.dw] = written.map(|view| view.as_ref().map(maps));
        let simd = simd()?;
        // SAFETY: as above.
        run_kernel(py, elements(&call), || unsafe { call.run(Direction::Backward, simd) });
        Ok(())
    })
}

fn views_of([x, w]: &[Bound<'_, PyAny>; 2]) -> PyResult<[View; 2]> {
    Ok([View::of_tensor(x)?, View::of_tensor(w)?])
}

fn checked([x, w]: &[View; 2], kernel_size: Pair, stride: Pair) -> PyResult<Pool> {
    check(&x.shape, &w.shape, kernel_size, stride).map_err(PyValueError::new_err)
}

fn call(pool: Pool, [x, w]: &[View; 2], name: &str, y: &View) -> PyResult<PoolingCall> {
    let mut shape = pool.lead.clone();
    shape.push(pool.channels);
    shape.extend(pool.output());
    let dtype = x.dtype.filter(|&dtype| dtype != DType::Bool);
    let dtype =
        dtype.ok_or_else(|| PyTypeError::new_err("x: expected floats, got another type"))?;
    check_kind("w", w, &w.shape, x.dtype)?;
    check_kind(name, y, &shape, x.dtype)?;
    Ok(PoolingCall { pool, dtype, x: maps(x), w: maps(w), y: maps(y), dx: None, dw: None })
}

fn elements(call: &PoolingCall) -> usize {
    let [height, width] = call.pool.image;
    call.pool.images() * call.pool.channels * height * width
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
        return empty(x.py(), &x.dtype(), &shape, false);
    }
    shape.extend([height, width, pool.channels]);
    let y = empty(x.py(), &x.dtype(), &shape, false)?;
    let mut axes: Vec<usize> = (0..shape.len()).collect();
    axes[pool.lead.len()..].rotate_right(1);
    Ok(y.call_method1("transpose", (axes,))?.cast_into()?)
}
