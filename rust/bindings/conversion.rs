//! Arrays of what NumPy makes arrays of, and new ones.

use super::arguments::Inputs;
use super::view::{array_dtype, dtype_name, is_aligned};
use crate::tensor::dims::Dims;
use crate::tensor::dtype::DType;
use numpy::npyffi::{NPY_ORDER, NpyTypes, PY_ARRAY_API, get_type_object, npy_intp};
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

pub type Array<'py> = Bound<'py, PyUntypedArray>;

/// All inputs as arrays of one element type that the kernels take, a boolean mask excepted.
pub fn as_arrays<'py>(
    py: Python<'py>,
    names: &[&str],
    mask: usize,
    objects: &[Option<&Bound<'py, PyAny>>],
) -> PyResult<Inputs<Array<'py>>> {
    let mut arrays = Inputs::default();
    let mut common: Option<DType> = None;
    let mut differ = false;
    for (j, object) in objects.iter().enumerate() {
        let Some(object) = object else { continue };
        let array = as_array(names[j], object)?;
        let dtype = checked_dtype(names[j], &array, j == mask)?;
        if dtype != DType::Bool {
            // A mask does not take part in the promotion: it becomes what the others are.
            differ |= common.is_some_and(|common| common != dtype);
            common = common.or(Some(dtype));
        }
        arrays[j] = Some(array);
    }
    if differ {
        let dtypes: Vec<_> = arrays[..mask].iter().flatten().map(|array| array.dtype()).collect();
        let dtype = numpy(py)?.call_method1("result_type", PyTuple::new(py, dtypes)?)?;
        for array in arrays.iter_mut().flatten() {
            if array_dtype(array) != Some(DType::Bool) {
                *array = cast(array, &dtype)?;
            }
        }
    }
    Ok(arrays)
}

fn numpy(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    static NUMPY: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = NUMPY.get_or_try_init(py, || PyResult::Ok(py.import("numpy")?.unbind()))?;
    Ok(module.bind(py).clone())
}

/// An aligned array in native byte order: the object itself if it is one.
fn as_array<'py>(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Array<'py>> {
    let array = match object.cast::<PyUntypedArray>() {
        Ok(array) => {
            if is_masked(array)? {
                return Err(PyTypeError::new_err(format!(
                    "{name}: expected an array without a mask of its own, got a \
                     numpy.ma.MaskedArray; pass {name}.filled(0.0), or {name}.data and \
                     mask=~numpy.ma.getmaskarray({name}) where there is that argument"
                )));
            }
            array.clone()
        }
        Err(_) if object.is_none() => {
            return Err(PyTypeError::new_err(format!("{name}: expected an array, got None")));
        }
        Err(_) => {
            let found = numpy(object.py())?.call_method1("asarray", (object,));
            let found = found.map_err(|error| {
                let kind = object.get_type();
                PyValueError::new_err(format!(
                    "{name}: expected an array, got a {kind} that is none: {error}"
                ))
            })?;
            found.cast_into()?
        }
    };
    if is_aligned(&array) && array.dtype().is_native_byteorder() != Some(false) {
        return Ok(array);
    }
    let native = array.dtype().call_method1("newbyteorder", ("=",))?;
    Ok(array.call_method1("astype", (native,))?.cast_into()?)
}

/// Whether it is a `numpy.ma.MaskedArray`, whose mask would be ignored without a word.
pub fn is_masked(array: &Array<'_>) -> PyResult<bool> {
    let py = array.py();
    // SAFETY: both are types, and neither is kept.
    let is_plain =
        unsafe { ffi::Py_TYPE(array.as_ptr()) == get_type_object(py, NpyTypes::PyArray_Type) };
    Ok(!is_plain && array.is_instance(&numpy(py)?.getattr("ma")?.getattr("MaskedArray")?)?)
}

fn cast<'py>(array: &Array<'py>, dtype: &Bound<'py, PyAny>) -> PyResult<Array<'py>> {
    let keywords = PyDict::new(array.py());
    keywords.set_item("copy", false)?;
    Ok(array.call_method("astype", (dtype,), Some(&keywords))?.cast_into()?)
}

fn checked_dtype(name: &str, array: &Array<'_>, is_mask: bool) -> PyResult<DType> {
    match array_dtype(array) {
        Some(DType::Bool) if !is_mask => {}
        Some(dtype) => return Ok(dtype),
        None => {}
    }
    let boolean = if is_mask { "bool, " } else { "" };
    Err(PyTypeError::new_err(format!(
        "{name}: expected {boolean}float16, bfloat16, float32 or float64, got {}; cast it, for example with \
         {name}.astype(numpy.{})",
        dtype_name(array)?,
        if is_mask { "bool_" } else { "float32" },
    )))
}

/// An uninitialised array of the inputs' element type, in the memory order of the first input of that
/// shape.
pub fn empty_result<'py>(inputs: &[Option<Array<'py>>], shape: &[usize]) -> PyResult<Array<'py>> {
    let first = inputs[0].as_ref().expect("the first input is required");
    match inputs.iter().flatten().find(|array| array.shape() == shape) {
        Some(like) => empty_like(like),
        None => empty(first.py(), &first.dtype(), shape, false),
    }
}

/// An uninitialised array whose axes lie in memory as those of `like`.
fn empty_like<'py>(like: &Array<'py>) -> PyResult<Array<'py>> {
    if like.is_c_contiguous() {
        return empty(like.py(), &like.dtype(), like.shape(), false);
    }
    // SAFETY: `like` is an array; the result is a new array of ours, or an error.
    unsafe {
        let (order, no_subclass) = (NPY_ORDER::NPY_KEEPORDER, 0);
        let array = PY_ARRAY_API.PyArray_NewLikeArray(
            like.py(),
            like.as_array_ptr(),
            order,
            std::ptr::null_mut(),
            no_subclass,
        );
        Ok(Bound::from_owned_ptr_or_err(like.py(), array)?.cast_into_unchecked())
    }
}

/// An uninitialised array, in C's or in Fortran's order.
pub fn empty<'py>(
    py: Python<'py>,
    dtype: &Bound<'py, PyArrayDescr>,
    shape: &[usize],
    fortran: bool,
) -> PyResult<Array<'py>> {
    let mut dims: Dims<npy_intp> = shape.iter().map(|&n| n as npy_intp).collect();
    // SAFETY: there are as many `dims` as said, and the array takes over the reference to the type; the
    // result is a new array of ours, or an error.
    unsafe {
        let array = PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            get_type_object(py, NpyTypes::PyArray_Type),
            dtype.clone().into_ptr().cast(),
            dims.len() as _,
            dims.as_mut_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            fortran.into(),
            std::ptr::null_mut(),
        );
        Ok(Bound::from_owned_ptr_or_err(py, array)?.cast_into_unchecked())
    }
}
