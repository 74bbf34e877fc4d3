//! The functions of the module: four of each op, which differ in nothing but the op.

use super::arrays;
use super::call::{Inputs, Settings};
use super::eager::{Request, eager};
use super::eager_call::EagerCall;
use super::registered::{self, Tensors};
use crate::attention::op::OpName;
use crate::bindings::arguments::check_count;
use crate::bindings::run::guarded;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

type Object<'py> = Bound<'py, PyAny>;

/// The operands of an op and its mask, in the order of its inputs. What is None is absent.
pub fn inputs_of<'py>(
    op: OpName,
    operands: &Bound<'py, PyTuple>,
    mask: Option<Object<'py>>,
) -> PyResult<Inputs<Object<'py>>> {
    let count = op.definition().mask();
    check_count(operands.len(), count)?;
    let mut inputs = Inputs::default();
    for (place, operand) in inputs.iter_mut().zip(operands) {
        *place = Some(operand).filter(|operand| !operand.is_none());
    }
    inputs[count] = mask;
    Ok(inputs)
}

macro_rules! functions {
    ($op:ident: $arrays:ident, $eager:ident, $forward:ident, $backward:ident) => {
        /// The op on arrays; see the Python function of this name.
        #[pyfunction]
        #[pyo3(signature = (operands, axis, scale=None, mask=None, out=None, return_weights=false))]
        pub fn $arrays<'py>(
            operands: &Bound<'py, PyTuple>,
            axis: &Object<'py>,
            scale: Option<f64>,
            mask: Option<Object<'py>>,
            out: Option<Object<'py>>,
            return_weights: bool,
        ) -> PyResult<Object<'py>> {
            guarded(|| {
                let inputs = inputs_of(OpName::$op, operands, mask)?;
                arrays::forward(OpName::$op, &inputs, axis, scale, out.as_ref(), return_weights)
            })
        }

        /// The op on plain tensors; None if this is no case for it: what is out of the ordinary, types to
        /// promote, arguments to complain about. `cast`: whether the inputs have the type of autocast.
        #[pyfunction]
        #[pyo3(signature = (operands, mask, axis, scale, residual, return_weights, out, *, cast=false))]
        #[allow(clippy::too_many_arguments)] // the settings of a call
        pub fn $eager<'py>(
            operands: &Bound<'py, PyTuple>,
            mask: Option<Object<'py>>,
            axis: &Object<'py>,
            scale: Option<Object<'py>>,
            residual: &Object<'py>,
            return_weights: &Object<'py>,
            out: Option<Object<'py>>,
            cast: bool,
        ) -> PyResult<Option<EagerCall>> {
            guarded(|| {
                let inputs = inputs_of(OpName::$op, operands, mask)?;
                let (residual, return_weights) =
                    (residual.is_truthy()?, return_weights.is_truthy()?);
                let request = Request { residual, return_weights, cast };
                eager(OpName::$op, inputs, axis, scale, &request, out)
            })
        }

        /// Output, weights (None unless they are asked for) and statistics of tensors of one type.
        #[pyfunction]
        pub fn $forward<'py>(
            py: Python<'py>,
            inputs: Tensors<'py>,
            axes: Vec<isize>,
            scale: Option<f64>,
            residual: bool,
            return_weights: bool,
        ) -> PyResult<Bound<'py, PyTuple>> {
            let settings = Settings { axes: &axes, scale, residual };
            guarded(|| registered::forward(py, OpName::$op, inputs, &settings, return_weights))
        }

        /// The gradients of the inputs, None where none is wanted.
        #[pyfunction]
        #[allow(clippy::too_many_arguments)] // the settings of a call
        pub fn $backward<'py>(
            py: Python<'py>,
            inputs: Tensors<'py>,
            axes: Vec<isize>,
            scale: Option<f64>,
            residual: bool,
            grad_y: Object<'py>,
            grad_a: Option<Object<'py>>,
            statistics: Object<'py>,
            wanted: Vec<bool>,
        ) -> PyResult<Vec<Option<Object<'py>>>> {
            let settings = Settings { axes: &axes, scale, residual };
            let saved = (grad_y, grad_a, statistics);
            guarded(|| registered::backward(py, OpName::$op, inputs, &settings, saved, &wanted))
        }
    };
}

functions!(
    ElementwiseAttention:
    elementwise_attention,
    elementwise_attention_eager,
    elementwise_attention_forward,
    elementwise_attention_backward
);
functions!(
    ElementwiseSelfAttention:
    elementwise_self_attention,
    elementwise_self_attention_eager,
    elementwise_self_attention_forward,
    elementwise_self_attention_backward
);
