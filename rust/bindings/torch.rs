//! What there is to ask of torch, and to have made by it.

use super::arguments::Inputs;
use super::run::releases_gil;
use super::view::View;
use crate::attention::op::OpName;
use crate::tensor::dtype::DType;
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

pub type Object<'py> = Bound<'py, PyAny>;

/// Functions and types of torch, looked up once: that takes longer than to call them.
pub struct Torch {
    torch: Py<PyModule>,
    /// The types whose instances do nothing of their own.
    plain: [Py<PyAny>; 2],
    /// Each says whether something of its kind is active: transforms, modes, tracing.
    active: [Py<PyAny>; 4],
    /// The names in the module of forward-mode differentiation, among them its level.
    forward_ad: Py<PyDict>,
    autocast_enabled: Py<PyAny>,
    grad_enabled: Py<PyAny>,
    empty_like: Py<PyAny>,
    is_neg: Py<PyAny>,
}

/// Import torch at the first call.
pub fn torch(py: Python<'_>) -> PyResult<&Torch> {
    static TORCH: PyOnceLock<Torch> = PyOnceLock::new();
    TORCH.get_or_try_init(py, || Torch::new(py))
}

impl Torch {
    fn new(py: Python<'_>) -> PyResult<Torch> {
        let torch = py.import("torch")?;
        let (c, nn) = (torch.getattr("_C")?, torch.getattr("nn")?);
        let of = |object: &Bound<'_, PyAny>, name: &str| -> PyResult<Py<PyAny>> {
            Ok(object.getattr(name)?.unbind())
        };
        let forward_ad = py.import("torch.autograd.forward_ad")?.dict();
        PyResult::Ok(Torch {
            plain: [of(&torch, "Tensor")?, of(&nn, "Parameter")?],
            active: [
                of(&c, "_are_functorch_transforms_active")?,
                of(&c, "_len_torch_dispatch_stack")?,
                of(&c, "_len_torch_function_stack")?,
                of(&c, "_get_tracing_state")?,
            ],
            forward_ad: forward_ad.unbind(),
            autocast_enabled: of(&torch, "is_autocast_enabled")?,
            grad_enabled: of(&torch, "is_grad_enabled")?,
            empty_like: of(&torch, "empty_like")?,
            is_neg: of(&torch.getattr("Tensor")?, "is_neg")?,
            torch: torch.unbind(),
        })
    }

    /// Whether nothing that is active wants to see the operations; with `cast`, not even autocast.
    pub fn is_plain_eager(&self, py: Python<'_>, cast: bool) -> PyResult<bool> {
        for active in &self.active {
            if is_true(py, active)? {
                return Ok(false);
            }
        }
        let level = self.forward_ad.bind(py).get_item(intern!(py, "_current_level"))?;
        let is_outside =
            level.is_some_and(|level| level.extract().is_ok_and(|level: i64| level < 0));
        if !is_outside || cast {
            return Ok(is_outside);
        }
        let autocast = call(&self.autocast_enabled, intern!(py, "cpu"))?;
        Ok(!autocast.is_truthy()?)
    }

    pub fn is_grad_enabled(&self, py: Python<'_>) -> PyResult<bool> {
        is_true(py, &self.grad_enabled)
    }

    /// Whether autograd is to remember a call with these tensors.
    pub fn wants_gradients<'a, 'py: 'a>(
        &self,
        py: Python<'py>,
        tensors: impl Iterator<Item = &'a Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        if !self.is_grad_enabled(py)? {
            return Ok(false);
        }
        for tensor in tensors {
            if tensor.getattr(intern!(py, "requires_grad"))?.is_truthy()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether it is a tensor that does nothing of its own.
    pub fn is_plain(&self, tensor: &Bound<'_, PyAny>) -> bool {
        let kind = tensor.get_type_ptr();
        self.plain.iter().any(|plain| plain.as_ptr() == kind.cast())
    }

    /// Where a plain tensor on the CPU lies; None if it is none, or does not hold what its memory says.
    pub fn view(&self, tensor: &Bound<'_, PyAny>) -> PyResult<Option<View>> {
        if !self.is_plain(tensor) {
            return Ok(None);
        }
        let Some(view) = View::of_plain_tensor(tensor) else { return Ok(None) };
        Ok((!self.is_negative(tensor)?).then_some(view))
    }

    /// Whether all are tensors that do nothing of their own and hold what their memory says.
    pub fn are_plain<'a, 'py: 'a>(
        &self,
        tensors: impl IntoIterator<Item = &'a Object<'py>>,
    ) -> PyResult<bool> {
        for tensor in tensors {
            if !self.is_plain(tensor) || self.is_negative(tensor)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_negative(&self, tensor: &Object<'_>) -> PyResult<bool> {
        call(&self.is_neg, tensor)?.is_truthy()
    }

    /// Where the inputs lie, if all are plain tensors of one type (but for a boolean mask).
    pub fn views(&self, op: OpName, inputs: &Inputs<Object<'_>>) -> PyResult<Option<Inputs<View>>> {
        let mut views = Inputs::default();
        let mut common = None;
        for (j, input) in inputs.iter().enumerate() {
            let Some(input) = input else { continue };
            let Some(view) = self.view(input)? else { return Ok(None) };
            let is_boolean_mask = j == op.mask() && view.dtype == Some(DType::Bool);
            let common = *common.get_or_insert(view.dtype);
            if (view.dtype != common && !is_boolean_mask) || common == Some(DType::Bool) {
                return Ok(None);
            }
            views[j] = Some(view);
        }
        Ok(views[..op.required()].iter().all(Option::is_some).then_some(views))
    }

    /// What has to be kept while a kernel works on so many elements, maybe without the GIL: another thread
    /// may give a tensor other memory. None if a tensor is not plain.
    pub fn plain_memory<'a, 'py: 'a>(
        &self,
        elements: usize,
        tensors: impl Iterator<Item = &'a Object<'py>>,
    ) -> PyResult<Option<Vec<Object<'py>>>> {
        let mut storages = Vec::new();
        if releases_gil(elements) {
            for tensor in tensors {
                if !self.are_plain([tensor])? {
                    return Ok(None);
                }
                storages.push(storage(tensor)?);
            }
        }
        Ok(Some(storages))
    }

    /// An uninitialised tensor like another.
    pub fn empty_like<'py>(&self, like: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        call(&self.empty_like, like)
    }

    /// An uninitialised tensor of another shape.
    pub fn new_empty<'py>(
        &self,
        like: &Bound<'py, PyAny>,
        shape: &[usize],
    ) -> PyResult<Bound<'py, PyAny>> {
        let shape = PyTuple::new(like.py(), shape)?;
        like.call_method1(intern!(like.py(), "new_empty"), (shape,))
    }

    /// An uninitialised tensor on the CPU.
    pub fn empty<'py>(
        &self,
        py: Python<'py>,
        shape: &[usize],
        dtype: DType,
    ) -> PyResult<Bound<'py, PyAny>> {
        let torch = self.torch.bind(py);
        let keywords = PyDict::new(py);
        keywords.set_item("dtype", torch.getattr(dtype.name())?)?;
        keywords.set_item("device", "cpu")?;
        torch.call_method("empty", (PyTuple::new(py, shape)?,), Some(&keywords))
    }
}

/// The inputs in the tuple, those that are None not being there.
pub fn inputs_of<'py>(op: OpName, tuple: &Bound<'py, PyTuple>) -> PyResult<Inputs<Object<'py>>> {
    let (most, found) = (op.inputs().len(), tuple.len());
    if found > most {
        let message = format!("inputs: expected at most {most} tensors, got {found}");
        return Err(PyValueError::new_err(message));
    }
    let mut inputs = Inputs::default();
    for (place, object) in inputs.iter_mut().zip(tuple) {
        *place = Some(object).filter(|object| !object.is_none());
    }
    Ok(inputs)
}

/// The memory of tensors, to be kept as that of plain ones. Taking it may run code of the tensors: their
/// views are to be taken later.
pub fn memory<'a, 'py: 'a>(
    tensors: impl IntoIterator<Item = &'a Object<'py>>,
) -> PyResult<Vec<Object<'py>>> {
    let checked = |tensor: &Object<'py>| {
        if torch(tensor.py())?.is_negative(tensor)? {
            return Err(PyValueError::new_err(
                "expected tensors whose memory holds their numbers, got one with the negative bit; \
                 pass its resolve_neg()",
            ));
        }
        storage(tensor)
    };
    tensors.into_iter().map(checked).collect()
}

fn storage<'py>(tensor: &Object<'py>) -> PyResult<Object<'py>> {
    tensor.call_method0(intern!(tensor.py(), "untyped_storage"))
}

/// Call a function with one argument, without the tuple that `call1` makes.
fn call<'py>(function: &Py<PyAny>, argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: both are objects, and the result is one of ours or an error.
    unsafe {
        let end = std::ptr::null_mut::<ffi::PyObject>();
        let result = ffi::PyObject_CallFunctionObjArgs(function.as_ptr(), argument.as_ptr(), end);
        Bound::from_owned_ptr_or_err(argument.py(), result)
    }
}

fn is_true(py: Python<'_>, function: &Py<PyAny>) -> PyResult<bool> {
    function.bind(py).call0()?.is_truthy()
}
