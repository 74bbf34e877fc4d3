//! The ops on torch tensors. Their shapes and types have been checked by the Python side, which also
//! allocates the results; nothing here links against torch.

use super::arguments::{broadcast_shape, call};
use super::view::View;
use crate::dispatch::{Direction, OpName};
use crate::kernel::{GRADIENTS, INVERSE, MAXIMUM, WEIGHTS, Y};
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
    let inputs: Vec<Option<View>> = arguments.inputs.iter().map(view).collect::<PyResult<_>>()?;
    let shape = broadcast_shape(op.inputs(), &inputs)?;
    let mut softmax = vec![false; shape.len()];
    for axis in arguments.axes {
        softmax[axis] = true;
    }
    let mut call = call(op, direction, &inputs, shape, softmax, arguments.scale);
    call.residual = arguments.residual;
    let [y, weights, statistics] = &arguments.others;
    let results = [(Y, y), (WEIGHTS, weights)].into_iter();
    let gradients = arguments.gradients.iter().enumerate();
    for (j, tensor) in results.chain(gradients.map(|(j, tensor)| (GRADIENTS + j, tensor))) {
        if let Some(view) = view(tensor)? {
            call.call.operands[j] = view.operand(&call.call.shape);
        }
    }
    if let Some(view) = view(statistics)? {
        let (first, second) = view.halves();
        call.call.operands[MAXIMUM] = first.operand(&call.call.shape);
        call.call.operands[INVERSE] = second.operand(&call.call.shape);
    }
    py.detach(|| call.run(direction, simd));
    Ok(())
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
