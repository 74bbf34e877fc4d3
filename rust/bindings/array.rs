//! NumPy arrays: where they lie, and new ones.

use super::view::View;
use crate::tensor::dims::Dims;
use crate::tensor::dtype::DType;
use numpy::npyffi::flags::{NPY_ARRAY_ALIGNED, NPY_ARRAY_WRITEABLE};
use numpy::npyffi::objects::PyArray_Descr_fields;
use numpy::npyffi::{NPY_ORDER, NPY_TYPES, NpyTypes, PY_ARRAY_API, get_type_object, npy_intp};
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

pub type Array<'py> = Bound<'py, PyUntypedArray>;

const FLOAT: i32 = NPY_TYPES::NPY_FLOAT as i32;
const DOUBLE: i32 = NPY_TYPES::NPY_DOUBLE as i32;

impl View {
    pub fn of_array(array: &Array<'_>) -> View {
        View {
            data: data(array),
            dtype: array_dtype(array),
            shape: array.shape().into(),
            strides: array.strides().into(),
        }
    }
}

pub fn has_changed(name: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "{name}: its memory, shape or type was changed by other code during the call"
    ))
}

pub fn data(array: &Array<'_>) -> *mut u8 {
    // SAFETY: an array's object has these fields.
    unsafe { (*array.as_array_ptr()).fields.data.cast() }
}

fn has_flag(array: &Array<'_>, flag: i32) -> bool {
    // SAFETY: an array's object has these fields.
    unsafe { (*array.as_array_ptr()).fields.flags & flag != 0 }
}

pub fn is_writeable(array: &Array<'_>) -> bool {
    has_flag(array, NPY_ARRAY_WRITEABLE)
}

pub fn is_aligned(array: &Array<'_>) -> bool {
    has_flag(array, NPY_ARRAY_ALIGNED)
}

fn descriptor<'a>(array: &'a Array<'_>) -> &'a PyArray_Descr_fields {
    // SAFETY: an array's object has these fields, and holds its descriptor.
    unsafe { &(*(*array.as_array_ptr()).fields.descr).fields }
}

/// Whether an array's numbers are surely in the byte order of this processor.
pub fn is_native(array: &Array<'_>) -> bool {
    descriptor(array).byteorder as u8 == b'=' || array.dtype().is_native_byteorder() != Some(false)
}

/// The element type of an array: native byte order only.
pub fn array_dtype(array: &Array<'_>) -> Option<DType> {
    let of_array = descriptor(array);
    if of_array.byteorder as u8 != b'=' && !is_native(array) {
        return None;
    }
    // The usual ones by their number, which lies at hand.
    match of_array.type_num {
        FLOAT => return Some(DType::F32),
        DOUBLE => return Some(DType::F64),
        _ => {}
    }
    let dtype = array.dtype();
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

pub fn dtype_name(array: &Array<'_>) -> PyResult<String> {
    array.dtype().str().map(|name| name.to_string())
}

/// An uninitialised array whose axes lie in memory as those of `like`.
pub fn empty_like<'py>(like: &Array<'py>) -> PyResult<Array<'py>> {
    let py = like.py();
    if like.is_c_contiguous() {
        return empty(py, &like.dtype(), like.shape());
    }
    let (order, no_subclass) = (NPY_ORDER::NPY_KEEPORDER, 0);
    let (same_dtype, like) = (std::ptr::null_mut(), like.as_array_ptr());
    // SAFETY: NumPy gives a new array, or null and an error.
    unsafe {
        let array = PY_ARRAY_API.PyArray_NewLikeArray(py, like, order, same_dtype, no_subclass);
        Ok(Bound::from_owned_ptr_or_err(py, array)?.cast_into_unchecked())
    }
}

/// An uninitialised array in C's order.
pub fn empty<'py>(
    py: Python<'py>,
    dtype: &Bound<'py, PyArrayDescr>,
    shape: &[usize],
) -> PyResult<Array<'py>> {
    let mut dims: Dims<npy_intp> = shape.iter().map(|&n| n as npy_intp).collect();
    // SAFETY: NumPy takes the reference to the type, and gives a new array, or null and an error.
    unsafe {
        let array = PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            get_type_object(py, NpyTypes::PyArray_Type),
            dtype.clone().into_ptr().cast(),
            dims.len() as _,
            dims.as_mut_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
        );
        Ok(Bound::from_owned_ptr_or_err(py, array)?.cast_into_unchecked())
    }
}
