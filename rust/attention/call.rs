//! A call of an op on arrays.

use crate::tensor::operand::Operand;

/// A call: the broadcast shape, which of its axes the softmax goes over, and the operands by number.
///
/// It is valid if every operand that is there has an element of its type at each index of the shape, and
/// what is written (outputs in a forward, gradients in a backward, statistics) overlaps nothing else; an
/// output may be exactly an input.
pub struct Call {
    pub shape: Vec<usize>,
    pub softmax: Vec<bool>,
    pub operands: Vec<Operand>,
}
