//! An eager call on plain torch tensors: its outputs, or what autograd calls for them and for gradients.

use super::call::{CheckedCall, Inputs};
use super::tensors::{self, plain_inputs, seen_inputs};
use crate::bindings::arguments::check_count;
use crate::bindings::run::guarded;
use crate::bindings::tensor::{Object, Seen};
use crate::bindings::torch::{Torch, torch};
use crate::bindings::view::View;
use crate::tensor::dtype::Direction;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A call on plain tensors: made, or, if its outputs are to be differentiable, to be continued by `forward`
/// and `backward`.
#[pyclass(module = "ewa_rs._core")]
pub struct EagerCall(pub State);

pub enum State {
    Made(Py<PyTuple>),
    Prepared(Box<Prepared>),
}

pub struct Prepared {
    pub call: CheckedCall,
    pub return_weights: bool,
    /// The addresses of the inputs' objects, which are known to be what their memory says.
    pub objects: Inputs<usize>,
    /// The maxima of all slices and then the inverses, in the type computed in; None before `forward`.
    pub statistics: Option<Vec<u64>>,
}

#[pymethods]
impl EagerCall {
    /// Output, and weights if they were asked for; None if they are to be differentiable.
    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyTuple>> {
        match &self.0 {
            State::Made(outputs) => Some(outputs.bind(py).clone()),
            State::Prepared(_) => None,
        }
    }

    /// Compute output, and weights if they are asked for, of the inputs that the call was made for.
    fn forward<'py>(&mut self, inputs: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyTuple>> {
        guarded(|| match &mut self.0 {
            State::Made(_) => Err(not_prepared()),
            State::Prepared(prepared) => prepared.forward(inputs),
        })
    }

    /// The gradients of the inputs, or None if this is no case for it. `wanted` says so for all arguments
    /// of the function that autograd has applied, of which the inputs are the last.
    fn backward<'py>(
        &self,
        inputs: &Bound<'py, PyTuple>,
        wanted: &Bound<'py, PyTuple>,
        grad_y: Option<Object<'py>>,
        grad_a: Option<Object<'py>>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        guarded(|| self.prepared()?.backward(inputs, wanted, grad_y, grad_a))
    }

    /// Axes, scale and residual.
    #[getter]
    fn settings(&self) -> PyResult<(Vec<usize>, f64, bool)> {
        let call = &self.prepared()?.call;
        let axes = (0..call.softmax.len()).filter(|&d| call.softmax[d]).collect();
        Ok((axes, call.scale, call.residual))
    }

    /// The statistics as the registered op gives them.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Object<'py>> {
        guarded(|| self.prepared()?.statistics(py))
    }
}

impl EagerCall {
    fn prepared(&self) -> PyResult<&Prepared> {
        match &self.0 {
            State::Made(_) => Err(not_prepared()),
            State::Prepared(prepared) => Ok(prepared),
        }
    }
}

fn not_prepared() -> PyErr {
    PyValueError::new_err("expected a call whose outputs are to be differentiable")
}

impl Prepared {
    fn forward<'py>(&mut self, inputs: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyTuple>> {
        let torch = torch(inputs.py())?;
        let inputs = seen_inputs(torch, self.call.op, self.all(inputs)?, &self.objects)?;
        self.call.check_inputs(&inputs)?;
        let mut memory = self.call.statistics()?;
        let (kept, weights) = (self.view_of(memory.as_mut_ptr().cast()), self.return_weights);
        let kernels = self.call.kernels(Direction::Forward, &inputs);
        let outputs = tensors::forward(torch, kernels, &inputs, None, weights, Some(&kept))?;
        self.statistics = Some(memory);
        outputs.tuple()
    }

    fn backward<'py>(
        &self,
        inputs: &Bound<'py, PyTuple>,
        wanted: &Bound<'py, PyTuple>,
        grad_y: Option<Object<'py>>,
        grad_a: Option<Object<'py>>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let (py, count) = (inputs.py(), self.call.op.definition().inputs.len());
        let torch = torch(py)?;
        let memory = self.kept()?;
        let inputs = self.all(inputs)?;
        let first = wanted.len().saturating_sub(count);
        let flags: Vec<bool> =
            wanted.iter().skip(first).map(|flag| flag.is_truthy()).collect::<PyResult<_>>()?;
        if torch.is_grad_enabled(py)? || !torch.is_plain_eager(py, true)? {
            return Ok(None);
        }
        let Some(inputs) = plain_inputs(torch, self.call.op, inputs)? else { return Ok(None) };
        let has_weights = grad_a.is_some();
        let Some(grad_y) = self.plain_gradient(torch, "grad_y", grad_y)? else { return Ok(None) };
        let grad_a = self.plain_gradient(torch, "grad_a", grad_a)?;
        if self.call.check_inputs(&inputs).is_err() || grad_a.is_some() != has_weights {
            return Ok(None);
        }
        let (kept, upstream) = (self.view_of(memory.as_ptr().cast_mut().cast()), (grad_y, grad_a));
        let found = tensors::backward(torch, &self.call, &inputs, upstream, (&kept, None), &flags)?;
        let gradients = std::iter::repeat_n(None, first).chain(found.into_iter().take(count));
        Ok(Some(PyTuple::new(py, gradients.collect::<Vec<_>>())?))
    }

    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Object<'py>> {
        let (torch, memory) = (torch(py)?, self.kept()?);
        let (shape, dtype) = (self.call.statistics_shape(), self.call.dtype.computed());
        let tensor = torch.empty(py, &shape, dtype)?;
        let to = torch.result_view(&tensor, &shape, dtype)?.data;
        let bytes = self.call.statistics_bytes();
        if bytes > 0 {
            // SAFETY: both hold so many bytes, and the tensor is new and contiguous.
            unsafe { std::ptr::copy_nonoverlapping(memory.as_ptr().cast(), to, bytes) };
        }
        Ok(tensor)
    }

    fn kept(&self) -> PyResult<&[u64]> {
        self.statistics.as_deref().ok_or_else(|| {
            PyValueError::new_err("backward: expected a call after forward, got one before it")
        })
    }

    /// All inputs in a tuple, the mask among them.
    fn all<'py>(&self, inputs: &Bound<'py, PyTuple>) -> PyResult<Inputs<Object<'py>>> {
        let mut all = Inputs::default();
        let count = self.call.op.definition().inputs.len();
        check_count(inputs.len(), count)?;
        for (place, input) in all.iter_mut().zip(inputs) {
            *place = Some(input).filter(|input| !input.is_none());
        }
        Ok(all)
    }

    /// The statistics, if they start there.
    fn view_of(&self, data: *mut u8) -> View {
        View::contiguous(data, &self.call.statistics_shape(), self.call.dtype.computed())
    }

    /// A gradient that the kernels can take.
    fn plain_gradient<'py>(
        &self,
        torch: &Torch,
        name: &'static str,
        grad: Option<Object<'py>>,
    ) -> PyResult<Option<Seen<'py>>> {
        let Some(tensor) = grad else { return Ok(None) };
        let CheckedCall { dtype, shape, .. } = &self.call;
        let view = torch.plain_view(&tensor)?;
        let fits = |view: &View| view.dtype == Some(*dtype) && view.shape[..] == shape[..];
        Ok(view.filter(fits).map(|view| Seen { name, tensor, view }))
    }
}
