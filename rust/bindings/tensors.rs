//! The ops on torch tensors. Their shapes and types have been checked by the Python side, which also
//! allocates the results; nothing here links against torch.

use super::arguments::{broadcast_shape, call};
use super::view::View;
use crate::dispatch::{Direction, OpName};
use crate::kernel::{GRADIENTS, Y};
use pyo3::prelude::*;

type Tensor<'py> = Option<Bound<'py, PyAny>>;

/// The broadcast shape is the inputs'; `others` are operands from `Y` on.
struct Arguments<'py> {
    inputs: Vec<Tensor<'py>>,
    axes: Vec<usize>,
    scale: f64,
    residual: bool,
    others: [Tensor<'py>; 4],
    gradients: Vec<Tensor<'py>>,
}

fn view(tensor: &Tensor<'_>) -> PyResult<Option<View>> {
    tensor.as_ref().map(View::of_tensor).transpose()
}

fn run(py: Python<'_>, op: OpName, direction: Direction, arguments: Arguments<'_>) -> PyResult<()> {
    let simd = super::simd()?;
    let inputs: Vec<Option<View>> = arguments.inputs.iter().map(view).collect::<PyResult<_>>()?;
    let named: Vec<_> = op
        .inputs()
        .iter()
        .zip(&inputs)
        .filter_map(|(name, view)| Some((*name, view.as_ref()?)))
        .collect();
    let shape = broadcast_shape(&named)?;
    let mut softmax = vec![false; shape.len()];
    for axis in arguments.axes {
        softmax[axis] = true;
    }
    let mut call = call(op, &inputs, shape, softmax, arguments.scale);
    call.residual = arguments.residual;
    let others = arguments
        .others
        .iter()
        .enumerate()
        .map(|(j, tensor)| (Y + j, tensor));
    let gradients = arguments
        .gradients
        .iter()
        .enumerate()
        .map(|(j, tensor)| (GRADIENTS + j, tensor));
    for (j, tensor) in others.chain(gradients) {
        if let Some(view) = view(tensor)? {
            call.call.operands[j] = view.operand(&call.call.shape);
        }
    }
    py.detach(|| call.run(direction, simd));
    Ok(())
}

macro_rules! tensor_functions {
    ($op:ident, $forward:ident, $backward:ident, $inputs:literal) => {
        /// Fill `outputs` (output, weights or None, maxima, inverses).
        #[pyfunction]
        pub fn $forward<'py>(
            py: Python<'py>,
            inputs: [Tensor<'py>; $inputs],
            axes: Vec<usize>,
            scale: f64,
            residual: bool,
            outputs: [Tensor<'py>; 4],
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
        /// output, gradient of the weights or None, maxima, inverses).
        #[pyfunction]
        pub fn $backward<'py>(
            py: Python<'py>,
            inputs: [Tensor<'py>; $inputs],
            axes: Vec<usize>,
            scale: f64,
            residual: bool,
            saved: [Tensor<'py>; 4],
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
