//! NumPy arrays: which are taken, where they lie, and new ones.

use super::view::View;
use crate::definition::{Input, InputKind};
use crate::tensor::dims::Dims;
use crate::tensor::dtype::DType;
use numpy::npyffi::flags::{NPY_ARRAY_ALIGNED, NPY_ARRAY_WRITEABLE};
use numpy::npyffi::{NPY_ORDER, NPY_TYPES, NpyTypes, PY_ARRAY_API, get_type_object, npy_intp};
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

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

    /// Check that an array still lies where it did before other Python code may have run.
    pub fn check_array(&self, name: &str, array: &Array<'_>) -> PyResult<()> {
        let same = data(array) == self.data
            && array.shape() == &self.shape[..]
            && array.strides() == &self.strides[..]
            && array_dtype(array) == self.dtype;
        if same { Ok(()) } else { Err(has_changed(name)) }
    }
}

pub fn has_changed(name: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "{name}: its memory, shape or type was changed by other code during the call"
    ))
}

fn data(array: &Array<'_>) -> *mut u8 {
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

/// The element type of an array: native byte order only.
pub fn array_dtype(array: &Array<'_>) -> Option<DType> {
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

pub fn dtype_name(array: &Array<'_>) -> PyResult<String> {
    array.dtype().str().map(|name| name.to_string())
}

/// All inputs as arrays of one element type that the kernels take, a boolean mask excepted.
pub fn as_arrays<'py, const N: usize>(
    inputs: &[Input],
    objects: &[Option<Bound<'py, PyAny>>; N],
) -> PyResult<[Option<Array<'py>>; N]> {
    let mut arrays = [const { None }; N];
    let mut common: Option<DType> = None;
    let mut differ = false;
    for ((input, object), array) in inputs.iter().zip(objects).zip(&mut arrays) {
        let Some(object) = object.as_ref().filter(|object| !object.is_none()) else {
            if input.optional {
                continue;
            }
            let name = input.name;
            return Err(PyTypeError::new_err(format!("{name}: expected an array, got None")));
        };
        check_unmasked(input.name, object, inputs)?;
        let found = as_array(input.name, object)?;
        if checked_dtype(input, &found)? != DType::Bool {
            // A mask does not take part in the promotion: it becomes what the others are.
            let dtype = array_dtype(&found);
            differ |= common.is_some() && common != dtype;
            common = common.or(dtype);
        }
        *array = Some(found);
    }
    if differ {
        promote(inputs, &mut arrays)?;
    }
    Ok(arrays)
}

fn promote(inputs: &[Input], arrays: &mut [Option<Array<'_>>]) -> PyResult<()> {
    let operands = inputs.iter().zip(&*arrays).filter(|(input, _)| input.kind == InputKind::Float);
    let dtypes: Vec<_> = operands.filter_map(|(_, array)| Some(array.as_ref()?.dtype())).collect();
    let Some(py) = dtypes.first().map(|dtype| dtype.py()) else { return Ok(()) };
    let dtype = numpy(py)?.call_method1("result_type", PyTuple::new(py, dtypes)?)?;
    let keywords = PyDict::new(py);
    keywords.set_item("copy", false)?;
    for array in arrays.iter_mut().flatten() {
        if array_dtype(array) != Some(DType::Bool) {
            *array = array.call_method("astype", (&dtype,), Some(&keywords))?.cast_into()?;
        }
    }
    Ok(())
}

fn numpy(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static NUMPY: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = NUMPY.get_or_try_init(py, || PyResult::Ok(py.import("numpy")?.unbind()))?;
    Ok(module.bind(py))
}

/// An aligned array in native byte order: the object itself if it is one.
fn as_array<'py>(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Array<'py>> {
    let array = match object.cast::<PyUntypedArray>() {
        Ok(array) => array.clone(),
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

/// Refuse a masked array, whose mask an array of its memory would not have.
pub fn check_unmasked(name: &str, object: &Bound<'_, PyAny>, inputs: &[Input]) -> PyResult<()> {
    static MASKED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = object.py();
    // SAFETY: NumPy's type of arrays is there as long as the module is.
    let plain = unsafe { get_type_object(py, NpyTypes::PyArray_Type) };
    if object.get_type_ptr() == plain
        || !object.is_instance(MASKED.import(py, "numpy.ma", "MaskedArray")?)?
    {
        return Ok(());
    }
    let is_operand = |input: &Input| input.kind == InputKind::Float && input.name == name;
    let takes_mask = inputs.iter().any(|input| input.kind == InputKind::Mask);
    let instead = match takes_mask && inputs.iter().any(is_operand) {
        true => format!("; {name}.data with mask=~{name}.mask leaves out what is masked"),
        false => String::new(),
    };
    Err(PyTypeError::new_err(format!(
        "{name}: expected an array without a mask of its own, got a numpy.ma.MaskedArray; \
         {name}.filled(…) makes it one{instead}"
    )))
}

fn checked_dtype(input: &Input, array: &Array<'_>) -> PyResult<DType> {
    let is_mask = input.kind == InputKind::Mask;
    match array_dtype(array) {
        Some(DType::Bool) if !is_mask => {}
        Some(dtype) => return Ok(dtype),
        None => {}
    }
    let (boolean, cast) = if is_mask { ("bool, ", "bool_") } else { ("", "float32") };
    let (name, found) = (input.name, dtype_name(array)?);
    Err(PyTypeError::new_err(format!(
        "{name}: expected {boolean}float16, bfloat16, float32 or float64, got {found}; cast it, for example \
         with {name}.astype(numpy.{cast})"
    )))
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
