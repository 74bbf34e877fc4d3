//! Checks of arguments that arrays and tensors share, and their messages.

use super::view::View;
use crate::tensor::definition::{Input, InputKind};
use crate::tensor::dims::Dims;
use crate::tensor::dtype::DType;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyTuple};

/// A shape, or a list of numbers, as Python writes it.
pub fn tuple<T: ToString>(list: &[T]) -> String {
    match list {
        [n] => format!("({},)", n.to_string()),
        _ => format!("({})", list.iter().map(T::to_string).collect::<Vec<_>>().join(", ")),
    }
}

pub fn check_count(found: usize, expected: usize) -> PyResult<()> {
    if found == expected {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("inputs: expected {expected} (or None), got {found}")))
}

/// The common shape of the `views` that are there, but for the mask, by NumPy's rules.
pub fn broadcast_shape<T: AsRef<View>>(
    inputs: &[Input],
    views: &[Option<T>],
) -> PyResult<Vec<usize>> {
    let all = || {
        let operands = inputs.iter().zip(views).filter(|(input, _)| input.kind == InputKind::Float);
        operands.filter_map(|(input, view)| Some((input.name, view.as_ref()?.as_ref())))
    };
    let views = || all().map(|(_, view)| view);
    let ndim = views().map(|view| view.shape.len()).max().unwrap_or(0);
    let mut shape = vec![1; ndim];
    for view in views() {
        for (common, &size) in shape[ndim - view.shape.len()..].iter_mut().zip(&view.shape) {
            if *common == 1 {
                *common = size;
            } else if size != 1 && size != *common {
                let named = all().map(|(name, view)| format!("{name} {}", tuple(&view.shape)));
                return Err(PyValueError::new_err(format!(
                    "{}: expected shapes that broadcast against each other",
                    named.collect::<Vec<_>>().join(", ")
                )));
            }
        }
    }
    Ok(shape)
}

/// Check that `view` broadcasts to `shape`, which is that of the result.
pub fn check_broadcasts_to(name: &str, view: &View, shape: &[usize]) -> PyResult<()> {
    let missing = shape.len().checked_sub(view.shape.len());
    let fits = missing.is_some_and(|missing| {
        view.shape.iter().zip(&shape[missing..]).all(|(&size, &wanted)| size == 1 || size == wanted)
    });
    if fits {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "{name}: expected a shape that broadcasts to {}, the shape of the result, got {}",
        tuple(shape),
        tuple(&view.shape)
    )))
}

/// Check that `view` has that shape and type.
pub fn check_kind(name: &str, view: &View, shape: &[usize], dtype: DType) -> PyResult<()> {
    if view.shape[..] == *shape && view.dtype == Some(dtype) {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "{name}: expected shape {} and {}, got {} and {}",
        tuple(shape),
        dtype.name(),
        tuple(&view.shape),
        view.dtype.map_or("another type", DType::name)
    )))
}

/// The common type of tensors, which is that of the first; a mask may be boolean instead.
pub fn common_dtype<T: AsRef<View>>(inputs: &[Input], views: &[Option<T>]) -> PyResult<DType> {
    let mut common = None;
    for (input, view) in inputs.iter().zip(views) {
        let name = input.name;
        let Some(view) = view else {
            if input.optional {
                continue;
            }
            return Err(PyTypeError::new_err(format!("{name}: expected a tensor, got None")));
        };
        let dtype = view.as_ref().dtype;
        if input.kind == InputKind::Mask && dtype == Some(DType::Bool) {
            continue;
        }
        let got = dtype.map_or("another type", DType::name);
        let Some(float) = dtype.filter(|&dtype| dtype != DType::Bool) else {
            return Err(PyTypeError::new_err(format!(
                "{name}: expected float16, bfloat16, float32 or float64, got {got}"
            )));
        };
        let expected = *common.get_or_insert(float);
        if expected != float {
            return Err(PyTypeError::new_err(format!(
                "{name}: expected the type torch.{}, got torch.{got}",
                expected.name()
            )));
        }
    }
    common.ok_or_else(|| PyTypeError::new_err("expected at least one input, got none"))
}

/// An int, or a tuple of them.
pub fn parse_axes(axis: &Bound<'_, PyAny>) -> PyResult<Dims<isize>> {
    let as_int = |item: &Bound<'_, PyAny>| -> PyResult<isize> {
        if !item.is_instance_of::<PyBool>()
            && let Ok(i) = item.extract::<isize>()
        {
            return Ok(i);
        }
        let found = axis.repr()?;
        Err(PyTypeError::new_err(format!("axis: expected an int or a tuple of ints, got {found}")))
    };
    match axis.cast::<PyTuple>() {
        Ok(items) => items.iter().map(|item| as_int(&item)).collect(),
        Err(_) => Ok([as_int(axis)?][..].into()),
    }
}

/// Which axes of `shape` the softmax goes over.
pub fn softmax_axes(axes: &[isize], shape: &[usize]) -> PyResult<Vec<bool>> {
    let ndim = shape.len() as isize;
    if axes.is_empty() {
        return Err(PyValueError::new_err("axis: expected at least one axis, got ()"));
    }
    let mut softmax = vec![false; shape.len()];
    for &i in axes {
        let d = if i < 0 { i + ndim } else { i };
        if d < 0 || d >= ndim {
            return Err(PyValueError::new_err(format!(
                "axis: {i} is out of range for the broadcast shape {} of {ndim} dimensions",
                tuple(shape)
            )));
        }
        if std::mem::replace(&mut softmax[d as usize], true) {
            let all = tuple(axes);
            return Err(PyValueError::new_err(format!("axis: {i} is there twice in {all}")));
        }
    }
    Ok(softmax)
}
