//! The forward of rows.

use crate::attention::kernel::fitting::fits;
use crate::attention::kernel::saved::Saved;
use crate::attention::kernel::stats::{inverse, shift};
use crate::attention::kernel::sums::{PART, Summation};
use crate::attention::kernel::work::{BlockWork, Outputs, Registers, padded_score};
use crate::attention::op::{Acc, Op, WEIGHTS};
use crate::simd::{Float, Isa, Register, Task};

/// The whole forward of slices that are a row each.
pub struct ForwardRows<'a, O: Op> {
    pub work: BlockWork<'a, O>,
    pub planes: usize,
    pub shifts: Saved,
    pub inverses: Saved,
}

impl<O: Op> Task for ForwardRows<'_, O> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: the caller's.
        unsafe {
            let ForwardRows { work, planes, mut shifts, mut inverses } = self;
            let mut block = *work.block;
            for _ in 0..planes {
                let work = BlockWork { block: &block, ..work };
                let plane = ForwardRows { work, planes: 1, shifts, inverses };
                if block.is_absent(WEIGHTS) {
                    plane.run_rows::<Registers<O, I>, false>();
                } else {
                    plane.run_rows::<Registers<O, I>, true>();
                }
                block.advance();
                shifts.advance();
                inverses.advance();
            }
        }
    }
}

impl<O: Op> ForwardRows<'_, O> {
    /// # Safety
    /// As for [`Task::run`].
    #[inline(always)]
    unsafe fn run_rows<V: Register<O::T>, const WITH_WEIGHTS: bool>(&self) {
        // SAFETY: the caller's.
        unsafe {
            let BlockWork { op, block, rows, len, scratch, .. } = self.work;
            match len.div_ceil(V::LANES) {
                1 => return self.run_short_rows::<V, 1, WITH_WEIGHTS>(),
                2 => return self.run_short_rows::<V, 2, WITH_WEIGHTS>(),
                _ => {}
            }
            for row in 0..rows {
                let inputs = op.inputs(block, row);
                let mut used = Acc::<O>::ZERO;
                let (mut sum, maxima) = exponentials::<O, V>(&self.work, &inputs, used);
                if !fits(maxima) {
                    used = shift(maxima.reduce_max());
                    (sum, _) = exponentials::<O, V>(&self.work, &inputs, used);
                }
                let inverse = inverse(sum);
                self.shifts.set(row, used);
                self.inverses.set(row, inverse);
                let outputs = Outputs::new(block, row);
                let inverse = V::splat(inverse);
                let unaligned = if block.non_temporal { outputs.y.unaligned::<V>() } else { None };
                let head = unaligned.unwrap_or(len).min(len);
                for_registers!(V, 0..head, |i, n, FULL| {
                    let e = V::load(scratch.add(i));
                    outputs.store::<O, V, FULL, WITH_WEIGHTS>(
                        op,
                        &inputs,
                        (e, inverse),
                        (i, n),
                        false,
                    );
                });
                for_registers!(V, head..len, |i, n, FULL| {
                    let e = V::load(scratch.add(i));
                    outputs.store::<O, V, FULL, WITH_WEIGHTS>(
                        op,
                        &inputs,
                        (e, inverse),
                        (i, n),
                        true,
                    );
                });
            }
        }
    }

    /// Rows of `R` registers, the last one possibly not full, which stay there.
    ///
    /// # Safety
    /// As for [`Task::run`].
    #[inline(always)]
    unsafe fn run_short_rows<V: Register<O::T>, const R: usize, const WITH_WEIGHTS: bool>(&self) {
        // SAFETY: the caller's.
        unsafe {
            let BlockWork { op, block, rows, len, .. } = self.work;
            let (op, block) = (*op, *block);
            let (last, n) = ((R - 1) * V::LANES, len - (R - 1) * V::LANES);
            for row in 0..rows {
                let inputs = op.inputs(&block, row);
                let mut z = [padded_score::<O, V, false>(&op, &inputs, last, n); R];
                let mut maxima = z[R - 1];
                for j in 0..R - 1 {
                    z[j] = padded_score::<O, V, true>(&op, &inputs, j * V::LANES, V::LANES);
                    maxima = z[j].max(maxima);
                }
                let used = shift(maxima.reduce_max());
                let mut sum = V::splat(Acc::<O>::ZERO);
                for z in &mut z {
                    *z = z.sub(V::splat(used)).exp2();
                    sum = sum.add(*z);
                }
                let inverse = inverse(sum.reduce_sum());
                self.shifts.set(row, used);
                self.inverses.set(row, inverse);
                let (outputs, inverse) = (Outputs::new(&block, row), V::splat(inverse));
                for (j, &e) in z[..R - 1].iter().enumerate() {
                    let i = j * V::LANES;
                    outputs.store::<O, V, true, WITH_WEIGHTS>(
                        &op,
                        &inputs,
                        (e, inverse),
                        (i, n),
                        false,
                    );
                }
                let e = z[R - 1];
                outputs.store::<O, V, false, WITH_WEIGHTS>(
                    &op,
                    &inputs,
                    (e, inverse),
                    (last, n),
                    false,
                );
            }
        }
    }
}

/// 2^(score − shift) of one row into the scratch; their sum, and the maxima of the scores.
///
/// # Safety
/// As for [`Task::run`].
#[inline(always)]
unsafe fn exponentials<O: Op, V: Register<O::T>>(
    work: &BlockWork<O>,
    inputs: &O::Inputs,
    shift: Acc<O>,
) -> (Acc<O>, V) {
    // SAFETY: the caller's.
    unsafe {
        let shift = V::splat(shift);
        let mut maxima = V::splat(Acc::<O>::NEG_INFINITY);
        let mut total = Summation::<V>::new();
        let mut start = 0;
        while start < work.len {
            let end = work.len.min(start + PART * V::LANES);
            let mut part = V::splat(Acc::<O>::ZERO);
            for_registers!(V, start..end, |i, n, FULL| {
                let z = padded_score::<O, V, FULL>(work.op, inputs, i, n);
                maxima = z.max(maxima);
                let e = z.sub(shift).exp2();
                e.store(work.scratch.add(i));
                part = part.add(e);
            });
            total.add_part(part);
            start = end;
        }
        (total.total(), maxima)
    }
}
