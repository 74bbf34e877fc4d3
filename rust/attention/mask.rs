//! The mask of an op: boolean (true takes part) or added to the scores, which are in base 2.

use crate::attention::block::Block;
use crate::attention::row::Source;
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
    pub fn new(block: &Block, operand: usize, row: usize, boolean: bool) -> Self {
        Mask { bytes: block.source(operand, row), added: block.source(operand, row), boolean }
    }

    #[inline(always)]
    pub fn is_absent(&self) -> bool {
        self.bytes.is_absent()
    }

    /// The scores, −∞ where the mask keeps nothing.
    ///
    /// # Safety
    /// The row of the mask has these elements.
    #[inline(always)]
    pub unsafe fn apply<V: Register<T>, const FULL: bool>(
        &self,
        score: V,
        i: usize,
        n: usize,
    ) -> V {
        if self.boolean {
            // SAFETY: the caller's.
            return unsafe { score.keep(self.bytes.at(i), n) };
        }
        // SAFETY: the caller's.
        let added: V = unsafe { self.added.load::<V, FULL>(i, n) };
        let masked = added.mul_add(V::splat(T::Acc::LOG2_E), score);
        // Only −∞, of the mask or of the score, keeps out: the lowest finite number, with which some
        // masks are filled, must not become −∞ in base 2.
        let minus_infinity = V::splat(T::Acc::NEG_INFINITY);
        let by_mask = added.zero_where_less(minus_infinity, added);
        let by_score = score.zero_where_less(minus_infinity, score);
        V::splat(T::Acc::LOWEST).add(by_mask).add(by_score).max(masked)
    }
}
