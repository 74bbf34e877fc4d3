//! Checks of arguments that arrays and tensors share, and their messages.

use super::view::View;
use crate::attention::call::Call;
use crate::attention::dispatch::DynamicCall;
use crate::attention::layout::MAX_OPERANDS;
use crate::attention::op::OpName;
use crate::attention::op::{GRADIENTS, Y};
use crate::definition::Input;
use crate::tensor::dims::Dims;
use crate::tensor::dtype::{DType, Direction};
use crate::tensor::operand::Operand;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyTuple};

/// A shape as Python writes it.
pub fn tuple(shape: &[usize]) -> String {
    match shape {
        [n] => format!("({n},)"),
        _ => format!("({})", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// What there is of each input; no op has more.
pub type Inputs<T> = [Option<T>; Y];

/// The common shape of the `views` that are there by NumPy's rules.
pub fn broadcast_shape(inputs: &[Input], views: &[Option<View>]) -> PyResult<Vec<usize>> {
    let ndim = views.iter().flatten().map(|view| view.shape.len()).max().unwrap_or(0);
    let mut shape = vec![1; ndim];
    for view in views.iter().flatten() {
        for (common, &size) in shape[ndim - view.shape.len()..].iter_mut().zip(&view.shape) {
            if *common == 1 {
                *common = size;
            } else if size != 1 && size != *common {
                let named = inputs.iter().zip(views).filter_map(|(input, view)| {
                    let name = input.name;
                    Some(format!("{name} {}", tuple(&view.as_ref()?.shape)))
                });
                let list: Vec<_> = named.collect();
                return Err(PyValueError::new_err(format!(
                    "{}: expected shapes that broadcast against each other",
                    list.join(", ")
                )));
            }
        }
    }
    Ok(shape)
}

/// Check that `view` broadcasts to `shape`, which is called `of`.
pub fn check_broadcasts_to(name: &str, view: &View, shape: &[usize], of: &str) -> PyResult<()> {
    let missing = shape.len().checked_sub(view.shape.len());
    let fits = missing.is_some_and(|missing| {
        view.shape.iter().zip(&shape[missing..]).all(|(&size, &wanted)| size == 1 || size == wanted)
    });
    if fits {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "{name}: expected a shape that broadcasts to {}, the shape of {of}, got {}",
        tuple(shape),
        tuple(&view.shape)
    )))
}

/// Check that `view` has that shape and type.
pub fn check_kind(name: &str, view: &View, shape: &[usize], dtype: Option<DType>) -> PyResult<()> {
    if view.shape[..] == *shape && view.dtype == dtype {
        return Ok(());
    }
    let name_of = |dtype: Option<DType>| dtype.map_or("another type", DType::name);
    Err(PyValueError::new_err(format!(
        "{name}: expected the shape {} and {}, got {} and {}",
        tuple(shape),
        name_of(dtype),
        tuple(&view.shape),
        name_of(view.dtype)
    )))
}

/// Which axes of `shape` the softmax goes over.
pub fn softmax_axes(axis: &Bound<'_, PyAny>, shape: &[usize]) -> PyResult<Vec<bool>> {
    let as_int = |item: &Bound<'_, PyAny>| -> PyResult<isize> {
        if !item.is_instance_of::<PyBool>()
            && let Ok(i) = item.extract::<isize>()
        {
            return Ok(i);
        }
        let found = axis.repr()?;
        Err(PyTypeError::new_err(format!("axis: expected an int or a tuple of ints, got {found}")))
    };
    let list: Dims<isize> = match axis.cast::<PyTuple>() {
        Ok(items) => items.iter().map(|item| as_int(&item)).collect::<PyResult<_>>()?,
        Err(_) => [as_int(axis)?][..].into(),
    };
    let ndim = shape.len() as isize;
    if list.is_empty() {
        return Err(PyValueError::new_err("axis: expected at least one axis, got ()"));
    }
    let mut softmax = vec![false; shape.len()];
    for &i in &list {
        let d = if i < 0 { i + ndim } else { i };
        if d < 0 || d >= ndim {
            return Err(PyValueError::new_err(format!(
                "axis: {i} is out of range for the broadcast shape {} of {ndim} dimensions",
                tuple(shape)
            )));
        }
        if std::mem::replace(&mut softmax[d as usize], true) {
            return Err(PyValueError::new_err(format!(
                "axis: {i} is there twice in {}",
                axis.repr()?
            )));
        }
    }
    Ok(softmax)
}

/// The shape of the statistics: the maxima of all slices, and behind them the inverses.
pub fn statistics_shape(shape: &[usize], softmax: &[bool]) -> Vec<usize> {
    let own = shape.iter().zip(softmax);
    let sizes = own.map(|(&size, &is_softmax)| if is_softmax { 1 } else { size });
    std::iter::once(2).chain(sizes).collect()
}

/// 1/√n for the n elements of a slice, unless a scale is given.
pub fn scale(given: Option<f64>, shape: &[usize], softmax: &[bool]) -> f64 {
    given.unwrap_or_else(|| {
        let n: usize =
            shape.iter().zip(softmax).filter(|&(_, &s)| s).map(|(&size, _)| size).product();
        1.0 / (n.max(1) as f64).sqrt()
    })
}

/// A call of `op` on `inputs`, without outputs as yet.
pub fn call(
    op: OpName,
    direction: Direction,
    inputs: &[Option<View>],
    shape: Vec<usize>,
    softmax: Vec<bool>,
    scale: f64,
) -> DynamicCall {
    let gradients = if direction == Direction::Forward { 0 } else { MAX_OPERANDS - GRADIENTS };
    let mut operands = vec![Operand::absent(); GRADIENTS + gradients];
    for (operand, input) in operands[..Y].iter_mut().zip(inputs) {
        if let Some(view) = input {
            *operand = view.operand(&shape);
        }
    }
    DynamicCall {
        op,
        dtype: inputs[0].as_ref().and_then(|view| view.dtype).unwrap_or(DType::F32),
        scale,
        boolean_mask: inputs[op.definition().mask()]
            .as_ref()
            .is_some_and(|view| view.dtype == Some(DType::Bool)),
        residual: false,
        call: Call { shape, softmax, operands },
    }
}
