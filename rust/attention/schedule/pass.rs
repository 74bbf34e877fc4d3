//! A call as it is carried out: what all of its passes share.

use super::accumulate::Accumulators;
use super::partials::Partials;
use super::plan::Plan;
use crate::simd::Simd;
use crate::tensor::dtype::Direction;

/// What a pass over all units does.
#[derive(Clone, Copy)]
pub enum Pass<'a> {
    /// Everything, of units that fit in the cache.
    Whole,
    /// Of each piece, the maximum and sum (forward) or Σ a·da (backward).
    Reduce(&'a Partials),
    /// The results, once maxima and sums or Σ a·da are known.
    Apply(&'a Partials),
}

/// An op, how its call is cut into units, and where gradients of broadcast operands are added up.
pub struct Schedule<'a, O> {
    pub op: O,
    pub plan: &'a Plan,
    pub accumulators: &'a Accumulators,
    /// Units, or pieces of all units.
    pub items: usize,
    /// Runs of consecutive items, each done by one thread.
    pub groups: usize,
    /// Elements of the broadcast shape.
    pub total: usize,
    pub direction: Direction,
    pub simd: Simd,
}

impl<O> Schedule<'_, O> {
    pub fn is_forward(&self) -> bool {
        self.direction == Direction::Forward
    }
}
