//! Where the operands of a block are, and how often gradients are added to one place.

use super::accumulate::TERMS;
use super::plan::Plan;
use crate::attention::block::Role;
use crate::attention::layout::{Axis, MAX_OPERANDS};
use crate::attention::op::GRADIENTS;

/// Where a block has an operand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Where it is.
    Own,
    /// In a copy, its elements side by side.
    Copied,
    /// In a copy of its only row: all rows of the block add to it.
    OneRow,
    /// In [`MAX_LANES`](crate::simd::MAX_LANES) copies of its only row, one behind the other.
    Repeated,
}

/// Whether several indices of an axis are one to the operand with these strides.
fn is_broadcast(axis: &Axis, j: usize) -> bool {
    axis.size > 1 && axis.strides[j] == 0
}

pub fn place(plan: &Plan, j: usize) -> Place {
    let (layout, accumulates) = (&plan.layout, plan.role[j] == Role::Accumulate);
    if !plan.present[j] {
        Place::Own
    } else if layout.inner.strides[j] != plan.item[j] as isize && plan.largest_block().1 > 1 {
        Place::Copied
    } else if plan.short && layout.rows.strides[j] == 0 {
        Place::Repeated
    } else if accumulates && is_broadcast(&layout.rows, j) {
        Place::OneRow
    } else if accumulates && layout.extra.iter().any(|axis| is_broadcast(axis, j)) {
        Place::Copied
    } else {
        Place::Own
    }
}

/// Whether gradients are added up along the rows of a block.
pub fn accumulates_along_rows(plan: &Plan) -> bool {
    let accumulates = |&j: &usize| plan.present[j] && plan.role[j] == Role::Accumulate;
    (GRADIENTS..MAX_OPERANDS).filter(accumulates).any(|j| is_broadcast(&plan.layout.rows, j))
}

/// After so many items some part that blocks add to in place may have [`TERMS`] terms; `None` where there
/// is no such part.
pub fn items_between_folds(plan: &Plan) -> Option<usize> {
    let is_part = |&j: &usize| {
        plan.present[j] && plan.role[j] == Role::Accumulate && place(plan, j) == Place::Own
    };
    let interval = |j: usize| {
        let planes = if is_broadcast(&plan.layout.planes, j) { plan.plane_span } else { 1 };
        (TERMS * items_of_coverage(plan, j) / planes).max(1)
    };
    (GRADIENTS..MAX_OPERANDS).filter(is_part).map(interval).min()
}

/// So many consecutive items add to different elements of an operand.
fn items_of_coverage(plan: &Plan, j: usize) -> usize {
    let [spans, plane_spans] = plan.spans();
    let mut items = plan.pieces.len().max(1) * spans;
    let planes = Axis { size: plane_spans, ..plan.layout.planes };
    for axis in std::iter::once(&planes).chain(plan.layout.outer.iter().rev()) {
        if is_broadcast(axis, j) {
            break;
        }
        items *= axis.size;
    }
    items
}
