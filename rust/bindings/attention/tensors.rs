//! The ops on torch tensors: results are made, memory is looked at once more, kernels run.

use super::call::{CheckedCall, Inputs};
use crate::attention::op::{GRADIENTS, OpName, WEIGHTS, Y};
use crate::bindings::arguments::check_kind;
use crate::bindings::settings::simd;
use crate::bindings::tensor::{Object, Seen, hold};
use crate::bindings::torch::Torch;
use crate::bindings::view::View;
use crate::definition::InputKind;
use crate::tensor::dtype::{DType, Direction};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

/// Look at the inputs of an op.
pub fn seen_inputs<'py>(
    torch: &Torch,
    op: OpName,
    tensors: impl IntoIterator<Item = Option<Object<'py>>>,
) -> PyResult<Inputs<Seen<'py>>> {
    let mut seen = Inputs::default();
    let inputs = op.definition().inputs.iter().zip(tensors);
    for ((input, tensor), seen) in inputs.zip(&mut seen) {
        *seen = tensor.map(|tensor| Seen::new(torch, input.name, tensor)).transpose()?;
    }
    Ok(seen)
}

/// Compute the output, and the weights if they are asked for. `out`: what to write the output to.
/// `statistics`: where these go, if they are kept.
pub fn forward<'py>(
    torch: &Torch,
    call: &CheckedCall,
    inputs: &Inputs<Seen<'py>>,
    out: Option<Seen<'py>>,
    return_weights: bool,
    statistics: Option<&View>,
) -> PyResult<(Object<'py>, Option<Object<'py>>)> {
    let simd = simd()?;
    let y = match &out {
        Some(out) => out.tensor.clone(),
        None => empty_result(torch, call, inputs)?,
    };
    let weights = return_weights.then(|| torch.empty_like(&y)).transpose()?;
    let mut kernels = call.call(Direction::Forward, inputs);
    kernels.put(Y, &torch.result_view(&y, &call.shape, call.dtype)?);
    if let Some(weights) = &weights {
        kernels.put(WEIGHTS, &torch.result_view(weights, &call.shape, call.dtype)?);
    }
    if let Some(statistics) = statistics {
        kernels.put_statistics(statistics);
    }
    let _held = hold(call.elements(), inputs.iter().flatten().chain(&out))?;
    // SAFETY: types and shapes are checked, what is written is new or checked, and all memory is held.
    unsafe { kernels.run_from(y.py(), Direction::Forward, simd) };
    Ok((y, weights))
}

/// An uninitialised tensor in the memory order of the first input of the result's shape.
fn empty_result<'py>(
    torch: &Torch,
    call: &CheckedCall,
    seen: &Inputs<Seen<'py>>,
) -> PyResult<Object<'py>> {
    let inputs = call.op.definition().inputs.iter().zip(seen);
    let operands = inputs.filter(|(input, _)| input.kind == InputKind::Float);
    let mut operands = operands.filter_map(|(_, seen)| seen.as_ref()).peekable();
    let Some(&first) = operands.peek() else {
        return Err(PyTypeError::new_err("expected at least one input, got none"));
    };
    match operands.find(|seen| seen.view.shape[..] == call.shape[..]) {
        Some(like) => torch.empty_like(&like.tensor),
        None => torch.new_empty(&first.tensor, &call.shape),
    }
}

/// Where the statistics lie that a forward has kept.
pub enum Kept<'a, 'py> {
    InTensor(&'a Seen<'py>),
    InMemory(&'a View),
}

/// Compute the gradients of those inputs that want one. `upstream`: the gradients of output and weights.
pub fn backward<'py>(
    torch: &Torch,
    call: &CheckedCall,
    inputs: &Inputs<Seen<'py>>,
    upstream: (Seen<'py>, Option<Seen<'py>>),
    statistics: Kept<'_, 'py>,
    wanted: &[bool],
) -> PyResult<Inputs<Object<'py>>> {
    let simd = simd()?;
    let (grad_y, grad_a) = &upstream;
    let given = || std::iter::once(grad_y).chain(grad_a);
    for Seen { name, view, .. } in given() {
        check_kind(name, view, &call.shape, call.dtype)?;
    }
    let gradients = empty_gradients(torch, call.op, inputs, wanted)?;
    let mut kernels = call.call(Direction::Backward, inputs);
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
    let kept = match statistics {
        Kept::InTensor(seen) => {
            kernels.put_statistics(&seen.view);
            Some(seen)
        }
        Kept::InMemory(view) => {
            kernels.put_statistics(view);
            None
        }
    };
    let _held = hold(call.elements(), inputs.iter().flatten().chain(given()).chain(kept))?;
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
