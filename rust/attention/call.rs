//! A call of an op on arrays.

use crate::tensor::operand::Operand;

/// A call: the broadcast shape, which of its axes the softmax goes over, and the operands by number.
pub struct Call {
    pub shape: Vec<usize>,
    pub softmax: Vec<bool>,
    pub operands: Vec<Operand>,
}
