//! The mask of an op: boolean (true takes part) or added to the scores, which are in base 2.

use crate::attention::block::{Block, Source};
use crate::simd::Register;
use crate::simd::{Element, Float};

#[derive(Clone, Copy)]
pub struct Mask<T> {
    bytes: Source<u8>,
    added: Source<T>,
    boolean: bool,
}

impl<T: Element> Mask<T> {
    #[inline(always)]
    pub unsafe fn new(block: &Block, operand: usize, row: usize, boolean: bool) -> Self {
        Mask { bytes: block.source(operand, row), added: block.source(operand, row), boolean }
    }

    #[inline(always)]
    pub fn is_absent(&self) -> bool {
        self.bytes.is_absent()
    }

    #[inline(always)]
    pub unsafe fn apply<V: Register<T>, const FULL: bool>(
        &self,
        score: V,
        i: usize,
        n: usize,
    ) -> V {
        if self.boolean {
            score.keep(self.bytes.at(i), n)
        } else {
            let added: V = self.added.load::<V, FULL>(i, n);
            let masked = added.mul_add(V::splat(T::Acc::LOG2_E), score);
            // Only −∞, of the mask or of the score, keeps out: the lowest finite number, with which some
            // masks are filled, must not become −∞ in base 2.
            let minus_infinity = V::splat(T::Acc::NEG_INFINITY);
            let by_mask = added.zero_where_less(minus_infinity, added);
            let by_score = score.zero_where_less(minus_infinity, score);
            V::splat(T::Acc::LOWEST).add(by_mask).add(by_score).max(masked)
        }
    }
}
