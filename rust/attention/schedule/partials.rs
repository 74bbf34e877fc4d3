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

    pub unsafe fn piece<A>(&self, index: usize) -> *mut A {
        self.pieces.as_ptr::<A>().add(2 * self.lanes * index)
    }

    pub unsafe fn unit<A>(&self, unit: usize) -> *mut A {
        self.units.as_ptr::<A>().add(2 * self.lanes * unit)
    }
}

/// Each unit's pieces into one: shift and inverse (forward) or Σ a·da (backward).
pub fn combine<O: Op>(partials: &Partials, units: Range<usize>, direction: Direction) {
    let (zero, low) = (Acc::<O>::ZERO, Acc::<O>::NEG_INFINITY);
    for unit in units {
        for lane in 0..partials.lanes {
            let pieces = (0..partials.pieces_per_unit).map(|p| unsafe {
                let pair =
                    partials.piece::<Acc<O>>(unit * partials.pieces_per_unit + p).add(2 * lane);
                (*pair, *pair.add(1))
            });
            let result = unsafe { partials.unit::<Acc<O>>(unit).add(2 * lane) };
            let (maximum, sum) = if direction == Direction::Backward {
                (zero, pieces.fold(Compensated::ZERO, |sum, (_, s)| sum.add(s)).total())
            } else {
                let maximum = pieces.clone().fold(low, |m, (x, _)| if x > m { x } else { m });
                let shift = stats::shift(maximum);
                let sum = pieces.fold(Compensated::ZERO, |sum, (m, s)| {
                    if m == low && s == zero {
                        sum
                    } else {
                        sum.add(s * (stats::shift(m) - shift).exp2())
                    }
                });
                let sum = sum.total();
                (shift, stats::inverse(sum))
            };
            unsafe {
                *result = maximum;
                *result.add(1) = sum;
            }
        }
    }
}
