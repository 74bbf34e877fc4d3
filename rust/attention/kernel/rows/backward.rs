//! The backward of rows.

use crate::attention::kernel::saved::Saved;
use crate::attention::kernel::sums::{PART, Summation};
use crate::attention::kernel::work::{BlockWork, GradOutput, Registers, padded_score, weigh};
use crate::attention::op::{Acc, Grads, Op, zero_if_empty};
use crate::simd::{Float, Isa, Register, Task};

/// The whole backward of slices that are a row each.
pub struct BackwardRows<'a, O: Op> {
    pub work: BlockWork<'a, O>,
    pub planes: usize,
    pub shifts: Saved,
    pub inverses: Saved,
}

impl<O: Op> Task for BackwardRows<'_, O> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: the caller's.
        unsafe {
            let BackwardRows { work, planes, mut shifts, mut inverses } = self;
            let mut block = *work.block;
            for _ in 0..planes {
                let work = BlockWork { block: &block, ..work };
                let plane = BackwardRows { work, planes: 1, shifts, inverses };
                if work.op.is_typical(&block) {
                    plane.run_rows::<Registers<O, I>, true>();
                } else {
                    plane.run_rows::<Registers<O, I>, false>();
                }
                block.advance();
                shifts.advance();
                inverses.advance();
            }
        }
    }
}

impl<O: Op> BackwardRows<'_, O> {
    /// # Safety
    /// As for [`Task::run`].
    #[inline(always)]
    unsafe fn run_rows<V: Register<O::T>, const TYPICAL: bool>(&self) {
        // SAFETY: the caller's.
        unsafe {
            match self.work.len.div_ceil(V::LANES) {
                1 => self.run_short_rows::<V, 1, TYPICAL>(),
                2 => self.run_short_rows::<V, 2, TYPICAL>(),
                _ => {
                    for row in 0..self.work.rows {
                        self.run_row::<V, TYPICAL>(row);
                    }
                }
            }
        }
    }

    /// Rows of `R` registers, the last one possibly not full, which stay there.
    ///
    /// # Safety
    /// As for [`Task::run`].
    #[inline(always)]
    unsafe fn run_short_rows<V: Register<O::T>, const R: usize, const TYPICAL: bool>(&self) {
        // SAFETY: the caller's.
        unsafe {
            let BlockWork { op, block, rows, len, .. } = self.work;
            let (op, block) = (*op, *block);
            let (last, n) = ((R - 1) * V::LANES, len - (R - 1) * V::LANES);
            for row in 0..rows {
                let inputs = op.inputs(&block, row);
                let sinks = op.grad_sinks(&block, row);
                let grad_output = GradOutput::<O::T>::new(&block, row);
                let shift = V::splat(*self.shifts.at(row));
                let inverse = V::splat(*self.inverses.at(row));
                let zero = V::splat(Acc::<O>::ZERO);
                let mut kept = [(zero, zero, zero); R];
                for j in 0..R - 1 {
                    let i = j * V::LANES;
                    let of = (&inputs, &grad_output);
                    kept[j] = weigh::<O, V, true>(&op, of, (shift, inverse), (i, V::LANES));
                }
                let of = (&inputs, &grad_output);
                kept[R - 1] = weigh::<O, V, false>(&op, of, (shift, inverse), (last, n));
                let mut dots = zero;
                for (a, _, da) in kept {
                    dots = dots.add(zero_if_empty(a.mul(da), inverse));
                }
                let dot = V::splat(dots.reduce_sum());
                for (j, &(a, y, da)) in kept[..R - 1].iter().enumerate() {
                    let grad = Grads { y, z: a.mul(da.sub(dot)), v: y.mul(a), inverse };
                    op.put_gradients::<V, true, TYPICAL>(
                        &inputs,
                        &sinks,
                        grad,
                        j * V::LANES,
                        V::LANES,
                    );
                }
                let (a, y, da) = kept[R - 1];
                let grad = Grads { y, z: a.mul(da.sub(dot)), v: y.mul(a), inverse };
                op.put_gradients::<V, false, TYPICAL>(&inputs, &sinks, grad, last, n);
            }
        }
    }

    /// # Safety
    /// As for [`Task::run`].
    #[inline(always)]
    unsafe fn run_row<V: Register<O::T>, const TYPICAL: bool>(&self, row: usize) {
        // SAFETY: the caller's.
        unsafe {
            let BlockWork { op, block, len, scratch, .. } = self.work;
            let inputs = op.inputs(block, row);
            let sinks = op.grad_sinks(block, row);
            let grad_output = GradOutput::<O::T>::new(block, row);
            let shift = V::splat(*self.shifts.at(row));
            let inverse = V::splat(*self.inverses.at(row));
            let mut total = Summation::<V>::new();
            let mut start = 0;
            while start < len {
                let end = len.min(start + PART * V::LANES);
                let mut part = V::splat(Acc::<O>::ZERO);
                for_registers!(V, start..end, |i, n, FULL| {
                    let z = padded_score::<O, V, FULL>(op, &inputs, i, n);
                    let a = z.sub(shift).exp2().mul(inverse);
                    a.store(scratch.add(i));
                    let value = op.value::<V, FULL>(&inputs, i, n);
                    let (_, da) = grad_output.load::<V, FULL>(value, i, n);
                    part = part.add(zero_if_empty(a.mul(da), inverse));
                });
                total.add_part(part);
                start = end;
            }
            let dot = V::splat(total.total());
            for_registers!(V, 0..len, |i, n, FULL| {
                let a = V::load(scratch.add(i));
                let value = op.value::<V, FULL>(&inputs, i, n);
                let (y, da) = grad_output.load::<V, FULL>(value, i, n);
                let grad = Grads { y, z: a.mul(da.sub(dot)), v: y.mul(a), inverse };
                op.put_gradients::<V, FULL, TYPICAL>(&inputs, &sinks, grad, i, n);
            });
        }
    }
}
