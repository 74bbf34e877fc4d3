//! What a plan has to know of the operands.

use crate::attention::call::Call;
use crate::attention::kernel::short::{LONGEST, LONGEST_BACKWARD};
use crate::attention::layout::{Axis, Form, Layout, MAX_OPERANDS};
use crate::attention::op::{GRADIENTS, INVERSE, MAXIMUM, WEIGHTS, Y};
use crate::tensor::dtype::Direction;
use crate::tensor::operand::Operand;

/// Fewer short rows are not worth arranging.
const FEWEST: usize = 8;

/// Whether rows are short and lie one behind the other, in every operand of which there is more than one
/// row; and whether there is one that repeats its only row.
pub fn short_rows(layout: &Layout, operands: &[Operand], direction: Direction) -> (bool, bool) {
    let Layout { form, rows, inner, .. } = layout;
    let is_forward = direction == Direction::Forward;
    let lengths = 2..=if is_forward { LONGEST } else { LONGEST_BACKWARD };
    if *form != Form::Inner || rows.size < FEWEST || !lengths.contains(&inner.size) {
        return (false, false);
    }
    let in_place =
        |&j: &usize| takes_part(j, &operands[j]) && inner.strides[j] == operands[j].item as isize;
    let row = |j: usize| (inner.size * operands[j].item) as isize;
    let is_short = |j: usize| rows.strides[j] == 0 || rows.strides[j] == row(j);
    let short = (0..operands.len()).filter(in_place).all(is_short);
    (short, (0..operands.len()).filter(in_place).any(|j| rows.strides[j] == 0))
}

/// Bytes of the results that are as large as the broadcast shape.
pub fn results(call: &Call, operands: &[Operand], direction: Direction) -> usize {
    let results = match direction {
        Direction::Forward => &operands[Y..=WEIGHTS],
        Direction::Backward => &operands[GRADIENTS..],
    };
    let is_full = |operand: &&Operand| !operand.is_absent() && !operand.is_broadcast(&call.shape);
    let total: usize = call.shape.iter().product();
    results.iter().filter(is_full).map(|operand| total * operand.item).sum()
}

/// Whether an operand is there and is read or written element by element.
pub fn takes_part(j: usize, operand: &Operand) -> bool {
    !operand.is_absent() && j != MAXIMUM && j != INVERSE
}

/// The operand that decides the order of the loops: one that is as large as the broadcast shape.
pub fn primary(operands: &[Operand], shape: &[usize], direction: Direction) -> usize {
    if direction == Direction::Forward {
        return Y;
    }
    let full = |j: &usize| !operands[*j].is_absent() && !operands[*j].is_broadcast(shape);
    (GRADIENTS..MAX_OPERANDS).chain(0..=Y).find(full).unwrap_or(Y)
}

/// Whether elements of an operand do not lie side by side along the inner axis.
pub fn has_copies(layout: &Layout, operands: &[Operand]) -> bool {
    let is_copied = |(j, operand): (usize, &Operand)| {
        takes_part(j, operand) && layout.inner.strides[j] != operand.item as isize
    };
    operands.iter().enumerate().any(is_copied)
}

/// Whether gradients are added up along an axis.
pub fn accumulates_along(axis: &Axis, operands: &[Operand]) -> bool {
    let gradients = (GRADIENTS..operands.len()).filter(|&j| !operands[j].is_absent());
    axis.size > 1 && gradients.into_iter().any(|j| axis.strides[j] == 0)
}
