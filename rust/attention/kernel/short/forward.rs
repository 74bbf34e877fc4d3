//! The forward of short rows.

use super::chunks::{ChunkPass, Chunks, SHIFT, SUM};
use crate::attention::kernel::fitting::{HIGH, LOW, inverses};
use crate::attention::kernel::saved::save;
use crate::attention::kernel::stats::shift;
use crate::attention::kernel::work::{Outputs, padded_score};
use crate::attention::op::{Acc, Op, WEIGHTS};
use crate::simd::{Float, Register};

pub struct Forward;

impl<O: Op> ChunkPass<O> for Forward {
    #[inline(always)]
    unsafe fn run<V: Register<O::T>>(&self, chunks: &Chunks<O>) {
        // SAFETY: the caller's.
        unsafe {
            let Chunks { rows, n, .. } = *chunks;
            chunks.zero_shifts::<V>();
            let none_is_high = chunks.exponentials::<V, false>();
            chunks.sum_up::<V>(chunks.elements(0));
            if !(none_is_high && chunks.no_sum_is_low::<V>()) {
                chunks.choose_shifts::<V>();
                chunks.exponentials::<V, true>();
                chunks.sum_up::<V>(chunks.elements(0));
            }
            for_registers!(V, 0..rows, |row, m, _FULL| {
                let inverse = inverses(V::load(chunks.per_row(SUM, row)));
                if !chunks.shifts.data.is_null() {
                    save(&chunks.shifts, V::load(chunks.per_row(SHIFT, row)), row, m);
                    save(&chunks.inverses, inverse, row, m);
                }
                if chunks.block.is_absent(WEIGHTS) {
                    chunks.store::<V, false>(inverse, row, m * n);
                } else {
                    chunks.store::<V, true>(inverse, row, m * n);
                }
            });
        }
    }
}

impl<O: Op> Chunks<'_, O> {
    /// # Safety
    /// The memory of the chunks and of their scratch is valid.
    #[inline(always)]
    unsafe fn zero_shifts<V: Register<O::T>>(&self) {
        // SAFETY: the caller's.
        unsafe {
            for row in (0..self.rows).step_by(V::LANES) {
                V::splat(Acc::<O>::ZERO).store(self.per_row(SHIFT, row));
            }
        }
    }

    /// 2^(score − shift) of every element; whether no score is too high to go unshifted.
    ///
    /// # Safety
    /// The memory of the chunks and of their scratch is valid.
    #[inline(always)]
    unsafe fn exponentials<V: Register<O::T>, const SHIFTED: bool>(&self) -> bool {
        // SAFETY: the caller's.
        unsafe {
            let mut maxima = V::splat(Acc::<O>::NEG_INFINITY);
            for_registers!(V, 0..self.rows, |row, m, _FULL| {
                let (inputs, to) = (self.inputs::<V>(row), self.elements(row));
                let shifts = V::load(self.per_row(SHIFT, row));
                for_registers!(V, 0..m * self.n, |i, n, FULL| {
                    let mut z = padded_score::<O, V, FULL>(self.op, &inputs, i, n);
                    maxima = z.max(maxima);
                    if SHIFTED {
                        z = z.sub(self.table.spread(shifts, i));
                    }
                    z.exp2().store(to.add(i));
                });
            });
            !maxima.any_greater(V::splat(Acc::<O>::from_f64(HIGH)))
        }
    }

    /// Whether no row's sum is so low that exponentials of scores as they are may have got lost.
    ///
    /// # Safety
    /// The memory of the chunks and of their scratch is valid.
    #[inline(always)]
    unsafe fn no_sum_is_low<V: Register<O::T>>(&self) -> bool {
        // SAFETY: the caller's.
        unsafe {
            let low = V::splat(Acc::<O>::from_f64(LOW).exp2());
            let mut above = 0;
            for_registers!(V, 0..self.rows, |row, m, _FULL| {
                above += V::load(self.per_row(SUM, row)).count_greater(low, m);
            });
            above == self.rows
        }
    }

    /// Shifts of the rows of which they are needed, whatever their neighbours are.
    ///
    /// # Safety
    /// The memory of the chunks and of their scratch is valid.
    #[inline(always)]
    unsafe fn choose_shifts<V: Register<O::T>>(&self) {
        // SAFETY: the caller's.
        unsafe {
            let [low, high] = [Acc::<O>::from_f64(LOW).exp2(), Acc::<O>::from_f64(HIGH)];
            for_registers!(V, 0..self.rows, |row, m, _FULL| {
                let (inputs, to) = (self.inputs::<V>(row), self.others(row));
                for_registers!(V, 0..m * self.n, |i, n, FULL| {
                    self.op.score::<V, FULL>(&inputs, i, n).store(to.add(i));
                });
            });
            for row in 0..self.rows {
                let scores = std::slice::from_raw_parts(self.others(row), self.n);
                let greater = |m, &z| if z > m { z } else { m };
                let maximum = scores.iter().fold(Acc::<O>::NEG_INFINITY, greater);
                if !(maximum <= high && *self.per_row(SUM, row) > low) {
                    *self.per_row(SHIFT, row) = shift(maximum);
                }
            }
        }
    }

    /// The outputs of the `elements` of one chunk.
    ///
    /// # Safety
    /// The memory of the chunks and of their scratch is valid.
    #[inline(always)]
    unsafe fn store<V: Register<O::T>, const WITH_WEIGHTS: bool>(
        &self,
        inverse: V,
        row: usize,
        elements: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let (inputs, from) = (self.inputs::<V>(row), self.elements(row));
            let outputs = Outputs::new(self.block, self.chunk + row / V::LANES);
            for_registers!(V, 0..elements, |i, n, FULL| {
                let of = (V::load(from.add(i)), self.table.spread(inverse, i));
                let non_temporal = self.block.non_temporal;
                outputs.store::<O, V, FULL, WITH_WEIGHTS>(
                    self.op,
                    &inputs,
                    of,
                    (i, n),
                    non_temporal,
                );
            });
        }
    }
}
