//! Where the memory of a NumPy array or a torch tensor lies.

use super::dlpack;
use crate::tensor::dims::Dims;
use crate::tensor::dtype::DType;
use crate::tensor::operand::Operand;
use numpy::npyffi::NPY_TYPES;
use numpy::npyffi::flags::{NPY_ARRAY_ALIGNED, NPY_ARRAY_WRITEABLE};
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::ffi::c_int;

#[derive(Clone)]
pub struct View {
    pub data: *mut u8,
    /// `None`: a type that no kernel takes.
    pub dtype: Option<DType>,
    pub shape: Dims<usize>,
    /// In bytes.
    pub strides: Dims<isize>,
}

impl View {
    pub fn of_array(array: &Bound<'_, PyUntypedArray>) -> View {
        View {
            // SAFETY: it is an array.
            data: unsafe { (*array.as_array_ptr()).fields.data.cast() },
            dtype: array_dtype(array),
            shape: array.shape().into(),
            strides: array.strides().into(),
        }
    }

    /// A torch tensor on the CPU; that it holds what its memory says is for the caller to know.
    pub fn of_tensor(tensor: &Bound<'_, PyAny>) -> PyResult<View> {
        let view = match dlpack::borrow(tensor) {
            Some(borrowed) => View::of_borrowed(&borrowed),
            None => None,
        };
        let view = view.map_or_else(|| View::of_tensor_by_attributes(tensor), Ok)?;
        if view.data.is_null() && !view.shape.contains(&0) {
            let kind = tensor.get_type().fully_qualified_name()?;
            return Err(PyTypeError::new_err(format!(
                "expected tensors with memory, got a {kind} without"
            )));
        }
        Ok(view)
    }

    /// A torch tensor that has said that it is on the CPU and where its memory is.
    pub fn of_plain_tensor(tensor: &Bound<'_, PyAny>) -> Option<View> {
        let view = View::of_borrowed(&dlpack::borrow(tensor)?)?;
        (!view.data.is_null() || view.shape.contains(&0)).then_some(view)
    }

    fn of_borrowed(tensor: &dlpack::Borrowed<'_>) -> Option<View> {
        let dtype = match (tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes) {
            (2, 16, 1) => DType::F16,
            (2, 32, 1) => DType::F32,
            (2, 64, 1) => DType::F64,
            (4, 16, 1) => DType::BF16,
            (6, 8, 1) => DType::Bool,
            _ => return None,
        };
        Some(View {
            data: tensor.data,
            dtype: Some(dtype),
            shape: tensor.shape.iter().map(|&n| n as usize).collect(),
            strides: tensor.strides.iter().map(|&s| s as isize * dtype.item() as isize).collect(),
        })
    }

    /// For a torch that has no exchange interface.
    fn of_tensor_by_attributes(tensor: &Bound<'_, PyAny>) -> PyResult<View> {
        let py = tensor.py();
        if !tensor.getattr(intern!(py, "is_cpu"))?.is_truthy()? {
            let kind = tensor.get_type().fully_qualified_name()?;
            return Err(PyTypeError::new_err(format!("expected tensors on the CPU, got a {kind}")));
        }
        let dtype = tensor_dtype(&tensor.getattr(intern!(py, "dtype"))?)?;
        let strides: Vec<isize> = tensor.call_method0(intern!(py, "stride"))?.extract()?;
        Ok(View {
            data: tensor.call_method0(intern!(py, "data_ptr"))?.extract::<usize>()? as *mut u8,
            dtype: Some(dtype),
            shape: tensor.getattr(intern!(py, "shape"))?.extract::<Vec<usize>>()?[..].into(),
            strides: strides.into_iter().map(|s| s * dtype.item() as isize).collect(),
        })
    }

    /// As an operand of a call over `shape`, to which it broadcasts.
    pub fn operand(&self, shape: &[usize]) -> Operand {
        let mut strides = Dims::of_default(shape.len());
        let missing = shape.len() - self.shape.len();
        for (d, (&size, &stride)) in self.shape.iter().zip(&self.strides).enumerate() {
            if size != 1 {
                // torch may give an empty axis a stride of zero, which here means that it is broadcast.
                strides[missing + d] = if size == 0 { 1 } else { stride };
            }
        }
        // An empty array may have no memory, but it is there.
        let data = if self.data.is_null() { std::ptr::dangling_mut() } else { self.data };
        Operand { data, item: self.dtype.map_or(1, DType::item), strides }
    }

    /// The two parts of an array whose first axis is two long.
    pub fn halves(self) -> (View, View) {
        let step = self.strides.first().copied().unwrap_or(0);
        let part = |offset: isize| View {
            data: self.data.wrapping_offset(offset),
            dtype: self.dtype,
            shape: self.shape[1..].into(),
            strides: self.strides[1..].into(),
        };
        (part(0), part(step))
    }

    /// The addresses from the first byte to behind the last.
    pub fn extent(&self) -> (usize, usize) {
        let (mut low, mut high) = (self.data as isize, self.data as isize);
        if self.shape.contains(&0) {
            return (low as usize, low as usize);
        }
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            let reach = (size as isize - 1) * stride;
            if reach < 0 { low += reach } else { high += reach }
        }
        (low as usize, high as usize + self.dtype.map_or(1, DType::item))
    }

    /// Whether there may be bytes that belong to both.
    pub fn overlaps(&self, other: &View) -> bool {
        let ((a, b), (c, d)) = (self.extent(), other.extent());
        a.max(c) < b.min(d)
    }

    /// Whether elements may share memory, as in what is broadcast, or in windows that overlap.
    pub fn repeats(&self) -> bool {
        let axes = self.strides.iter().zip(&self.shape).filter(|&(_, &n)| n != 1);
        let mut steps: Dims<(usize, usize)> =
            axes.map(|(stride, &n)| (stride.unsigned_abs(), n)).collect();
        steps.sort_unstable();
        // Each step has to lead past all that the smaller ones reach.
        let mut reach = self.dtype.map_or(1, DType::item);
        let mut falls_short = |&(step, n): &(usize, usize)| {
            let short = step < reach;
            reach = step.saturating_mul(n);
            short
        };
        !self.shape.contains(&0) && steps.iter().any(&mut falls_short)
    }

    pub fn is_same_memory(&self, other: &View) -> bool {
        self.data == other.data && self.shape == other.shape && self.strides == other.strides
    }
}

const FLOAT: i32 = NPY_TYPES::NPY_FLOAT as i32;
const DOUBLE: i32 = NPY_TYPES::NPY_DOUBLE as i32;

/// The element type of an array: native byte order only.
pub fn array_dtype(array: &Bound<'_, PyUntypedArray>) -> Option<DType> {
    let dtype = array.dtype();
    if dtype.is_native_byteorder() == Some(false) {
        return None;
    }
    // The usual ones by their number, which lies at hand.
    match dtype.num() {
        FLOAT => return Some(DType::F32),
        DOUBLE => return Some(DType::F64),
        _ => {}
    }
    match (dtype.kind(), dtype.itemsize()) {
        (b'f', 2) => Some(DType::F16),
        (b'f', 4) => Some(DType::F32),
        (b'f', 8) => Some(DType::F64),
        (b'b', 1) => Some(DType::Bool),
        // bfloat16 of the package ml_dtypes
        (_, 2) if dtype_name(array).is_ok_and(|name| name == "bfloat16") => Some(DType::BF16),
        _ => None,
    }
}

pub fn dtype_name(array: &Bound<'_, PyUntypedArray>) -> PyResult<String> {
    array.dtype().str().map(|name| name.to_string())
}

fn has_flag(array: &Bound<'_, PyUntypedArray>, flag: c_int) -> bool {
    // SAFETY: it is an array.
    unsafe { (*array.as_array_ptr()).fields.flags & flag != 0 }
}

pub fn is_writeable(array: &Bound<'_, PyUntypedArray>) -> bool {
    has_flag(array, NPY_ARRAY_WRITEABLE)
}

pub fn is_aligned(array: &Bound<'_, PyUntypedArray>) -> bool {
    has_flag(array, NPY_ARRAY_ALIGNED)
}

/// torch's dtypes are objects of which there is one each.
fn tensor_dtype(dtype: &Bound<'_, PyAny>) -> PyResult<DType> {
    static DTYPES: PyOnceLock<[(Py<PyAny>, DType); 5]> = PyOnceLock::new();
    let py = dtype.py();
    let dtypes = DTYPES.get_or_try_init(py, || {
        let torch = py.import("torch")?;
        let get = |d: DType| PyResult::Ok((torch.getattr(d.name())?.unbind(), d));
        let [a, b, c, d, e] =
            [DType::F32, DType::BF16, DType::F16, DType::F64, DType::Bool].map(get);
        PyResult::Ok([a?, b?, c?, d?, e?])
    })?;
    let found = dtypes.iter().find(|(object, _)| object.is(dtype)).map(|&(_, d)| d);
    found.ok_or_else(|| PyTypeError::new_err(format!("no kernel takes tensors of {dtype}")))
}
