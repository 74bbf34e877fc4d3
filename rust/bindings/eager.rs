//! The ops called eagerly on plain torch tensors, from the checks to the results: what these take in
//! Python is longer than a small call. Anything out of the ordinary (modes, transforms, subclasses, types to
//! promote, arguments to complain about) is left to the Python side, which hears None.

use super::arguments::{self, Inputs, axes, broadcast_shape, check_broadcasts_to, softmax_axes};
use super::eager_call::EagerCall;
use super::run::guarded;
use super::torch::{Object, Torch, inputs_of, torch};
use super::view::View;
use crate::attention::op::OpName;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyTuple};

/// Give the result of an op on plain tensors (`out`, if that is given), or if it has to be
/// differentiable, the call that `Eager` makes; None if this is no case for it. `cast`: whether the inputs
/// have the type of autocast.
macro_rules! eager_function {
    ($name:ident, $op:ident) => {
        #[pyfunction]
        #[allow(clippy::too_many_arguments)] // the settings of a call
        pub fn $name<'py>(
            inputs: &Bound<'py, PyTuple>,
            mask: Option<Object<'py>>,
            axis: &Object<'py>,
            scale: Option<Object<'py>>,
            residual: &Object<'py>,
            return_weights: &Object<'py>,
            cast: bool,
            out: Option<Object<'py>>,
        ) -> PyResult<Option<Object<'py>>> {
            guarded(|| {
                let settings = (axis, scale, residual.is_truthy()?, return_weights.is_truthy()?);
                let mut inputs = inputs_of(OpName::$op, inputs)?;
                inputs[OpName::$op.mask()] = mask;
                eager(torch(axis.py())?, OpName::$op, inputs, settings, cast, out)
            })
        }
    };
}

eager_function!(elementwise_attention_eager, ElementwiseAttention);
eager_function!(elementwise_self_attention_eager, ElementwiseSelfAttention);

fn eager<'py>(
    torch: &Torch,
    op: OpName,
    inputs: Inputs<Object<'py>>,
    (axis, scale, residual, return_weights): (&Object<'py>, Option<Object<'py>>, bool, bool),
    cast: bool,
    out: Option<Object<'py>>,
) -> PyResult<Option<Object<'py>>> {
    let py = axis.py();
    // Complaints about arguments are made in Python. This one may run code of its own.
    let Ok(axes) = axes(axis) else { return Ok(None) };
    if !torch.is_plain_eager(py, cast)? {
        return Ok(None);
    }
    let Some(views) = torch.views(op, &inputs)? else { return Ok(None) };
    let scale = match &scale {
        None => None,
        Some(scale) if scale.is_exact_instance_of::<PyFloat>() => Some(scale.extract()?),
        _ => return Ok(None),
    };
    let Ok(shape) = broadcast_shape(op.inputs(), &views[..op.mask()]) else { return Ok(None) };
    let Ok(softmax) = softmax_axes(&axes, &shape) else { return Ok(None) };
    let mask = views[op.mask()].as_ref();
    if mask.is_some_and(|view| check_broadcasts_to("mask", view, &shape, "the result").is_err()) {
        return Ok(None);
    }
    let dtype = views[0].as_ref().and_then(|view| view.dtype).expect("checked");
    let scale = arguments::scale(scale, &shape, &softmax);
    let is_full = |view: &Option<View>| view.as_ref().is_some_and(|v| v.shape[..] == shape);
    let like = views[..op.mask()].iter().position(is_full);
    let statistics = None;
    let mut call =
        EagerCall { op, dtype, shape, softmax, scale, residual, return_weights, like, statistics };
    if torch.wants_gradients(py, inputs.iter().flatten().chain(&out))? {
        let is_differentiable = out.is_none();
        return Ok(is_differentiable.then_some(Bound::new(py, call)?.into_any()));
    }
    if !torch.are_plain(&out)? {
        return Ok(None);
    }
    call.compute(torch, &inputs, out, false)
}
