//! What there is to ask of torch, and to have made by it.

use crate::tensor::dtype::DType;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

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

    pub fn is_tensor(&self, object: &Bound<'_, PyAny>) -> bool {
        // SAFETY: the first of the plain types is the class of all tensors.
        unsafe { ffi::PyObject_TypeCheck(object.as_ptr(), self.plain[0].as_ptr().cast()) != 0 }
    }

    /// Whether a tensor is of a type that does nothing of its own.
    pub fn is_plain(&self, tensor: &Bound<'_, PyAny>) -> bool {
        let kind = tensor.get_type_ptr();
        self.plain.iter().any(|plain| plain.as_ptr() == kind.cast())
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

    /// An uninitialised tensor of images, channels last in memory or not.
    pub fn empty_images<'py>(
        &self,
        like: &Bound<'py, PyAny>,
        shape: &[usize],
        channels_last: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let &[n, channels, height, width] = shape else { return self.new_empty(like, shape) };
        if !channels_last {
            return self.new_empty(like, shape);
        }
        let images = self.new_empty(like, &[n, height, width, channels])?;
        images.call_method1(intern!(like.py(), "permute"), (0, 3, 1, 2))
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
        keywords.set_item(intern!(py, "dtype"), torch.getattr(dtype.name())?)?;
        keywords.set_item(intern!(py, "device"), intern!(py, "cpu"))?;
        torch.call_method(intern!(py, "empty"), (PyTuple::new(py, shape)?,), Some(&keywords))
    }
}

/// Call a function with one argument, without the tuple that `call1` makes.
fn call<'py>(function: &Py<PyAny>, argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: both are objects, and the result is a new one, or null and an error.
    unsafe {
        let end = std::ptr::null_mut::<ffi::PyObject>();
        let result = ffi::PyObject_CallFunctionObjArgs(function.as_ptr(), argument.as_ptr(), end);
        Bound::from_owned_ptr_or_err(argument.py(), result)
    }
}

fn is_true(py: Python<'_>, function: &Py<PyAny>) -> PyResult<bool> {
    function.bind(py).call0()?.is_truthy()
}
