//! The ops on NumPy arrays and what NumPy makes arrays of.

use super::arguments::{self, Inputs, broadcast_shape, check_broadcasts_to, softmax_axes, tuple};
use super::view::{View, array_dtype, dtype_name, is_writeable};
use crate::attention::op::OpName;
use crate::attention::op::{WEIGHTS, Y};
use crate::definition::Input;
use crate::tensor::dims::Dims;
use crate::tensor::dtype::{DType, Direction};
use numpy::npyffi::flags::NPY_ARRAY_ALIGNED;
use numpy::npyffi::{NPY_ORDER, NpyTypes, PY_ARRAY_API, get_type_object, npy_intp};
use numpy::{PyArrayDescr, PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

pub type Array<'py> = Bound<'py, PyUntypedArray>;

/// softmax(scale · q∘k [+ mask]) ∘ v on arrays; see the Python function of this name.
#[pyfunction]
#[pyo3(signature = (q, k, v, axis, scale=None, mask=None, out=None, return_weights=false))]
#[allow(clippy::too_many_arguments)]
pub fn elementwise_attention<'py>(
    q: &Bound<'py, PyAny>,
    k: &Bound<'py, PyAny>,
    v: &Bound<'py, PyAny>,
    axis: &Bound<'py, PyAny>,
    scale: Option<f64>,
    mask: Option<&Bound<'py, PyAny>>,
    out: Option<&Bound<'py, PyAny>>,
    return_weights: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let inputs = [Some(q), Some(k), Some(v), mask];
    run(OpName::ElementwiseAttention, &inputs, axis, scale, out, return_weights)
}

/// Self-attention of x with learned arrays; see the Python function of this name.
#[pyfunction]
#[pyo3(signature = (x, w_q, w_k, w_v, b_q, b_k, b_v, axis, scale=None, mask=None, out=None, return_weights=false))]
#[allow(clippy::too_many_arguments)]
pub fn elementwise_self_attention<'py>(
    x: &Bound<'py, PyAny>,
    w_q: &Bound<'py, PyAny>,
    w_k: &Bound<'py, PyAny>,
    w_v: &Bound<'py, PyAny>,
    b_q: Option<&Bound<'py, PyAny>>,
    b_k: Option<&Bound<'py, PyAny>>,
    b_v: Option<&Bound<'py, PyAny>>,
    axis: &Bound<'py, PyAny>,
    scale: Option<f64>,
    mask: Option<&Bound<'py, PyAny>>,
    out: Option<&Bound<'py, PyAny>>,
    return_weights: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let inputs = [Some(x), Some(w_q), Some(w_k), Some(w_v), b_q, b_k, b_v, mask];
    run(OpName::ElementwiseSelfAttention, &inputs, axis, scale, out, return_weights)
}

fn run<'py>(
    op: OpName,
    objects: &[Option<&Bound<'py, PyAny>>],
    axis: &Bound<'py, PyAny>,
    scale: Option<f64>,
    out: Option<&Bound<'py, PyAny>>,
    return_weights: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let py = axis.py();
    let simd = super::simd()?;
    let arrays = as_arrays(py, op.definition().inputs, op.definition().mask(), objects)?;
    let views: Inputs<View> = std::array::from_fn(|j| arrays[j].as_ref().map(View::of_array));
    let mask = op.definition().mask();
    let shape = broadcast_shape(op.definition().inputs, &views[..mask])?;
    let softmax = softmax_axes(axis, &shape)?;
    if let Some(view) = &views[mask] {
        check_broadcasts_to("mask", view, &shape, "the result")?;
    }
    let y = match out {
        Some(out) => checked_out(out, &arrays[0], &shape, op.definition().inputs, &views)?,
        None => empty_result(&arrays[..mask], &shape)?,
    };
    let weights = return_weights.then(|| empty_result(&arrays[..mask], &shape)).transpose()?;
    let scale = arguments::scale(scale, &shape, &softmax);
    let mut call = arguments::call(op, Direction::Forward, &views, shape, softmax, scale);
    call.call.operands[Y] = View::of_array(&y).operand(&call.call.shape);
    if let Some(weights) = &weights {
        call.call.operands[WEIGHTS] = View::of_array(weights).operand(&call.call.shape);
    }
    super::run(py, &call, Direction::Forward, simd);
    match weights {
        Some(weights) => Ok((y, weights).into_pyobject(py)?.into_any()),
        None => Ok(y.into_any()),
    }
}

/// All inputs as arrays of one element type that the kernels take, a boolean mask excepted.
pub fn as_arrays<'py>(
    py: Python<'py>,
    names: &[Input],
    mask: usize,
    objects: &[Option<&Bound<'py, PyAny>>],
) -> PyResult<Inputs<Array<'py>>> {
    let mut arrays = Inputs::default();
    let mut common: Option<DType> = None;
    let mut differ = false;
    for (j, object) in objects.iter().enumerate() {
        let Some(object) = object else { continue };
        let array = as_array(names[j].name, object)?;
        let dtype = checked_dtype(names[j].name, &array, j == mask)?;
        if dtype != DType::Bool {
            // A mask does not take part in the promotion: it becomes what the others are.
            differ |= common.is_some_and(|common| common != dtype);
            common = common.or(Some(dtype));
        }
        arrays[j] = Some(array);
    }
    if differ {
        let dtypes: Vec<_> = arrays[..mask].iter().flatten().map(|array| array.dtype()).collect();
        let dtype =
            numpy(py)?.call_method1("result_type", pyo3::types::PyTuple::new(py, dtypes)?)?;
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
        Ok(array) => array.clone(),
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
    let aligned = unsafe { (*array.as_array_ptr()).fields.flags & NPY_ARRAY_ALIGNED != 0 };
    if aligned && array.dtype().is_native_byteorder() != Some(false) {
        return Ok(array);
    }
    let native = array.dtype().call_method1("newbyteorder", ("=",))?;
    Ok(array.call_method1("astype", (native,))?.cast_into()?)
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

/// `out` if the result can be written there.
fn checked_out<'py>(
    out: &Bound<'py, PyAny>,
    like: &Option<Array<'py>>,
    shape: &[usize],
    names: &[Input],
    inputs: &[Option<View>],
) -> PyResult<Array<'py>> {
    let Ok(array) = out.cast::<PyUntypedArray>() else {
        let found = out.get_type().fully_qualified_name()?;
        return Err(PyTypeError::new_err(format!("out: expected a numpy.ndarray, got {found}")));
    };
    let view = View::of_array(array);
    let aligned = unsafe { (*array.as_array_ptr()).fields.flags & NPY_ARRAY_ALIGNED != 0 };
    let like = like.as_ref().expect("the first input is required");
    if view.dtype != array_dtype(like) {
        let (expected, found) = (dtype_name(like)?, dtype_name(array)?);
        return Err(PyTypeError::new_err(format!("out: expected dtype {expected}, got {found}")));
    }
    if view.shape[..] != *shape {
        let (expected, found) = (tuple(shape), tuple(&view.shape));
        return Err(PyValueError::new_err(format!("out: expected shape {expected}, got {found}")));
    }
    if !is_writeable(array) || !aligned {
        return Err(PyValueError::new_err(
            "out: expected a writeable and aligned array, got one that is not",
        ));
    }
    for (Input { name, .. }, input) in names.iter().zip(inputs) {
        if let Some(input) = input {
            check_overlap(&view, name, input)?;
        }
    }
    if view.repeats() {
        return Err(PyValueError::new_err(
            "out: expected an array whose elements are all distinct, got one in which some share memory",
        ));
    }
    Ok(array.clone())
}

/// `out` may be an input itself; otherwise they must not share memory.
fn check_overlap(out: &View, name: &str, input: &View) -> PyResult<()> {
    if out.overlaps(input) && !out.is_same_memory(input) {
        return Err(PyValueError::new_err(format!(
            "out: expected memory of its own (or exactly that of an input), got an array that overlaps {name}"
        )));
    }
    Ok(())
}

/// An uninitialised array of the inputs' element type, in the memory order of the first input of that
/// shape.
fn empty_result<'py>(inputs: &[Option<Array<'py>>], shape: &[usize]) -> PyResult<Array<'py>> {
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
