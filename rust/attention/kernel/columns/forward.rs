//! The forward of columns.

use super::pass::{ColumnPass, Columns, for_lines, lanes, prefetch};
use crate::attention::kernel::fitting::{all_fit, inverses, shift_unless_fitting};
use crate::attention::kernel::saved::{Saved, map, save};
use crate::attention::kernel::stats::shift;
use crate::attention::kernel::sums::{PART, Summation};
use crate::attention::kernel::work::{BlockWork, Outputs, Registers};
use crate::attention::op::{Acc, Op, WEIGHTS, Y};
use crate::simd::{Float, Isa, Register, Task};

/// The whole forward of slices that are a column each.
pub struct ForwardColumns<'a, O: Op> {
    pub work: BlockWork<'a, O>,
    pub shifts: Saved,
    pub inverses: Saved,
}

impl<O: Op> Task for ForwardColumns<'_, O> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: the caller's.
        unsafe {
            self.run_all::<Registers<O, I>>();
        }
    }
}

impl<O: Op> ColumnPass<O> for ForwardColumns<'_, O> {
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
            let rows = self.work.rows;
            let mut shifts = [V::splat(Acc::<O>::ZERO); G];
            let (mut sums, maxima) = exponentials::<O, V, G, FULL>(&self.work, &shifts, at);
            let mut fit = true;
            for g in 0..G {
                fit &= all_fit(maxima[g], at.n);
            }
            // The only element of a slice has a weight of one, exactly.
            if rows == 1 || !fit {
                for g in 0..G {
                    let maxima = maxima[g];
                    shifts[g] = if rows == 1 {
                        map(maxima, shift)
                    } else {
                        map(maxima, shift_unless_fitting)
                    };
                }
                (sums, _) = exponentials::<O, V, G, FULL>(&self.work, &shifts, at);
            }
            for g in 0..G {
                sums[g] = inverses(sums[g]);
                if !self.shifts.data.is_null() {
                    save(&self.shifts, shifts[g], at.i + g * V::LANES, at.n);
                    save(&self.inverses, sums[g], at.i + g * V::LANES, at.n);
                }
            }
            self.store::<V, G, FULL>(&sums, at);
        }
    }
}

impl<O: Op> ForwardColumns<'_, O> {
    /// # Safety
    /// The memory of the work is valid, and it has these columns.
    #[inline(always)]
    unsafe fn store<V: Register<O::T>, const G: usize, const FULL: bool>(
        &self,
        inverses: &[V; G],
        at: Columns,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let BlockWork { op, block, rows, scratch, .. } = self.work;
            let has_weights = !block.is_absent(WEIGHTS);
            for row in 0..rows {
                let outputs = Outputs::new(block, row);
                let inputs = op.inputs(block, row);
                for g in 0..G {
                    let (i, inverse) = (at.i + g * V::LANES, inverses[g]);
                    let e = V::load(scratch.add((row * G + g) * V::LANES));
                    let (of, at) = ((e, inverse), (i, at.n));
                    if has_weights {
                        outputs.store::<O, V, FULL, true>(op, &inputs, of, at, block.non_temporal);
                    } else {
                        outputs.store::<O, V, FULL, false>(op, &inputs, of, at, block.non_temporal);
                    }
                }
            }
        }
    }
}

/// 2^(score − shift) of some columns into the scratch, a row after the other; sums and maxima.
///
/// # Safety
/// The memory of the work is valid, and it has these columns.
#[inline(always)]
unsafe fn exponentials<O: Op, V: Register<O::T>, const G: usize, const FULL: bool>(
    work: &BlockWork<O>,
    shifts: &[V; G],
    at: Columns,
) -> ([V; G], [V; G]) {
    // SAFETY: the caller's.
    unsafe {
        let mut maxima = [V::splat(Acc::<O>::NEG_INFINITY); G];
        let mut total = [Summation::<V>::new(); G];
        let mut start = 0;
        while start < work.rows {
            let end = work.rows.min(start + PART);
            let mut part = [V::splat(Acc::<O>::ZERO); G];
            for row in start..end {
                let inputs = work.op.inputs(work.block, row);
                prefetch::<O, V, G>(work, &inputs, at.i);
                if !work.block.non_temporal {
                    let y = work.block.output::<O::T>(Y, row);
                    for_lines::<O::T, V, G>(at.i, |i| y.prefetch(i));
                }
                for g in 0..G {
                    let z = work.op.score::<V, FULL>(&inputs, at.i + g * V::LANES, at.n);
                    maxima[g] = z.max(maxima[g]);
                    let e = z.sub(shifts[g]).exp2();
                    e.store(work.scratch.add((row * G + g) * V::LANES));
                    part[g] = part[g].add(e);
                }
            }
            for g in 0..G {
                total[g].add_part(part[g]);
            }
            start = end;
        }
        (lanes(total), maxima)
    }
}
