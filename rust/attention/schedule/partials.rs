//! What is known of the pieces of long slices, and of these slices.

use super::plan::Plan;
use crate::attention::kernel::stats;
use crate::attention::kernel::sums::Compensated;
use crate::attention::op::{Acc, Op};
use crate::simd::Float;
use crate::tensor::dtype::Direction;
use crate::tensor::memory::Scratch;
use std::ops::Range;

/// Maximum and sum of every piece, then of every unit, lane by lane.
pub struct Partials {
    pieces: Scratch,
    units: Scratch,
    lanes: usize,
    pieces_per_unit: usize,
}

impl Partials {
    pub fn new(plan: &Plan, item: usize) -> Partials {
        let lanes = plan.lanes();
        let pair = 2 * lanes * item;
        Partials {
            pieces: Scratch::zeroed(plan.units * plan.pieces.len() * pair),
            units: Scratch::zeroed(plan.units * pair),
            lanes,
            pieces_per_unit: plan.pieces.len(),
        }
    }

    /// The first pair of a piece.
    ///
    /// # Safety
    /// The plan has such a piece.
    pub unsafe fn piece<A>(&self, index: usize) -> *mut [A; 2] {
        // SAFETY: there is memory for all pieces.
        unsafe { self.pieces.as_ptr::<[A; 2]>().add(self.lanes * index) }
    }

    /// The first pair of a unit.
    ///
    /// # Safety
    /// The plan has such a unit.
    pub unsafe fn unit<A>(&self, unit: usize) -> *mut [A; 2] {
        // SAFETY: there is memory for all units.
        unsafe { self.units.as_ptr::<[A; 2]>().add(self.lanes * unit) }
    }
}

/// Each unit's pieces into one: shift and inverse (forward) or Σ a·da (backward).
///
/// # Safety
/// The units are of the partials' plan, and nobody else is at work on them.
pub unsafe fn combine<O: Op>(partials: &Partials, units: Range<usize>, direction: Direction) {
    let count = partials.pieces_per_unit;
    for unit in units {
        for lane in 0..partials.lanes {
            // SAFETY: the plan has these pieces, and a piece has a pair a lane.
            let piece = |p| unsafe { *partials.piece::<Acc<O>>(unit * count + p).add(lane) };
            let pieces = (0..count).map(piece);
            let result = match direction {
                Direction::Forward => shift_and_inverse(pieces),
                Direction::Backward => {
                    let dot =
                        pieces.fold(Compensated::ZERO, |dot, [_, of_piece]| dot.add(of_piece));
                    [Acc::<O>::ZERO, dot.total()]
                }
            };
            // SAFETY: the plan has the unit, and a unit has a pair a lane.
            unsafe { *partials.unit(unit).add(lane) = result };
        }
    }
}

/// Of a slice, from the maxima and sums of its pieces.
fn shift_and_inverse<A: Float>(pieces: impl Iterator<Item = [A; 2]> + Clone) -> [A; 2] {
    let low = A::NEG_INFINITY;
    let maximum = pieces.clone().fold(low, |m, [x, _]| if x > m { x } else { m });
    let shift = stats::shift(maximum);
    let sum = pieces.fold(Compensated::ZERO, |sum, [m, s]| {
        let is_empty = m == low && s == A::ZERO;
        if is_empty { sum } else { sum.add(s * (stats::shift(m) - shift).exp2()) }
    });
    [shift, stats::inverse(sum.total())]
}
