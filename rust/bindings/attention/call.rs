//! A call whose arguments have been checked, and its way to the kernels.

use crate::attention::call::Call;
use crate::attention::dispatch::DynamicCall;
use crate::attention::layout::MAX_OPERANDS;
use crate::attention::op::{GRADIENTS, INVERSE, MAXIMUM, OpName, Y};
use crate::bindings::arguments::{
    broadcast_shape, check_broadcasts_to, common_dtype, softmax_axes, tuple,
};
use crate::bindings::run::run;
use crate::bindings::view::View;
use crate::simd::Simd;
use crate::tensor::dtype::{DType, Direction};
use crate::tensor::operand::Operand;
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;

/// What there is of each input; no op has more.
pub type Inputs<T> = [Option<T>; Y];

/// What a call has beside arrays.
pub struct Settings<'a> {
    pub axes: &'a [isize],
    /// 1/√n for the n elements of a slice, unless it is given.
    pub scale: Option<f64>,
    pub residual: bool,
}

/// A call that fits together, but for the memory that it reads and writes.
#[derive(Clone)]
pub struct CheckedCall {
    pub op: OpName,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub softmax: Vec<bool>,
    pub scale: f64,
    pub residual: bool,
}

impl CheckedCall {
    pub fn new<T: AsRef<View>>(
        op: OpName,
        views: &Inputs<T>,
        settings: &Settings,
    ) -> PyResult<CheckedCall> {
        let inputs = op.definition().inputs;
        let dtype = common_dtype(inputs, views)?;
        let shape = broadcast_shape(inputs, views)?;
        let softmax = softmax_axes(settings.axes, &shape)?;
        if let Some(view) = &views[op.definition().mask()] {
            check_broadcasts_to("mask", view.as_ref(), &shape)?;
        }
        let scale = settings.scale.unwrap_or_else(|| {
            let own = shape.iter().zip(&softmax).filter(|&(_, &is_softmax)| is_softmax);
            let n: usize = own.map(|(&size, _)| size).product();
            1.0 / (n.max(1) as f64).sqrt()
        });
        Ok(CheckedCall { op, dtype, shape, softmax, scale, residual: settings.residual })
    }

    /// Check that these inputs have the type and the shapes that the call was made for.
    pub fn check_inputs<T: AsRef<View>>(&self, views: &Inputs<T>) -> PyResult<()> {
        let inputs = self.op.definition().inputs;
        if common_dtype(inputs, views)? != self.dtype {
            let expected = self.dtype.name();
            return Err(PyValueError::new_err(format!(
                "inputs: expected {expected}, in which the call was made"
            )));
        }
        if broadcast_shape(inputs, views)? != self.shape {
            return Err(PyValueError::new_err(format!(
                "inputs: expected those of the call, of the common shape {}",
                tuple(&self.shape)
            )));
        }
        let mask = views[self.op.definition().mask()].as_ref();
        mask.map_or(Ok(()), |view| check_broadcasts_to("mask", view.as_ref(), &self.shape))
    }

    /// The shape of the statistics: the maxima of all slices, and behind them the inverses.
    pub fn statistics_shape(&self) -> Vec<usize> {
        let own = self.shape.iter().zip(&self.softmax);
        let sizes = own.map(|(&size, &is_softmax)| if is_softmax { 1 } else { size });
        std::iter::once(2).chain(sizes).collect()
    }

    /// Memory for the statistics, zeroed.
    pub fn statistics(&self) -> PyResult<Vec<u64>> {
        let words = self.statistics_bytes().div_ceil(size_of::<u64>());
        let mut memory = Vec::new();
        let found = memory.try_reserve_exact(words);
        found.map_err(|_| PyMemoryError::new_err("no memory for the statistics of a call"))?;
        memory.resize(words, 0);
        Ok(memory)
    }

    pub fn statistics_bytes(&self) -> usize {
        let own = self.shape.iter().zip(&self.softmax).filter(|&(_, &is_softmax)| !is_softmax);
        2 * own.map(|(&size, _)| size).product::<usize>() * self.dtype.computed().item()
    }

    /// A call of the kernels, without outputs as yet.
    pub fn kernels<T: AsRef<View>>(&self, direction: Direction, views: &Inputs<T>) -> DynamicCall {
        self.clone().into_kernels(direction, views)
    }

    pub fn into_kernels<T: AsRef<View>>(
        self,
        direction: Direction,
        views: &Inputs<T>,
    ) -> DynamicCall {
        let CheckedCall { op, dtype, shape, softmax, scale, residual } = self;
        let gradients = if direction == Direction::Forward { 0 } else { MAX_OPERANDS - GRADIENTS };
        let mut operands = vec![Operand::absent(); GRADIENTS + gradients];
        for (operand, view) in operands[..Y].iter_mut().zip(views) {
            if let Some(view) = view {
                *operand = view.as_ref().operand(&shape);
            }
        }
        let mask = views[op.definition().mask()].as_ref();
        let boolean_mask = mask.is_some_and(|view| view.as_ref().dtype == Some(DType::Bool));
        let call = Call { shape, softmax, operands };
        DynamicCall { op, dtype, scale, boolean_mask, residual, call }
    }
}

impl DynamicCall {
    pub fn elements(&self) -> usize {
        self.call.shape.iter().product()
    }

    pub fn put(&mut self, operand: usize, view: &View) {
        self.call.operands[operand] = view.operand(&self.call.shape);
    }

    /// The statistics in an array of both, one behind the other along its first axis.
    pub fn put_statistics(&mut self, statistics: &View) {
        let (maxima, inverses) = statistics.halves();
        self.put(MAXIMUM, &maxima);
        self.put(INVERSE, &inverses);
    }

    /// # Safety
    /// As [`DynamicCall::run`]; without the GIL too, if it is given away.
    pub unsafe fn run_from(&self, py: Python<'_>, direction: Direction, simd: Simd) {
        // SAFETY: the caller's.
        run(py, self.elements(), || unsafe { self.run(direction, simd) });
    }
}
