//! Pieces of slices whose scores are too many to be kept.

use crate::attention::kernel::fitting::fits;
use crate::attention::kernel::sums::{PART, Summation};
use crate::attention::kernel::work::{BlockWork, Registers, padded_score};
use crate::attention::op::{Acc, Op};
use crate::simd::{Float, Isa, Register, Task, Vector};

/// Of a piece of a slice: what its scores are shifted by, −∞ if nothing is kept, and the sum of
/// 2^(score − shift).
pub struct Sum<'a, O: Op> {
    pub work: BlockWork<'a, O>,
}

impl<O: Op> Task for Sum<'_, O> {
    type Output = (Acc<O>, Acc<O>);
    #[inline(always)]
    unsafe fn run<I: Isa>(self) -> Self::Output {
        // SAFETY: the caller's.
        unsafe {
            let (zero, low) = (Acc::<O>::ZERO, Acc::<O>::NEG_INFINITY);
            let (sum, maxima) = self.sum::<Registers<O, I>>(zero);
            if fits(maxima) {
                return (zero, sum);
            }
            let maximum = maxima.reduce_max();
            let is_shifted = maximum != low;
            (maximum, if is_shifted { self.sum::<Registers<O, I>>(maximum).0 } else { sum })
        }
    }
}

impl<O: Op> Sum<'_, O> {
    /// The sum, and the maxima of the scores.
    ///
    /// # Safety
    /// As for [`Task::run`].
    #[inline(always)]
    unsafe fn sum<V: Register<O::T>>(&self, shift: Acc<O>) -> (Acc<O>, V) {
        // SAFETY: the caller's.
        unsafe {
            let BlockWork { op, block, rows, len, .. } = self.work;
            let shift = V::splat(shift);
            let mut maxima = V::splat(Acc::<O>::NEG_INFINITY);
            let mut total = Summation::<V>::new();
            for row in 0..rows {
                let inputs = op.inputs(block, row);
                for start in (0..len).step_by(PART * V::LANES) {
                    let mut part = V::splat(Acc::<O>::ZERO);
                    for_registers!(V, start..len.min(start + PART * V::LANES), |i, n, FULL| {
                        let z = padded_score::<O, V, FULL>(op, &inputs, i, n);
                        maxima = z.max(maxima);
                        part = part.add(z.sub(shift).exp2());
                    });
                    total.add_part(part);
                }
            }
            (total.total(), maxima)
        }
    }
}
