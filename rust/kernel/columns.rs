//! Slices that are a column each: lanes go across slices, several registers of them side by side.
//!
//! A register of each row alone would read memory in strides; several of them read it in order, as far
//! as it goes.

use super::*;
use crate::kernel::fitting::{all_fit, inverses, shift_unless_fitting};
use crate::kernel::saved::{Saved, map, restore, save};
use crate::kernel::stats::{PART, Summation, shift};

/// The most scratch that registers side by side take.
const SCRATCH_BYTES: usize = 256 * 1024;

/// Some registers' columns of a block: `G` registers from element `i` on, or one of `n` lanes.
#[derive(Clone, Copy)]
struct Columns {
    i: usize,
    n: usize,
}

/// A pass over columns, `G` registers at a time.
trait Pass<O: Op> {
    fn work(&self) -> &Work<'_, O>;
    unsafe fn run_registers<V: Register<O::T>, const G: usize, const FULL: bool>(
        &self,
        at: Columns,
    );

    #[inline(always)]
    unsafe fn run_all<V: Register<O::T>>(&self) {
        let Work { rows, len, .. } = *self.work();
        let bytes = rows * V::LANES * size_of::<V::Scalar>();
        let mut i = 0;
        while i + 4 * V::LANES <= len && 4 * bytes <= SCRATCH_BYTES {
            self.run_registers::<V, 4, true>(Columns { i, n: V::LANES });
            i += 4 * V::LANES;
        }
        while i + 2 * V::LANES <= len && 2 * bytes <= SCRATCH_BYTES {
            self.run_registers::<V, 2, true>(Columns { i, n: V::LANES });
            i += 2 * V::LANES;
        }
        for_registers!(V, i..len, |i, n, FULL| {
            self.run_registers::<V, 1, FULL>(Columns { i, n });
        });
    }
}

/// Call `f` with an element of each cache line of `G` registers from element `i` on.
#[inline(always)]
fn for_lines<T: Element, V: Register<T>, const G: usize>(i: usize, f: impl Fn(usize)) {
    let line = 64 / size_of::<T>();
    (i..i + G * V::LANES).step_by(line).for_each(f);
}

/// Ask for the next registers' inputs, which lie too far off for the processor to see.
#[inline(always)]
fn prefetch<O: Op, V: Register<O::T>, const G: usize>(
    work: &Work<O>,
    inputs: &O::Inputs,
    i: usize,
) {
    for_lines::<O::T, V, G>(i + G * V::LANES, |i| work.op.prefetch(inputs, i));
}

/// The whole forward of slices that are a column each.
pub struct ForwardColumns<'a, O: Op> {
    pub work: Work<'a, O>,
    pub shifts: Saved,
    pub inverses: Saved,
}

impl<O: Op> Task for ForwardColumns<'_, O> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        self.run_all::<Registers<O, I>>();
    }
}

impl<O: Op> Pass<O> for ForwardColumns<'_, O> {
    #[inline(always)]
    fn work(&self) -> &Work<'_, O> {
        &self.work
    }

    #[inline(always)]
    unsafe fn run_registers<V: Register<O::T>, const G: usize, const FULL: bool>(
        &self,
        at: Columns,
    ) {
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
                shifts[g] =
                    if rows == 1 { map(maxima, shift) } else { map(maxima, shift_unless_fitting) };
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

impl<O: Op> ForwardColumns<'_, O> {
    #[inline(always)]
    unsafe fn store<V: Register<O::T>, const G: usize, const FULL: bool>(
        &self,
        inverses: &[V; G],
        at: Columns,
    ) {
        let Work { op, block, rows, scratch, .. } = self.work;
        let has_weights = !block.is_absent(WEIGHTS);
        for row in 0..rows {
            let outputs = Outputs::new(block, row);
            let inputs = op.inputs(block, row);
            for g in 0..G {
                let (i, inverse) = (at.i + g * V::LANES, inverses[g]);
                let e = V::load(scratch.add((row * G + g) * V::LANES));
                let (of, at) = ((e, inverse), (i, at.n));
                if has_weights {
                    outputs.store::<O, V, FULL, true>(op, &inputs, of, at, block.streams);
                } else {
                    outputs.store::<O, V, FULL, false>(op, &inputs, of, at, block.streams);
                }
            }
        }
    }
}

/// 2^(score − shift) of some columns into the scratch, a row after the other; sums and maxima.
#[inline(always)]
unsafe fn exponentials<O: Op, V: Register<O::T>, const G: usize, const FULL: bool>(
    work: &Work<O>,
    shifts: &[V; G],
    at: Columns,
) -> ([V; G], [V; G]) {
    let mut maxima = [V::splat(Acc::<O>::NEG_INFINITY); G];
    let mut total = [Summation::<V>::new(); G];
    let mut start = 0;
    while start < work.rows {
        let end = work.rows.min(start + PART);
        let mut part = [V::splat(Acc::<O>::ZERO); G];
        for row in start..end {
            let inputs = work.op.inputs(work.block, row);
            prefetch::<O, V, G>(work, &inputs, at.i);
            if !work.block.streams {
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

#[inline(always)]
unsafe fn lanes<V: Vector, const G: usize>(total: [Summation<V>; G]) -> [V; G] {
    let mut sums = [V::splat(V::Scalar::ZERO); G];
    for g in 0..G {
        sums[g] = total[g].lanes();
    }
    sums
}

/// The whole backward of slices that are a column each.
pub struct BackwardColumns<'a, O: Op> {
    pub work: Work<'a, O>,
    pub shifts: Saved,
    pub inverses: Saved,
}

impl<O: Op> Task for BackwardColumns<'_, O> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        self.run_all::<Registers<O, I>>();
    }
}

impl<O: Op> Pass<O> for BackwardColumns<'_, O> {
    #[inline(always)]
    fn work(&self) -> &Work<'_, O> {
        &self.work
    }

    #[inline(always)]
    unsafe fn run_registers<V: Register<O::T>, const G: usize, const FULL: bool>(
        &self,
        at: Columns,
    ) {
        let mut shifts = [V::splat(Acc::<O>::ZERO); G];
        let mut inverses = shifts;
        for g in 0..G {
            shifts[g] = restore::<_, V>(&self.shifts, at.i + g * V::LANES, at.n);
            inverses[g] = restore::<_, V>(&self.inverses, at.i + g * V::LANES, at.n);
        }
        let dots = self.dots::<V, G, FULL>(&shifts, &inverses, at);
        let Work { op, block, rows, scratch, .. } = self.work;
        for row in 0..rows {
            let inputs = op.inputs(block, row);
            let sinks = op.gradients(block, row);
            let arriving = Arriving::<O::T>::new(block, row);
            for g in 0..G {
                let (i, inverse) = (at.i + g * V::LANES, inverses[g]);
                let a = V::load(scratch.add((row * G + g) * V::LANES));
                let value = op.value::<V, FULL>(&inputs, i, at.n);
                let (y, da) = arriving.load::<V, FULL>(value, i, at.n);
                let grad = Upstream { y, z: a.mul(da.sub(dots[g])), v: y.mul(a), inverse };
                op.put_gradients::<V, FULL, false>(&inputs, &sinks, grad, i, at.n);
            }
        }
    }
}

impl<O: Op> BackwardColumns<'_, O> {
    /// Weights into the scratch, and Σ a·da.
    #[inline(always)]
    unsafe fn dots<V: Register<O::T>, const G: usize, const FULL: bool>(
        &self,
        shifts: &[V; G],
        inverses: &[V; G],
        at: Columns,
    ) -> [V; G] {
        let Work { op, block, rows, scratch, .. } = self.work;
        let mut total = [Summation::<V>::new(); G];
        let mut start = 0;
        while start < rows {
            let end = rows.min(start + PART);
            let mut part = [V::splat(Acc::<O>::ZERO); G];
            for row in start..end {
                let inputs = op.inputs(block, row);
                let arriving = Arriving::<O::T>::new(block, row);
                prefetch::<O, V, G>(&self.work, &inputs, at.i);
                if !block.streams {
                    let sinks = op.gradients(block, row);
                    for_lines::<O::T, V, G>(at.i, |i| op.prefetch_gradients(&sinks, i));
                }
                for g in 0..G {
                    let i = at.i + g * V::LANES;
                    let z = op.score::<V, FULL>(&inputs, i, at.n);
                    let a = z.sub(shifts[g]).exp2().mul(inverses[g]);
                    a.store(scratch.add((row * G + g) * V::LANES));
                    let value = op.value::<V, FULL>(&inputs, i, at.n);
                    let (_, da) = arriving.load::<V, FULL>(value, i, at.n);
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
