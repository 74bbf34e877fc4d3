//! `elementwise_attention_pool2d` on NumPy arrays and on torch tensors.

use super::arguments::{check_kind, common_dtype, tuple};
use super::array::{Array, empty};
use super::array_inputs::{Given, as_arrays};
use super::run::{guarded, run};
use super::settings::simd;
use super::tensor::{Object, Seen, hold};
use super::torch::{Torch, torch};
use super::view::View;
use crate::pooling::elementwise_attention_pool2d::{DEFINITION, check};
use crate::pooling::{Call as PoolingCall, Maps as ImageView, Pool};
use crate::tensor::dtype::{DType, Direction};
use numpy::PyUntypedArrayMethods;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

type Pair = Option<[usize; 2]>;

/// Pooling of arrays; see the Python function of this name.
#[pyfunction]
pub fn elementwise_attention_pool2d<'py>(
    operands: [Object<'py>; 2],
    kernel_size: Pair,
    stride: Pair,
) -> PyResult<Array<'py>> {
    guarded(|| {
        let (py, simd) = (operands[0].py(), simd()?);
        let [Some(x), Some(w)] = as_arrays(DEFINITION.inputs, &operands.map(Some))? else {
            return Err(PyTypeError::new_err("x, w: expected two arrays"));
        };
        let pool = check(&x.view.shape, &w.view.shape, kernel_size, stride);
        let pool = pool.map_err(PyValueError::new_err)?;
        let y = empty_array(&x, &pool)?;
        [&x, &w].into_iter().try_for_each(Given::check)?;
        let dtype = x.view.dtype.ok_or_else(|| PyTypeError::new_err("x: expected floats"))?;
        let call = call(pool, dtype, &x.view, &w.view, &View::of_array(&y));
        // SAFETY: shapes and types are checked, `y` is new, and all arrays are held.
        run(py, elements(&call.pool), || unsafe { call.run(Direction::Forward, simd) });
        Ok(y)
    })
}

/// The pooling of tensors of one type, alone in a tuple. No sizes are the whole image, or the kernel's.
#[pyfunction]
pub fn elementwise_attention_pool2d_forward<'py>(
    py: Python<'py>,
    inputs: [Object<'py>; 2],
    kernel_size: Vec<i64>,
    stride: Vec<i64>,
) -> PyResult<(Object<'py>,)> {
    guarded(|| {
        let (torch, simd) = (torch(py)?, simd()?);
        let (inputs, pool, dtype) = checked(torch, inputs, &kernel_size, &stride)?;
        let x = &inputs[0];
        let y = torch.empty_images(&x.tensor, &output_shape(&pool), is_channels_last(&x.view))?;
        let view = torch.result_view(&y, &output_shape(&pool), dtype)?;
        let call = call(pool, dtype, &inputs[0].view, &inputs[1].view, &view);
        let _held = hold(elements(&call.pool), inputs.iter())?;
        // SAFETY: shapes and types are checked, `y` is new, and all memory is held.
        run(py, elements(&call.pool), || unsafe { call.run(Direction::Forward, simd) });
        Ok((y,))
    })
}

/// The gradients of x and w, None where none is wanted.
#[pyfunction]
pub fn elementwise_attention_pool2d_backward<'py>(
    py: Python<'py>,
    inputs: [Object<'py>; 2],
    kernel_size: Vec<i64>,
    stride: Vec<i64>,
    grad: Object<'py>,
    wanted: [bool; 2],
) -> PyResult<[Option<Object<'py>>; 2]> {
    guarded(|| {
        let (torch, simd) = (torch(py)?, simd()?);
        let (inputs, pool, dtype) = checked(torch, inputs, &kernel_size, &stride)?;
        let grad = Seen::new(torch, "grad", grad)?;
        check_kind("grad", &grad.view, &output_shape(&pool), dtype)?;
        let mut call = call(pool, dtype, &inputs[0].view, &inputs[1].view, &grad.view);
        let mut found = [None, None];
        let targets = [&mut call.dx, &mut call.dw];
        for (j, target) in targets.into_iter().enumerate().filter(|&(j, _)| wanted[j]) {
            let gradient = torch.empty_like(&inputs[j].tensor)?;
            let view = torch.result_view(&gradient, &inputs[j].view.shape, dtype)?;
            *target = Some(image_view(&view));
            found[j] = Some(gradient);
        }
        let _held = hold(elements(&call.pool), inputs.iter().chain([&grad]))?;
        // SAFETY: shapes and types are checked, the gradients are new, and all memory is held.
        run(py, elements(&call.pool), || unsafe { call.run(Direction::Backward, simd) });
        Ok(found)
    })
}

fn checked<'py>(
    torch: &Torch,
    [x, w]: [Object<'py>; 2],
    kernel_size: &[i64],
    stride: &[i64],
) -> PyResult<([Seen<'py>; 2], Pool, DType)> {
    let (kernel, stride) = (pair("kernel_size", kernel_size)?, pair("stride", stride)?);
    let [x, w] = [Seen::new(torch, "x", x)?, Seen::new(torch, "w", w)?];
    let dtype = common_dtype(DEFINITION.inputs, &[Some(&x.view), Some(&w.view)])?;
    let pool = check(&x.view.shape, &w.view.shape, kernel, stride);
    Ok(([x, w], pool.map_err(PyValueError::new_err)?, dtype))
}

fn pair(name: &str, sizes: &[i64]) -> PyResult<Pair> {
    match *sizes {
        [] => Ok(None),
        [high, wide] if high >= 1 && wide >= 1 => Ok(Some([high as usize, wide as usize])),
        _ => Err(PyValueError::new_err(format!(
            "{name}: expected two sizes of at least 1, or none, got {}",
            tuple(sizes)
        ))),
    }
}

fn call(pool: Pool, dtype: DType, x: &View, w: &View, y: &View) -> PoolingCall {
    let [x, w, y] = [x, w, y].map(image_view);
    PoolingCall { pool, dtype, x, w, y, dx: None, dw: None }
}

fn elements(pool: &Pool) -> usize {
    pool.images() * pool.channels * pool.image[0] * pool.image[1]
}

fn output_shape(pool: &Pool) -> Vec<usize> {
    let [height, width] = pool.output();
    pool.lead.iter().copied().chain([pool.channels, height, width]).collect()
}

/// Images, or the array w, whose first axis is the channels.
fn image_view(view: &View) -> ImageView {
    let item = view.dtype.map_or(1, |dtype| dtype.item()) as isize;
    let strides: Vec<isize> = view.strides.iter().map(|s| s / item).collect();
    if let &[channel] = &strides[..] {
        return ImageView { data: view.data, lead: Vec::new(), strides: [channel, 0, 0] };
    }
    let (lead, last) = strides.split_at(strides.len() - 3);
    ImageView { data: view.data, lead: lead.to_vec(), strides: [last[0], last[1], last[2]] }
}

/// Whether torch would say of a tensor that its memory is channels-last.
fn is_channels_last(view: &View) -> bool {
    if view.shape.len() != 4 || view.strides[1] == 0 || view.shape.contains(&0) {
        return false;
    }
    let item = view.dtype.map_or(1, DType::item) as isize;
    let mut least = 0;
    for d in [1, 3, 2, 0] {
        let stride = view.strides[d] / item;
        if stride < least || (d == 0 && least == view.strides[1] / item) {
            return false;
        }
        least = if stride > 1 { stride * view.shape[d] as isize } else { stride };
    }
    true
}

/// An uninitialised output: channels last if x has them last.
fn empty_array<'py>(x: &Given<'py>, pool: &Pool) -> PyResult<Array<'py>> {
    let Given { array: x, view, .. } = x;
    let mut shape = output_shape(pool);
    let lead = pool.lead.len();
    let [channel, _, column] = [0, 1, 2].map(|d| view.strides[lead + d].abs());
    if pool.channels <= 1 || channel >= column {
        return empty(x.py(), &x.dtype(), &shape);
    }
    shape[lead..].rotate_left(1);
    let y = empty(x.py(), &x.dtype(), &shape)?;
    let mut axes: Vec<usize> = (0..shape.len()).collect();
    axes[lead..].rotate_right(1);
    Ok(y.call_method1("transpose", (axes,))?.cast_into()?)
}
