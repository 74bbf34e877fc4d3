//! The ops called eagerly on plain torch tensors, from the checks to the results: what these take in
//! Python is longer than a small call. Anything out of the ordinary (modes, transforms, subclasses, types to
//! promote, arguments to complain about) is left to the Python side.

use super::call::{CheckedCall, Inputs, Settings};
use super::tensors::{self, Kept, seen_inputs};
use crate::attention::op::OpName;
use crate::bindings::arguments::parse_axes;
use crate::bindings::run::guarded;
use crate::bindings::tensor::{Object, Seen};
use crate::bindings::torch::{Torch, torch};
use crate::bindings::view::View;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyTuple};

/// What an eager call is asked for, beside axes and scale.
pub struct Request {
    pub residual: bool,
    pub return_weights: bool,
    /// Whether the inputs have the type of autocast.
    pub cast: bool,
}

/// A call on plain tensors: with its outputs, or, if these are to be differentiable, to be continued by
/// `forward` and `backward`.
#[pyclass(module = "ewa_rs._core")]
pub struct EagerCall {
    call: CheckedCall,
    return_weights: bool,
    outputs: Option<Py<PyTuple>>,
    /// The maxima of all slices and then the inverses, in the type computed in; None before `forward`.
    statistics: Option<Vec<u64>>,
}

/// The call if it is one for this module, made unless autograd has to remember it.
pub fn eager<'py>(
    op: OpName,
    inputs: Inputs<Object<'py>>,
    axis: &Object<'py>,
    scale: Option<Object<'py>>,
    request: &Request,
    out: Option<Object<'py>>,
) -> PyResult<Option<EagerCall>> {
    let py = axis.py();
    let torch = torch(py)?;
    let scale = match &scale {
        None => None,
        Some(scale) if scale.is_exact_instance_of::<PyFloat>() => Some(scale.extract()?),
        _ => return Ok(None),
    };
    // Complaints about arguments are made in Python.
    let Ok(axes) = parse_axes(axis) else { return Ok(None) };
    if !torch.is_plain_eager(py, request.cast)? {
        return Ok(None);
    }
    let Some(inputs) = plain_inputs(torch, op, inputs)? else { return Ok(None) };
    let settings = Settings { axes: &axes, scale, residual: request.residual };
    let Ok(call) = CheckedCall::new(op, &inputs, &settings) else { return Ok(None) };
    let return_weights = request.return_weights;
    let mut eager = EagerCall { call, return_weights, outputs: None, statistics: None };
    let tensors = inputs.iter().flatten().map(|seen| &seen.tensor).chain(&out);
    if torch.wants_gradients(py, tensors)? {
        return Ok(out.is_none().then_some(eager));
    }
    let out = match out {
        None => None,
        Some(tensor) => match torch.plain_view(&tensor)? {
            Some(view) if eager.fits_into(&view, &inputs) => {
                Some(Seen { name: "out", tensor, view })
            }
            _ => return Ok(None),
        },
    };
    let outputs = tensors::forward(torch, &eager.call, &inputs, out, return_weights, None)?;
    eager.outputs = Some(as_tuple(py, outputs)?.unbind());
    Ok(Some(eager))
}

fn as_tuple<'py>(
    py: Python<'py>,
    (y, weights): (Object<'py>, Option<Object<'py>>),
) -> PyResult<Bound<'py, PyTuple>> {
    match weights {
        Some(weights) => (y, weights).into_pyobject(py),
        None => (y,).into_pyobject(py),
    }
}

/// The inputs and where they lie, if all are plain tensors on the CPU.
fn plain_inputs<'py>(
    torch: &Torch,
    op: OpName,
    inputs: Inputs<Object<'py>>,
) -> PyResult<Option<Inputs<Seen<'py>>>> {
    let mut seen = Inputs::default();
    for ((input, tensor), seen) in op.definition().inputs.iter().zip(inputs).zip(&mut seen) {
        let Some(tensor) = tensor else { continue };
        let Some(view) = torch.plain_view(&tensor)? else { return Ok(None) };
        *seen = Some(Seen { name: input.name, tensor, view });
    }
    Ok(Some(seen))
}

#[pymethods]
impl EagerCall {
    /// What was computed, unless it is to be differentiable: output, and weights if they were asked for.
    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyTuple>> {
        self.outputs.as_ref().map(|outputs| outputs.bind(py).clone())
    }

    /// Compute output, and weights if they are asked for, of the inputs that the call was made for.
    fn forward<'py>(&mut self, inputs: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyTuple>> {
        guarded(|| {
            let py = inputs.py();
            let torch = torch(py)?;
            let inputs = seen_inputs(torch, self.call.op, self.all(inputs)?)?;
            self.call.check_inputs(&inputs)?;
            let mut memory = self.call.statistics()?;
            let view = self.view_of(memory.as_mut_ptr().cast());
            let weights = self.return_weights;
            let outputs = tensors::forward(torch, &self.call, &inputs, None, weights, Some(&view))?;
            self.statistics = Some(memory);
            as_tuple(py, outputs)
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
        guarded(|| {
            let (py, count) = (inputs.py(), self.call.op.definition().inputs.len());
            let torch = torch(py)?;
            let memory = self.statistics.as_ref().ok_or_else(too_early)?;
            let first = wanted.len().saturating_sub(count);
            let flags: Vec<bool> =
                wanted.iter().skip(first).map(|flag| flag.is_truthy()).collect::<PyResult<_>>()?;
            if torch.is_grad_enabled(py)? || !torch.is_plain_eager(py, true)? {
                return Ok(None);
            }
            let Some(inputs) = plain_inputs(torch, self.call.op, self.all(inputs)?)? else {
                return Ok(None);
            };
            let Some(grad_y) = self.plain_gradient(torch, "grad_y", grad_y)? else {
                return Ok(None);
            };
            let has_weights = grad_a.is_some();
            let grad_a = self.plain_gradient(torch, "grad_a", grad_a)?;
            if self.call.check_inputs(&inputs).is_err() || grad_a.is_some() != has_weights {
                return Ok(None);
            }
            let (view, upstream) =
                (self.view_of(memory.as_ptr().cast_mut().cast()), (grad_y, grad_a));
            let kept = Kept::InMemory(&view);
            let found = tensors::backward(torch, &self.call, &inputs, upstream, kept, &flags)?;
            let none = std::iter::repeat_n(None, first);
            Ok(Some(PyTuple::new(
                py,
                none.chain(found.into_iter().take(count)).collect::<Vec<_>>(),
            )?))
        })
    }

    /// Axes, scale and residual.
    #[getter]
    fn settings(&self) -> (Vec<usize>, f64, bool) {
        let softmax = &self.call.softmax;
        let axes = (0..softmax.len()).filter(|&d| softmax[d]).collect();
        (axes, self.call.scale, self.call.residual)
    }

    /// The statistics as the registered op gives them.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Object<'py>> {
        guarded(|| {
            let torch = torch(py)?;
            let memory = self.statistics.as_ref().ok_or_else(too_early)?;
            let (shape, dtype) = (self.call.statistics_shape(), self.call.dtype.computed());
            let tensor = torch.empty(py, &shape, dtype)?;
            let view = torch.result_view(&tensor, &shape, dtype)?;
            let bytes = shape.iter().product::<usize>() * dtype.item();
            if bytes > 0 {
                let from = memory.as_ptr().cast::<u8>();
                // SAFETY: both hold so many bytes, and the tensor is new and contiguous.
                unsafe { std::ptr::copy_nonoverlapping(from, view.data, bytes) };
            }
            Ok(tensor)
        })
    }
}

fn too_early() -> PyErr {
    PyValueError::new_err("backward: expected a call after forward, got one before it")
}

impl EagerCall {
    /// All inputs in a tuple, the mask among them.
    fn all<'py>(&self, inputs: &Bound<'py, PyTuple>) -> PyResult<Inputs<Object<'py>>> {
        let expected = self.call.op.definition().inputs.len();
        if inputs.len() != expected {
            let found = inputs.len();
            let message = format!("inputs: expected {expected} in a tuple, got {found}");
            return Err(PyValueError::new_err(message));
        }
        let mut all = Inputs::default();
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
        let view = torch.plain_view(&tensor)?;
        let fits = |view: &View| {
            view.dtype == Some(self.call.dtype) && view.shape[..] == self.call.shape[..]
        };
        Ok(view.filter(fits).map(|view| Seen { name, tensor, view }))
    }

    /// Whether the output can be written to that memory at once, without being an input too early.
    fn fits_into(&self, out: &View, inputs: &Inputs<Seen<'_>>) -> bool {
        let is_apart = |input: &View| !out.overlaps(input) || out.is_same_memory(input);
        out.dtype == Some(self.call.dtype)
            && out.shape[..] == self.call.shape[..]
            && !out.repeats()
            && inputs.iter().flatten().all(|seen| is_apart(&seen.view))
    }
}
