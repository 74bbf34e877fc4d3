//! The ops called eagerly on plain torch tensors, from the checks to the results: what these take in
//! Python is longer than a small call. Anything out of the ordinary (modes, transforms, subclasses, types to
//! promote, arguments to complain about) is left to the Python side, which hears None.

use super::arguments::{self, Inputs, broadcast_shape, check_broadcasts_to, softmax_axes};
use super::torch::{Torch, torch};
use super::view::View;
use crate::attention::dispatch::DynamicCall;
use crate::attention::op::OpName;
use crate::attention::op::{GRADIENTS, INVERSE, MAXIMUM, WEIGHTS, Y};
use crate::tensor::dims::Dims;
use crate::tensor::dtype::{DType, Direction};
use crate::tensor::operand::Operand;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyTuple};

type Object<'py> = Bound<'py, PyAny>;

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
            let torch = torch(inputs.py())?;
            let settings = (axis, scale, residual.is_truthy()?, return_weights.is_truthy()?);
            let mut inputs = inputs_of(inputs)?;
            inputs[OpName::$op.definition().mask()] = mask;
            eager(torch, OpName::$op, inputs, settings, cast, out)
        }
    };
}

eager_function!(elementwise_attention_eager, ElementwiseAttention);
eager_function!(elementwise_self_attention_eager, ElementwiseSelfAttention);

fn inputs_of<'py>(tuple: &Bound<'py, PyTuple>) -> PyResult<Inputs<Object<'py>>> {
    let mut inputs = Inputs::default();
    for (j, place) in inputs.iter_mut().enumerate().take(tuple.len()) {
        *place = Some(tuple.get_item(j)?).filter(|object| !object.is_none());
    }
    Ok(inputs)
}

fn eager<'py>(
    torch: &Torch,
    op: OpName,
    inputs: Inputs<Object<'py>>,
    (axis, scale, residual, return_weights): (&Object<'py>, Option<Object<'py>>, bool, bool),
    cast: bool,
    out: Option<Object<'py>>,
) -> PyResult<Option<Object<'py>>> {
    let py = axis.py();
    if !torch.is_plain_eager(py, cast)? {
        return Ok(None);
    }
    let Some(views) = plain_views(torch, op, &inputs)? else { return Ok(None) };
    let scale = match &scale {
        None => None,
        Some(scale) if scale.is_exact_instance_of::<PyFloat>() => Some(scale.extract()?),
        _ => return Ok(None),
    };
    // Complaints about these are made in Python.
    let Ok(shape) = broadcast_shape(op.definition().inputs, &views[..op.definition().mask()])
    else {
        return Ok(None);
    };
    let Ok(softmax) = softmax_axes(axis, &shape) else { return Ok(None) };
    let mask = views[op.definition().mask()].as_ref();
    if mask.is_some_and(|view| check_broadcasts_to("mask", view, &shape, "the result").is_err()) {
        return Ok(None);
    }
    let dtype = views[0].as_ref().and_then(|view| view.dtype).expect("checked");
    let scale = arguments::scale(scale, &shape, &softmax);
    let statistics = Vec::new();
    let mut call =
        EagerCall { op, dtype, shape, softmax, scale, residual, return_weights, statistics };
    if torch.wants_gradients(py, inputs.iter().flatten().chain(&out))? {
        let is_differentiable = out.is_none();
        return Ok(is_differentiable.then_some(Bound::new(py, call)?.into_any()));
    }
    if let Some(out) = &out {
        let Some(view) = torch.view(out)? else { return Ok(None) };
        if !call.fits_into(&view, &views) {
            return Ok(None);
        }
    }
    call.compute(torch, &inputs, &views, out, false).map(Some)
}

/// Where the inputs lie, if all are plain tensors of one type (but for a boolean mask).
fn plain_views(
    torch: &Torch,
    op: OpName,
    inputs: &Inputs<Object<'_>>,
) -> PyResult<Option<Inputs<View>>> {
    let mut views = Inputs::default();
    let mut common = None;
    for (j, input) in inputs.iter().enumerate() {
        let Some(input) = input else { continue };
        let Some(view) = torch.view(input)? else { return Ok(None) };
        let is_boolean_mask = j == op.definition().mask() && view.dtype == Some(DType::Bool);
        let common = *common.get_or_insert(view.dtype);
        if (view.dtype != common && !is_boolean_mask) || common == Some(DType::Bool) {
            return Ok(None);
        }
        views[j] = Some(view);
    }
    Ok(views[..op.definition().required()].iter().all(Option::is_some).then_some(views))
}

/// A call that is to be differentiated, with what its backward needs beside the inputs.
#[pyclass(module = "ewa_rs._core")]
pub struct EagerCall {
    op: OpName,
    dtype: DType,
    shape: Vec<usize>,
    softmax: Vec<bool>,
    scale: f64,
    residual: bool,
    return_weights: bool,
    /// The maxima of all slices and then the inverses, in the type computed in.
    statistics: Vec<u64>,
}

#[pymethods]
impl EagerCall {
    /// Output, and weights if they are asked for, of the inputs that the call was made for.
    fn forward<'py>(&mut self, inputs: &Bound<'py, PyTuple>) -> PyResult<Object<'py>> {
        let torch = torch(inputs.py())?;
        let inputs = inputs_of(inputs)?;
        let mut views = Inputs::default();
        for (view, input) in views.iter_mut().zip(&inputs) {
            *view = input.as_ref().map(View::of_tensor).transpose()?;
        }
        self.compute(torch, &inputs, &views, None, true)
    }

    /// What `Eager.backward` returns, or None if this is no case for it. `wanted` says so for all
    /// arguments of `Eager.apply`, of which the inputs are the last.
    fn backward<'py>(
        &self,
        inputs: &Bound<'py, PyTuple>,
        wanted: &Bound<'py, PyTuple>,
        grad_y: Option<Object<'py>>,
        grad_a: Option<Object<'py>>,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let py = inputs.py();
        let torch = torch(py)?;
        let inputs = inputs_of(inputs)?;
        if torch.is_grad_enabled(py)? || !torch.is_plain_eager(py, true)? {
            return Ok(None);
        }
        let Some(views) = plain_views(torch, self.op, &inputs)? else { return Ok(None) };
        if !self.is_of(&views) {
            return Ok(None);
        }
        let mut call = self.call(&views, Direction::Backward);
        for (operand, grad) in [(Y, grad_y), (WEIGHTS, grad_a)] {
            let Some(grad) = grad else { continue };
            let view = torch.view(&grad)?;
            let view = view.filter(|v| v.dtype == Some(self.dtype) && v.shape[..] == self.shape);
            let Some(view) = view else { return Ok(None) };
            call.call.operands[operand] = view.operand(&self.shape);
        }
        if call.call.operands[Y].is_absent() {
            return Ok(None);
        }
        let first = wanted.len() - self.op.definition().inputs.len();
        let mut gradients: Vec<Option<Object<'py>>> = vec![None; wanted.len()];
        for (j, input) in inputs.iter().enumerate() {
            let Some(input) = input else { continue };
            if wanted.get_item(first + j)?.is_truthy()? {
                let gradient = torch.empty_like(input)?;
                let view = View::of_tensor(&gradient)?;
                call.call.operands[GRADIENTS + j] = view.operand(&self.shape);
                gradients[first + j] = Some(gradient);
            }
        }
        super::run(py, &call, Direction::Backward, super::simd()?);
        Ok(Some(PyTuple::new(py, gradients)?))
    }

    /// Axes, scale and residual.
    #[getter]
    fn settings(&self) -> (Vec<usize>, f64, bool) {
        let axes = (0..self.softmax.len()).filter(|&d| self.softmax[d]).collect();
        (axes, self.scale, self.residual)
    }

    /// The statistics as the registered op gives them.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Object<'py>> {
        let sizes = arguments::statistics_shape(&self.shape, &self.softmax);
        let tensor = torch(py)?.empty(py, &sizes, self.dtype.computed())?;
        let to = View::of_tensor(&tensor)?.data;
        let bytes = 2 * self.slices() * self.dtype.computed().item();
        if !self.statistics.is_empty() {
            // SAFETY: both hold so many bytes, and the tensor is new.
            unsafe { std::ptr::copy_nonoverlapping(self.statistics.as_ptr().cast(), to, bytes) };
        }
        Ok(tensor)
    }
}

impl EagerCall {
    fn compute<'py>(
        &mut self,
        torch: &Torch,
        inputs: &Inputs<Object<'py>>,
        views: &Inputs<View>,
        out: Option<Object<'py>>,
        keep_statistics: bool,
    ) -> PyResult<Object<'py>> {
        let first = inputs[0].as_ref().expect("the first input is required");
        let is_full = |j: &usize| views[*j].as_ref().is_some_and(|v| v.shape[..] == self.shape);
        let like = (0..self.op.definition().mask()).find(is_full).and_then(|j| inputs[j].as_ref());
        let y = match (out, like) {
            (Some(out), _) => out,
            (None, Some(like)) => torch.empty_like(like)?,
            (None, None) => torch.new_empty(first, &self.shape)?,
        };
        let weights = self.return_weights.then(|| torch.empty_like(&y)).transpose()?;
        if keep_statistics {
            let bytes = 2 * self.slices() * self.dtype.computed().item();
            self.statistics = vec![0; bytes.div_ceil(size_of::<u64>())];
        }
        let mut call = self.call(views, Direction::Forward);
        call.call.operands[Y] = View::of_tensor(&y)?.operand(&self.shape);
        if let Some(weights) = &weights {
            call.call.operands[WEIGHTS] = View::of_tensor(weights)?.operand(&self.shape);
        }
        super::run(y.py(), &call, Direction::Forward, super::simd()?);
        match weights {
            Some(weights) => Ok((y, weights).into_pyobject(first.py())?.into_any()),
            None => Ok(y),
        }
    }

    /// Whether these still have the type and the shapes that the call was made for.
    fn is_of(&self, inputs: &Inputs<View>) -> bool {
        let (mask, shape) = (self.op.definition().mask(), &self.shape);
        let keeps_type = inputs[0].as_ref().is_some_and(|view| view.dtype == Some(self.dtype));
        let fits = |view: &View| check_broadcasts_to("mask", view, shape, "the result").is_ok();
        keeps_type
            && broadcast_shape(self.op.definition().inputs, &inputs[..mask])
                .is_ok_and(|s| s == *shape)
            && inputs[mask].as_ref().is_none_or(fits)
    }

    /// Whether the output can be written to that memory at once, without being an input too early.
    fn fits_into(&self, out: &View, inputs: &Inputs<View>) -> bool {
        let is_apart = |input: &View| !out.overlaps(input) || out.is_same_memory(input);
        out.dtype == Some(self.dtype)
            && out.shape[..] == self.shape
            && !out.repeats()
            && inputs.iter().flatten().all(is_apart)
    }

    /// The call but for its outputs.
    fn call(&self, views: &Inputs<View>, direction: Direction) -> DynamicCall {
        let (shape, softmax) = (self.shape.clone(), self.softmax.clone());
        let mut call = arguments::call(self.op, direction, views, shape, softmax, self.scale);
        call.residual = self.residual;
        if !self.statistics.is_empty() {
            let half = self.slices() * self.dtype.computed().item();
            let data = self.statistics.as_ptr().cast_mut().cast::<u8>();
            call.call.operands[MAXIMUM] = self.statistic(data);
            call.call.operands[INVERSE] = self.statistic(data.wrapping_add(half));
        }
        call
    }

    /// One number a slice.
    fn statistic(&self, data: *mut u8) -> Operand {
        let item = self.dtype.computed().item();
        let mut strides = Dims::of_default(self.shape.len());
        let mut step = item as isize;
        for d in (0..self.shape.len()).rev().filter(|&d| !self.softmax[d] && self.shape[d] != 1) {
            strides[d] = step;
            step *= self.shape[d] as isize;
        }
        Operand { data, item, strides }
    }

    fn slices(&self) -> usize {
        let own = self.shape.iter().zip(&self.softmax);
        own.filter(|&(_, &is_softmax)| !is_softmax).map(|(&size, _)| size).product()
    }
}
