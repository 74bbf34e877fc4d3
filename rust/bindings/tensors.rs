//! The ops on torch tensors. The Python side has made inputs of one type of them, and allocates the results;
//! nothing here links against torch.

use super::arguments::{
    broadcast_shape, call, check_broadcasts_to, check_gradient, check_kind, check_written,
    statistics_shape, tuple,
};
use super::run::{guarded, run_kernel, simd};
use super::torch;
use super::view::View;
use crate::attention::dispatch::DynamicCall;
use crate::attention::op::OpName;
use crate::attention::op::{GRADIENTS, INVERSE, MAXIMUM, WEIGHTS, Y};
use crate::tensor::dtype::{DType, Direction};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;

type Tensor<'py> = Option<Bound<'py, PyAny>>;

/// The broadcast shape is the inputs'; `others` are operands from `Y` on.
struct Arguments<'py> {
    inputs: Vec<Tensor<'py>>,
    axes: Vec<usize>,
    scale: f64,
    residual: bool,
    others: [Tensor<'py>; 3],
    gradients: Vec<Tensor<'py>>,
}

type Views = Vec<Option<View>>;

fn run(py: Python<'_>, op: OpName, direction: Direction, given: Arguments<'_>) -> PyResult<()> {
    let simd = simd()?;
    let tensors = given.inputs.iter().chain(&given.others).chain(&given.gradients);
    let _memory = torch::memory(tensors.flatten())?;
    let [inputs, others, gradients] = [&given.inputs[..], &given.others, &given.gradients]
        .map(|tensors| tensors.iter().map(view).collect::<PyResult<Views>>());
    let (inputs, others, gradients) = (inputs?, others?, gradients?);
    let call = checked_call(op, direction, &given, &inputs, &others);
    let mut call = call.map_err(|error| match direction {
        Direction::Forward => error,
        Direction::Backward => PyValueError::new_err(format!(
            "{}; inputs must not change between forward and backward",
            error.value(py)
        )),
    })?;
    let shape = &call.call.shape;
    for (j, gradient) in gradients.iter().enumerate() {
        let Some(gradient) = gradient else { continue };
        check_gradient(op, j, gradient, inputs[j].as_ref())?;
        call.call.operands[GRADIENTS + j] = gradient.operand(shape);
    }
    let (inputs, others) = (inputs.iter().flatten(), others.iter().flatten());
    match direction {
        Direction::Forward => check_written("outputs", others, inputs)?,
        Direction::Backward => {
            check_written("gradients", gradients.iter().flatten(), inputs.chain(others))?;
        }
    }
    let elements = shape.iter().product();
    // SAFETY: all operands are checked, and their memory is kept until this returns.
    run_kernel(py, elements, || unsafe { call.run(direction, simd) });
    Ok(())
}

fn view(tensor: &Tensor<'_>) -> PyResult<Option<View>> {
    tensor.as_ref().map(View::of_tensor).transpose()
}

/// The call but for gradients, if all operands have the shapes and types by which the kernels look into
/// memory. An input whose type or memory has been replaced since the forward has not.
fn checked_call(
    op: OpName,
    direction: Direction,
    given: &Arguments<'_>,
    inputs: &[Option<View>],
    others: &[Option<View>],
) -> PyResult<DynamicCall> {
    let shape = broadcast_shape(op.inputs(), &inputs[..op.mask()])?;
    let dtype = checked_dtype(op, inputs, &shape)?;
    let softmax = flags(&given.axes, &shape)?;
    let of_slices = statistics_shape(&shape, &softmax);
    let mut call = call(op, direction, inputs, shape, softmax, given.scale);
    call.residual = given.residual;
    let shape = &call.call.shape;
    let operands = &mut call.call.operands;
    let names = match direction {
        Direction::Forward => ["y", "weights", "statistics"],
        Direction::Backward => ["grad_y", "grad_weights", "statistics"],
    };
    let [Some(y), weights, Some(statistics)] = others else {
        let [y, _, statistics] = names;
        let message = format!("{y}, {statistics}: expected tensors, got None");
        return Err(PyValueError::new_err(message));
    };
    for (name, operand, view) in [(names[0], Y, Some(y)), (names[1], WEIGHTS, weights.as_ref())] {
        let Some(view) = view else { continue };
        check_kind(name, view, shape, Some(dtype))?;
        operands[operand] = view.operand(shape);
    }
    check_kind(names[2], statistics, &of_slices, Some(dtype.computed()))?;
    let (first, second) = statistics.clone().halves();
    operands[MAXIMUM] = first.operand(shape);
    operands[INVERSE] = second.operand(shape);
    Ok(call)
}

/// The type of all inputs, but for a boolean mask.
fn checked_dtype(op: OpName, inputs: &[Option<View>], shape: &[usize]) -> PyResult<DType> {
    let first = inputs[0].as_ref().and_then(|view| view.dtype);
    let dtype = first.filter(|&dtype| dtype != DType::Bool);
    let dtype = dtype.ok_or_else(|| PyTypeError::new_err("expected a first input of floats"))?;
    for (j, (name, view)) in op.inputs().iter().zip(inputs).enumerate() {
        let Some(view) = view else {
            if j < op.required() {
                return Err(PyTypeError::new_err(format!("{name}: expected a tensor, got None")));
            }
            continue;
        };
        if j == op.mask() {
            check_broadcasts_to(name, view, shape, "the result")?;
        }
        if j != op.mask() || view.dtype != Some(DType::Bool) {
            check_kind(name, view, &view.shape, Some(dtype))?;
        }
    }
    Ok(dtype)
}

fn flags(axes: &[usize], shape: &[usize]) -> PyResult<Vec<bool>> {
    let mut softmax = vec![false; shape.len()];
    for &axis in axes {
        *softmax.get_mut(axis).ok_or_else(|| {
            PyValueError::new_err(format!("axis: {axis} is out of range for {}", tuple(shape)))
        })? = true;
    }
    Ok(softmax)
}

macro_rules! tensor_functions {
    ($op:ident, $forward:ident, $backward:ident, $inputs:literal) => {
        /// Fill `outputs`: output, weights or None, and the statistics (maxima and inverses, one behind
        /// the other along a first axis).
        #[pyfunction]
        pub fn $forward<'py>(
            py: Python<'py>,
            inputs: [Tensor<'py>; $inputs],
            axes: Vec<usize>,
            scale: f64,
            residual: bool,
            outputs: [Tensor<'py>; 3],
        ) -> PyResult<()> {
            let arguments = Arguments {
                inputs: inputs.into(),
                axes,
                scale,
                residual,
                others: outputs,
                gradients: Vec::new(),
            };
            guarded(|| run(py, OpName::$op, Direction::Forward, arguments))
        }

        /// Fill `gradients`, those of the inputs, of which any may be None; `saved` is (gradient of the
        /// output, gradient of the weights or None, statistics).
        #[pyfunction]
        pub fn $backward<'py>(
            py: Python<'py>,
            inputs: [Tensor<'py>; $inputs],
            axes: Vec<usize>,
            scale: f64,
            residual: bool,
            saved: [Tensor<'py>; 3],
            gradients: [Tensor<'py>; $inputs],
        ) -> PyResult<()> {
            let arguments = Arguments {
                inputs: inputs.into(),
                axes,
                scale,
                residual,
                others: saved,
                gradients: gradients.into(),
            };
            guarded(|| run(py, OpName::$op, Direction::Backward, arguments))
        }
    };
}

tensor_functions!(
    ElementwiseAttention,
    elementwise_attention_forward,
    elementwise_attention_backward,
    4
);
tensor_functions!(
    ElementwiseSelfAttention,
    elementwise_self_attention_forward,
    elementwise_self_attention_backward,
    8
);
