//! A call of an op on plain torch tensors whose settings have been checked, and its backward. The tensors
//! are looked at when all that may run other code is done: they may have changed since the call was made.

use super::arguments::{self, Inputs, broadcast_shape, check_broadcasts_to};
use super::run::{guarded, run_kernel, simd};
use super::statistics::Statistics;
use super::torch::{Object, Torch, inputs_of, torch};
use super::view::View;
use crate::attention::dispatch::DynamicCall;
use crate::attention::op::OpName;
use crate::attention::op::{GRADIENTS, INVERSE, MAXIMUM, WEIGHTS, Y};
use crate::tensor::dtype::{DType, Direction};
use crate::tensor::operand::Operand;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// A call that is to be differentiated, with what its backward needs beside the inputs.
#[pyclass(module = "ewa_rs._core")]
pub struct EagerCall {
    pub op: OpName,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub softmax: Vec<bool>,
    pub scale: f64,
    pub residual: bool,
    pub return_weights: bool,
    /// The input that the output is allocated like, if one has the output's shape.
    pub like: Option<usize>,
    /// None before the forward.
    pub statistics: Option<Statistics>,
}

#[pymethods]
impl EagerCall {
    /// Output, and weights if they are asked for, of the inputs that the call was made for.
    fn forward<'py>(&mut self, inputs: &Bound<'py, PyTuple>) -> PyResult<Object<'py>> {
        guarded(|| {
            let torch = torch(inputs.py())?;
            let inputs = inputs_of(self.op, inputs)?;
            let are_plain = torch.are_plain(inputs.iter().flatten())?;
            let found = if are_plain { self.compute(torch, &inputs, None, true)? } else { None };
            let message = "inputs: expected those that the call was made for, got others";
            found.ok_or_else(|| PyValueError::new_err(message))
        })
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
        guarded(|| {
            let inputs = inputs_of(self.op, inputs)?;
            self.gradients(torch(wanted.py())?, &inputs, wanted, [grad_y, grad_a])
        })
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
        // SAFETY: the tensor is new, and of these sizes.
        unsafe { self.kept()?.copy_to(to) };
        Ok(tensor)
    }
}

impl EagerCall {
    /// Output and weights of plain tensors; None if these are not, or no longer, of the call's type and
    /// shapes, or the result cannot be written to `out` at once.
    pub fn compute<'py>(
        &mut self,
        torch: &Torch,
        inputs: &Inputs<Object<'py>>,
        out: Option<Object<'py>>,
        keep_statistics: bool,
    ) -> PyResult<Option<Object<'py>>> {
        let Some(first) = &inputs[0] else { return Ok(None) };
        let py = first.py();
        let like = self.like.and_then(|j| inputs[j].as_ref());
        let y = match (out, like) {
            (Some(out), _) => out,
            (None, Some(like)) => torch.empty_like(like)?,
            (None, None) => torch.new_empty(first, &self.shape)?,
        };
        let weights = self.return_weights.then(|| torch.empty_like(&y)).transpose()?;
        if keep_statistics {
            self.statistics = Some(Statistics::new(&self.shape, &self.softmax, self.dtype));
        }
        let tensors = inputs.iter().flatten().chain([&y]);
        let Some(_memory) = torch.plain_memory(self.shape.iter().product(), tensors)? else {
            return Ok(None);
        };
        let Some(views) = self.views(inputs) else { return Ok(None) };
        let statistics = self.statistics.as_mut().map(Statistics::operands_mut);
        let mut call = self.call(&views, Direction::Forward, statistics);
        for (operand, result) in [(Y, Some(&y)), (WEIGHTS, weights.as_ref())] {
            let Some(result) = result else { continue };
            let view = View::of_plain_tensor(result).filter(|view| self.fits_into(view, &views));
            let Some(view) = view else { return Ok(None) };
            call.call.operands[operand] = view.operand(&self.shape);
        }
        self.run(py, &call, Direction::Forward)?;
        Ok(Some(match weights {
            Some(weights) => (y, weights).into_pyobject(py)?.into_any(),
            None => y,
        }))
    }

    fn gradients<'py>(
        &self,
        torch: &Torch,
        inputs: &Inputs<Object<'py>>,
        wanted: &Bound<'py, PyTuple>,
        grads: [Option<Object<'py>>; 2],
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let (py, statistics) = (wanted.py(), self.kept()?.operands());
        if torch.is_grad_enabled(py)? || !torch.is_plain_eager(py, true)? {
            return Ok(None);
        }
        let Some(gradients) = self.empty_gradients(torch, inputs, wanted)? else { return Ok(None) };
        let tensors = inputs.iter().chain(&grads).flatten();
        let Some(_memory) = torch.plain_memory(self.shape.iter().product(), tensors)? else {
            return Ok(None);
        };
        let Some(views) = torch.views(self.op, inputs)?.filter(|views| self.is_of(views)) else {
            return Ok(None);
        };
        let mut call = self.call(&views, Direction::Backward, Some(statistics));
        for (operand, grad) in [Y, WEIGHTS].into_iter().zip(&grads) {
            let Some(grad) = grad else { continue };
            let fits = |v: &View| v.dtype == Some(self.dtype) && v.shape[..] == self.shape;
            let Some(view) = torch.view(grad)?.filter(fits) else { return Ok(None) };
            call.call.operands[operand] = view.operand(&self.shape);
        }
        if call.call.operands[Y].is_absent() {
            return Ok(None);
        }
        let first = gradients.len() - self.op.inputs().len();
        for (j, (gradient, input)) in gradients[first..].iter().zip(&views).enumerate() {
            let (Some(gradient), Some(input)) = (gradient, input) else { continue };
            let view = View::of_tensor(gradient)?;
            arguments::check_gradient(self.op, j, &view, Some(input))?;
            call.call.operands[GRADIENTS + j] = view.operand(&self.shape);
        }
        self.run(py, &call, Direction::Backward)?;
        Ok(Some(PyTuple::new(py, gradients)?))
    }

    /// Uninitialised gradients of the inputs that want one, in the places of these in `wanted`; None if an
    /// input is not plain.
    fn empty_gradients<'py>(
        &self,
        torch: &Torch,
        inputs: &Inputs<Object<'py>>,
        wanted: &Bound<'py, PyTuple>,
    ) -> PyResult<Option<Vec<Option<Object<'py>>>>> {
        let (most, found) = (self.op.inputs().len(), wanted.len());
        let Some(first) = found.checked_sub(most) else {
            let message = format!("wanted: expected at least {most} flags, got {found}");
            return Err(PyValueError::new_err(message));
        };
        let mut gradients = vec![None; found];
        for (j, input) in inputs.iter().enumerate() {
            let Some(input) = input else { continue };
            if wanted.get_item(first + j)?.is_truthy()? {
                if !torch.is_plain(input) {
                    return Ok(None);
                }
                gradients[first + j] = Some(torch.empty_like(input)?);
            }
        }
        Ok(Some(gradients))
    }

    /// The statistics of the forward.
    fn kept(&self) -> PyResult<&Statistics> {
        let message = "backward: expected a forward before it, got a call without one";
        self.statistics.as_ref().ok_or_else(|| PyValueError::new_err(message))
    }

    fn run(&self, py: Python<'_>, call: &DynamicCall, direction: Direction) -> PyResult<()> {
        let simd = simd()?;
        // SAFETY: `compute` and `gradients` have checked all operands, which live until this returns.
        run_kernel(py, self.shape.iter().product(), || unsafe { call.run(direction, simd) });
        Ok(())
    }

    /// Where the inputs of a forward lie, as long as a kernel can take them.
    fn views(&self, inputs: &Inputs<Object<'_>>) -> Option<Inputs<View>> {
        let mut views = Inputs::default();
        for (j, input) in inputs.iter().enumerate() {
            let Some(input) = input else { continue };
            let view = View::of_plain_tensor(input)?;
            let is_boolean_mask = j == self.op.mask() && view.dtype == Some(DType::Bool);
            let has_type = view.dtype == Some(self.dtype) || is_boolean_mask;
            if !has_type || check_broadcasts_to("", &view, &self.shape, "").is_err() {
                return None;
            }
            views[j] = Some(view);
        }
        views[..self.op.required()].iter().all(Option::is_some).then_some(views)
    }

    /// Whether these still have the type and the shapes that the call was made for.
    fn is_of(&self, inputs: &Inputs<View>) -> bool {
        let (mask, shape) = (self.op.mask(), &self.shape);
        let keeps_type = inputs[0].as_ref().is_some_and(|view| view.dtype == Some(self.dtype));
        let fits = |view: &View| check_broadcasts_to("mask", view, shape, "the result").is_ok();
        keeps_type
            && broadcast_shape(self.op.inputs(), &inputs[..mask]).is_ok_and(|s| s == *shape)
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

    /// The call but for what comes out of it, or into its backward.
    fn call(
        &self,
        views: &Inputs<View>,
        direction: Direction,
        statistics: Option<[Operand; 2]>,
    ) -> DynamicCall {
        let (shape, softmax) = (self.shape.clone(), self.softmax.clone());
        let mut call = arguments::call(self.op, direction, views, shape, softmax, self.scale);
        call.residual = self.residual;
        if let Some([maximum, inverse]) = statistics {
            call.call.operands[MAXIMUM] = maximum;
            call.call.operands[INVERSE] = inverse;
        }
        call
    }
}
