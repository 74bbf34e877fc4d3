//! The ops on torch tensors. The Python side has made inputs of one type of them, and allocates the results;
//! nothing here links against torch.

use super::arguments::{
    broadcast_shape, call, check_broadcasts_to, check_kind, statistics_shape, tuple,
};
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

fn view(tensor: &Tensor<'_>) -> PyResult<Option<View>> {
    tensor.as_ref().map(View::of_tensor).transpose()
}

fn run(py: Python<'_>, op: OpName, direction: Direction, arguments: Arguments<'_>) -> PyResult<()> {
    let simd = super::simd()?;
    let call = checked_call(op, direction, arguments).map_err(|error| match direction {
        Direction::Forward => error,
        Direction::Backward => PyValueError::new_err(format!(
            "{}; inputs must not change between forward and backward",
            error.value(py)
        )),
    })?;
    py.detach(|| call.run(direction, simd));
    Ok(())
}

/// The call, if all operands have the shapes and types by which the kernels look into memory. An input
/// whose type or memory has been replaced since the forward has not.
fn checked_call(op: OpName, direction: Direction, given: Arguments<'_>) -> PyResult<DynamicCall> {
    let inputs: Vec<Option<View>> = given.inputs.iter().map(view).collect::<PyResult<_>>()?;
    let shape = broadcast_shape(op.definition().inputs, &inputs[..op.definition().mask()])?;
    let dtype = checked_dtype(op, &inputs, &shape)?;
    let softmax = flags(&given.axes, &shape)?;
    let of_slices = statistics_shape(&shape, &softmax);
    let mut call = call(op, direction, &inputs, shape, softmax, given.scale);
    call.residual = given.residual;
    let shape = &call.call.shape;
    let operands = &mut call.call.operands;
    let [y, weights, statistics] = &given.others;
    let names = match direction {
        Direction::Forward => ["y", "weights"],
        Direction::Backward => ["grad_y", "grad_weights"],
    };
    for (name, (operand, tensor)) in names.into_iter().zip([(Y, y), (WEIGHTS, weights)]) {
        let Some(view) = view(tensor)? else { continue };
        check_kind(name, &view, shape, Some(dtype))?;
        operands[operand] = view.operand(shape);
    }
    for (j, gradient) in given.gradients.iter().enumerate() {
        let (Some(view), Some(input)) = (view(gradient)?, &inputs[j]) else { continue };
        check_kind("gradients", &view, &input.shape, input.dtype)?;
        operands[GRADIENTS + j] = view.operand(shape);
    }
    if let Some(view) = view(statistics)? {
        check_kind("statistics", &view, &of_slices, Some(dtype.computed()))?;
        let (first, second) = view.halves();
        operands[MAXIMUM] = first.operand(shape);
        operands[INVERSE] = second.operand(shape);
    }
    Ok(call)
}

/// The type of all inputs, but for a boolean mask.
fn checked_dtype(op: OpName, inputs: &[Option<View>], shape: &[usize]) -> PyResult<DType> {
    let first = inputs[0].as_ref().and_then(|view| view.dtype);
    let dtype = first.filter(|&dtype| dtype != DType::Bool);
    let dtype = dtype.ok_or_else(|| PyTypeError::new_err("expected a first input of floats"))?;
    for (j, (input, view)) in op.definition().inputs.iter().zip(inputs).enumerate() {
        let name = input.name;
        let Some(view) = view else {
            if j < op.definition().required() {
                return Err(PyTypeError::new_err(format!("{name}: expected a tensor, got None")));
            }
            continue;
        };
        if j == op.definition().mask() {
            check_broadcasts_to(name, view, shape, "the result")?;
        }
        if j != op.definition().mask() || view.dtype != Some(DType::Bool) {
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
            run(py, OpName::$op, Direction::Forward, arguments)
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
            run(py, OpName::$op, Direction::Backward, arguments)
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
