//! What NumPy makes of an op's inputs: arrays of one element type.

use super::array::{Array, array_dtype, data, dtype_name, has_changed, is_aligned, is_native};
use super::view::View;
use crate::tensor::definition::{Input, InputKind};
use crate::tensor::dtype::DType;
use numpy::npyffi::{NpyTypes, get_type_object};
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

/// An array of a caller, and where it lay when it was looked at.
pub struct Given<'py> {
    pub name: &'static str,
    pub array: Array<'py>,
    pub view: View,
}

impl AsRef<View> for Given<'_> {
    fn as_ref(&self) -> &View {
        &self.view
    }
}

impl<'py> Given<'py> {
    fn new(name: &'static str, array: Array<'py>) -> Given<'py> {
        let view = View::of_array(&array);
        Given { name, array, view }
    }

    /// Check that it still lies there after other Python code may have run.
    pub fn check(&self) -> PyResult<()> {
        let Given { array, view, .. } = self;
        let same = data(array) == view.data
            && array.shape() == &view.shape[..]
            && array.strides() == &view.strides[..]
            && array_dtype(array) == view.dtype;
        if same { Ok(()) } else { Err(has_changed(self.name)) }
    }
}

/// All inputs as arrays of one element type that the kernels take, a boolean mask excepted.
pub fn as_arrays<'py, const N: usize>(
    inputs: &[Input],
    objects: &[Option<Bound<'py, PyAny>>; N],
) -> PyResult<[Option<Given<'py>>; N]> {
    let mut arrays = [const { None }; N];
    let mut common: Option<DType> = None;
    let mut differ = false;
    for ((input, object), array) in inputs.iter().zip(objects).zip(&mut arrays) {
        let name = input.name;
        let Some(object) = object.as_ref().filter(|object| !object.is_none()) else {
            if input.optional {
                continue;
            }
            return Err(PyTypeError::new_err(format!("{name}: expected an array, got None")));
        };
        check_unmasked(name, object, inputs)?;
        let given = Given::new(name, as_array(name, object)?);
        let dtype = checked_dtype(input, &given)?;
        if dtype != DType::Bool {
            // A mask does not take part in the promotion: it becomes what the others are.
            differ |= common.is_some_and(|common| common != dtype);
            common = common.or(Some(dtype));
        }
        *array = Some(given);
    }
    if differ {
        promote(inputs, &mut arrays)?;
    }
    Ok(arrays)
}

fn promote(inputs: &[Input], arrays: &mut [Option<Given<'_>>]) -> PyResult<()> {
    let operands = inputs.iter().zip(&*arrays).filter(|(input, _)| input.kind == InputKind::Float);
    let dtypes: Vec<_> =
        operands.filter_map(|(_, given)| Some(given.as_ref()?.array.dtype())).collect();
    let Some(py) = dtypes.first().map(|dtype| dtype.py()) else { return Ok(()) };
    let dtype = numpy(py)?.call_method1("result_type", PyTuple::new(py, dtypes)?)?;
    let keywords = PyDict::new(py);
    keywords.set_item("copy", false)?;
    for given in arrays.iter_mut().flatten() {
        if given.view.dtype != Some(DType::Bool) {
            let cast = given.array.call_method("astype", (&dtype,), Some(&keywords))?;
            *given = Given::new(given.name, cast.cast_into()?);
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
    if is_aligned(&array) && is_native(&array) {
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

fn checked_dtype(input: &Input, given: &Given<'_>) -> PyResult<DType> {
    let is_mask = input.kind == InputKind::Mask;
    match given.view.dtype {
        Some(DType::Bool) if !is_mask => {}
        Some(dtype) => return Ok(dtype),
        None => {}
    }
    let (boolean, cast) = if is_mask { ("bool, ", "bool_") } else { ("", "float32") };
    let (name, found) = (input.name, dtype_name(&given.array)?);
    Err(PyTypeError::new_err(format!(
        "{name}: expected {boolean}float16, bfloat16, float32 or float64, got {found}; cast it, for example \
         with {name}.astype(numpy.{cast})"
    )))
}
