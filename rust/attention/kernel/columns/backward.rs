//! The backward of columns.

use super::pass::{ColumnPass, Columns, for_lines, lanes, prefetch};
use crate::attention::kernel::saved::{Saved, restore};
use crate::attention::kernel::sums::{PART, Summation};
use crate::attention::kernel::work::{BlockWork, GradOutput, Registers};
use crate::attention::op::{Acc, Grads, Op, zero_if_empty};
use crate::simd::{Float, Isa, Register, Task};

/// The whole backward of slices that are a column each.
pub struct BackwardColumns<'a, O: Op> {
    pub work: BlockWork<'a, O>,
    pub shifts: Saved,
    pub inverses: Saved,
}

impl<O: Op> Task for BackwardColumns<'_, O> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: the caller's.
        unsafe {
            self.run_all::<Registers<O, I>>();
        }
    }
}

impl<O: Op> ColumnPass<O> for BackwardColumns<'_, O> {
    #[inline(always)]
    fn work(&self) -> &BlockWork<'_, O> {
        &self.work
    }

    #[inline(always)]
    unsafe fn run_registers<V: Register<O::T>, const G: usize, const FULL: bool>(
        &self,
        at: Columns,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let mut shifts = [V::splat(Acc::<O>::ZERO); G];
            let mut inverses = shifts;
            for g in 0..G {
                shifts[g] = restore::<_, V>(&self.shifts, at.i + g * V::LANES, at.n);
                inverses[g] = restore::<_, V>(&self.inverses, at.i + g * V::LANES, at.n);
            }
            let dots = self.dots::<V, G, FULL>(&shifts, &inverses, at);
            let BlockWork { op, block, rows, scratch, .. } = self.work;
            for row in 0..rows {
                let inputs = op.inputs(block, row);
                let sinks = op.grad_sinks(block, row);
                let grad_output = GradOutput::<O::T>::new(block, row);
                for g in 0..G {
                    let (i, inverse) = (at.i + g * V::LANES, inverses[g]);
                    let a = V::load(scratch.add((row * G + g) * V::LANES));
                    let value = op.value::<V, FULL>(&inputs, i, at.n);
                    let (y, da) = grad_output.load::<V, FULL>(value, i, at.n);
                    let grad = Grads { y, z: a.mul(da.sub(dots[g])), v: y.mul(a), inverse };
                    op.put_gradients::<V, FULL, false>(&inputs, &sinks, grad, i, at.n);
                }
            }
        }
    }
}

impl<O: Op> BackwardColumns<'_, O> {
    /// Weights into the scratch, and Σ a·da.
    ///
    /// # Safety
    /// The memory of the work is valid, and it has these columns.
    #[inline(always)]
    unsafe fn dots<V: Register<O::T>, const G: usize, const FULL: bool>(
        &self,
        shifts: &[V; G],
        inverses: &[V; G],
        at: Columns,
    ) -> [V; G] {
        // SAFETY: the caller's.
        unsafe {
            let BlockWork { op, block, rows, scratch, .. } = self.work;
            let mut total = [Summation::<V>::new(); G];
            let mut start = 0;
            while start < rows {
                let end = rows.min(start + PART);
                let mut part = [V::splat(Acc::<O>::ZERO); G];
                for row in start..end {
                    let inputs = op.inputs(block, row);
                    let grad_output = GradOutput::<O::T>::new(block, row);
                    prefetch::<O, V, G>(&self.work, &inputs, at.i);
                    if !block.non_temporal {
                        let sinks = op.grad_sinks(block, row);
                        for_lines::<O::T, V, G>(at.i, |i| op.prefetch_gradients(&sinks, i));
                    }
                    for g in 0..G {
                        let i = at.i + g * V::LANES;
                        let z = op.score::<V, FULL>(&inputs, i, at.n);
                        let a = z.sub(shifts[g]).exp2().mul(inverses[g]);
                        a.store(scratch.add((row * G + g) * V::LANES));
                        let value = op.value::<V, FULL>(&inputs, i, at.n);
                        let (_, da) = grad_output.load::<V, FULL>(value, i, at.n);
                        part[g] = part[g].add(zero_if_empty(a.mul(da), inverses[g]));
                    }
                }
                for g in 0..G {
                    total[g].add_part(part[g]);
                }
                start = end;
            }
            lanes(total)
        }
    }
}
