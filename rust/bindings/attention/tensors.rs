//! The ops on torch tensors: results are made, memory is looked at once more, kernels run.

use super::call::{CheckedCall, Inputs};
use crate::attention::dispatch::DynamicCall;
use crate::attention::op::{GRADIENTS, OpName, WEIGHTS, Y};
use crate::bindings::settings::simd;
use crate::bindings::tensor::{Object, Seen, hold};
use crate::bindings::torch::Torch;
use crate::bindings::view::View;
use crate::tensor::dtype::{DType, Direction};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Look at the inputs of an op; more quickly at those whose objects are `known` to be plain tensors.
pub fn seen_inputs<'py>(
    torch: &Torch,
    op: OpName,
    tensors: impl IntoIterator<Item = Option<Object<'py>>>,
    known: &Inputs<usize>,
) -> PyResult<Inputs<Seen<'py>>> {
    let mut seen = Inputs::default();
    let inputs = op.definition().inputs.iter().zip(tensors);
    for (((input, tensor), seen), known) in inputs.zip(&mut seen).zip(known) {
        let (name, Some(tensor)) = (input.name, tensor) else { continue };
        let view = match *known == Some(tensor.as_ptr() as usize) {
            true => torch.memory_view(name, &tensor)?,
            false => torch.view(name, &tensor)?,
        };
        *seen = Some(Seen { name, tensor, view });
    }
    Ok(seen)
}

/// The inputs and where they lie, if all are plain tensors on the CPU.
pub fn plain_inputs<'py>(
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

/// Output, and weights if they are asked for.
pub struct Outputs<'py> {
    pub y: Object<'py>,
    pub weights: Option<Object<'py>>,
}

impl<'py> Outputs<'py> {
    pub fn tuple(self) -> PyResult<Bound<'py, PyTuple>> {
        let py = self.y.py();
        match self.weights {
            Some(weights) => (self.y, weights).into_pyobject(py),
            None => (self.y,).into_pyobject(py),
        }
    }
}

/// Compute the outputs. `out`: what to write the first to. `statistics`: where these go, if they are kept.
pub fn forward<'py>(
    torch: &Torch,
    mut call: DynamicCall,
    inputs: &Inputs<Seen<'py>>,
    out: Option<Seen<'py>>,
    return_weights: bool,
    statistics: Option<&View>,
) -> PyResult<Outputs<'py>> {
    let simd = simd()?;
    let y = match &out {
        Some(out) => out.tensor.clone(),
        None => empty_result(torch, &call, inputs)?,
    };
    let weights = return_weights.then(|| torch.empty_like(&y)).transpose()?;
    call.put(Y, &torch.result_view(&y, &call.call.shape, call.dtype)?);
    if let Some(weights) = &weights {
        call.put(WEIGHTS, &torch.result_view(weights, &call.call.shape, call.dtype)?);
    }
    if let Some(statistics) = statistics {
        call.put_statistics(statistics);
    }
    let _held = hold(call.elements(), inputs.iter().flatten().chain(&out))?;
    // SAFETY: types and shapes are checked, what is written is new or checked, and all memory is held.
    unsafe { call.run_from(y.py(), Direction::Forward, simd) };
    Ok(Outputs { y, weights })
}

/// An uninitialised tensor in the memory order of the first input of the result's shape.
fn empty_result<'py>(
    torch: &Torch,
    call: &DynamicCall,
    inputs: &Inputs<Seen<'py>>,
) -> PyResult<Object<'py>> {
    let shape = &call.call.shape;
    let mut operands = inputs[..call.op.definition().mask()].iter().flatten();
    match (operands.find(|seen| seen.view.shape[..] == shape[..]), &inputs[0]) {
        (Some(like), _) => torch.empty_like(&like.tensor),
        (None, Some(first)) => torch.new_empty(&first.tensor, shape),
        (None, None) => Err(PyTypeError::new_err("expected at least one input, got none")),
    }
}

/// Compute the gradients of those inputs that want one. `upstream`: those of output and weights, checked.
/// `statistics`: where these lie, and the tensor of a caller, if they lie in one.
pub fn backward<'py>(
    torch: &Torch,
    call: &CheckedCall,
    inputs: &Inputs<Seen<'py>>,
    upstream: (Seen<'py>, Option<Seen<'py>>),
    statistics: (&View, Option<&Seen<'py>>),
    wanted: &[bool],
) -> PyResult<Inputs<Object<'py>>> {
    let simd = simd()?;
    let (grad_y, grad_a) = &upstream;
    let given = || std::iter::once(grad_y).chain(grad_a);
    let gradients = empty_gradients(torch, call.op, inputs, wanted)?;
    let mut kernels = call.kernels(Direction::Backward, inputs);
    kernels.put(Y, &grad_y.view);
    if let Some(grad_a) = grad_a {
        kernels.put(WEIGHTS, &grad_a.view);
    }
    for (j, (gradient, input)) in gradients.iter().zip(inputs).enumerate() {
        if let (Some(gradient), Some(input)) = (gradient, input) {
            let view = torch.result_view(gradient, &input.view.shape, call.dtype)?;
            kernels.put(GRADIENTS + j, &view);
        }
    }
    kernels.put_statistics(statistics.0);
    let seen = inputs.iter().flatten().chain(given()).chain(statistics.1);
    let _held = hold(kernels.elements(), seen)?;
    // SAFETY: types and shapes are checked, what is written is new, and all memory is held.
    unsafe { kernels.run_from(grad_y.tensor.py(), Direction::Backward, simd) };
    Ok(gradients)
}

/// Uninitialised gradients of those inputs that want one, in the memory order of these.
fn empty_gradients<'py>(
    torch: &Torch,
    op: OpName,
    seen: &Inputs<Seen<'py>>,
    wanted: &[bool],
) -> PyResult<Inputs<Object<'py>>> {
    let inputs = op.definition().inputs;
    if wanted.len() != inputs.len() {
        return Err(PyValueError::new_err(format!(
            "wanted: expected {} bools, one an input, got {}",
            inputs.len(),
            wanted.len()
        )));
    }
    let mut gradients = Inputs::default();
    for (j, (input, &is_wanted)) in inputs.iter().zip(wanted).enumerate() {
        let Some(seen) = seen[j].as_ref().filter(|_| is_wanted) else { continue };
        if !input.differentiable || seen.view.dtype == Some(DType::Bool) {
            return Err(PyValueError::new_err(format!(
                "wanted: expected False for {}, which has no gradient, got True",
                input.name
            )));
        }
        gradients[j] = Some(torch.empty_like(&seen.tensor)?);
    }
    Ok(gradients)
}
