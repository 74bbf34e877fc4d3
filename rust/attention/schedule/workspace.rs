//! What one thread needs to work on units.

use super::plan::Plan;
use super::staging::Staging;
use crate::attention::kernel::short;
use crate::attention::kernel::stats::Stats;
use crate::attention::layout::{Form, count};
use crate::simd::Float;
use crate::tensor::memory::Scratch;

/// The copies of operands that are not contiguous, and scratch.
pub struct Workspace<A> {
    pub staging: Staging,
    pub scores: *mut A,
    pub statistics: *mut A,
    pub dots: *mut A,
    _memory: Scratch,
}

impl<A: Float> Workspace<A> {
    pub fn new(plan: &Plan) -> Workspace<A> {
        let scores = match (plan.pieces.first(), plan.layout.form) {
            (Some(piece), _) => piece.rows * plan.pitch,
            (None, Form::Inner) if plan.short => short::scratch(plan.layout.inner.size),
            (None, Form::Inner) => plan.pitch,
            (None, _) => count(&plan.layout.extra) * plan.layout.rows.size * plan.pitch,
        };
        let lanes = Stats::<A>::NUMBERS * plan.statistics();
        let memory = Scratch::unset((scores + 2 * lanes) * size_of::<A>());
        let p = memory.as_ptr::<A>();
        Workspace {
            staging: Staging::new(plan),
            scores: p,
            statistics: p.wrapping_add(scores),
            dots: p.wrapping_add(scores + lanes),
            _memory: memory,
        }
    }
}
