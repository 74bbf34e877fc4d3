//! The ops called eagerly on plain torch tensors, from the checks to the results: what these take in
//! Python is longer than a small call. Anything out of the ordinary (modes, transforms, subclasses, types to
//! promote, arguments to complain about) is left to the Python side.

use super::call::{CheckedCall, Inputs, Settings};
use super::eager_call::{EagerCall, Prepared, State};
use super::tensors::{self, plain_inputs};
use crate::attention::op::OpName;
use crate::bindings::arguments::parse_axes;
use crate::bindings::tensor::{Object, Seen};
use crate::bindings::torch::torch;
use crate::bindings::view::View;
use crate::tensor::dtype::Direction;
use pyo3::prelude::*;
use pyo3::types::PyFloat;

/// What an eager call is asked for, beside axes and scale.
pub struct Request {
    pub residual: bool,
    pub return_weights: bool,
    /// Whether the inputs have the type of autocast.
    pub cast: bool,
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
    let tensors = inputs.iter().flatten().map(|seen| &seen.tensor).chain(&out);
    if torch.wants_gradients(py, tensors)? {
        let address = |seen: &Seen| seen.tensor.as_ptr() as usize;
        let objects = inputs.each_ref().map(|seen| seen.as_ref().map(address));
        let prepared = Prepared { call, return_weights, objects, statistics: None };
        return Ok(out.is_none().then_some(EagerCall(State::Prepared(Box::new(prepared)))));
    }
    let out = match out {
        None => None,
        Some(tensor) => match torch.plain_view(&tensor)? {
            Some(view) if fits_into(&view, &call, &inputs) => {
                Some(Seen { name: "out", tensor, view })
            }
            _ => return Ok(None),
        },
    };
    let kernels = call.into_kernels(Direction::Forward, &inputs);
    let outputs = tensors::forward(torch, kernels, &inputs, out, return_weights, None)?;
    Ok(Some(EagerCall(State::Made(outputs.tuple()?.unbind()))))
}

/// Whether the output can be written to that memory at once, without being an input too early.
fn fits_into(out: &View, call: &CheckedCall, inputs: &Inputs<Seen<'_>>) -> bool {
    let is_apart = |input: &View| !out.overlaps(input) || out.is_same_memory(input);
    out.dtype == Some(call.dtype)
        && out.shape[..] == call.shape[..]
        && !out.repeats()
        && inputs.iter().flatten().all(|seen| is_apart(&seen.view))
}
