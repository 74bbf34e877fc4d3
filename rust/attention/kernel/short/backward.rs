//! The backward of short rows.

use super::chunks::{ChunkPass, Chunks, INVERSE, SHIFT, SUM};
use crate::attention::kernel::saved::restore;
use crate::attention::kernel::work::{GradOutput, padded_score};
use crate::attention::op::{Acc, Grads, NOTHING, Op, zero_if_empty};
use crate::simd::{Float, Register};

pub struct Backward;

impl<O: Op> ChunkPass<O> for Backward {
    #[inline(always)]
    unsafe fn run<V: Register<O::T>>(&self, chunks: &Chunks<O>) {
        // SAFETY: the caller's.
        unsafe {
            if chunks.restore::<V>() {
                chunks.backward::<V, true>();
            } else {
                chunks.backward::<V, false>();
            }
        }
    }
}

impl<O: Op> Chunks<'_, O> {
    /// What the forward has saved, where the other steps find it; whether that is without shifts and
    /// empty slices.
    ///
    /// # Safety
    /// The memory of the chunks and of their scratch is valid.
    #[inline(always)]
    unsafe fn restore<V: Register<O::T>>(&self) -> bool {
        // SAFETY: the caller's.
        unsafe {
            let (zero, nothing) = (V::splat(Acc::<O>::ZERO), V::splat(Acc::<O>::from_f64(NOTHING)));
            let (mut kept, mut is_shifted) = (0, false);
            for_registers!(V, 0..self.rows, |row, m, _FULL| {
                let shifts = restore::<_, V>(&self.shifts, row, m);
                let inverses = restore::<_, V>(&self.inverses, row, m);
                is_shifted |= shifts.any_greater(zero) || zero.any_greater(shifts);
                kept += inverses.count_greater(nothing, m);
                shifts.store(self.per_row(SHIFT, row));
                inverses.store(self.per_row(INVERSE, row));
            });
            !is_shifted && kept == self.rows
        }
    }

    /// `PLAIN`: there are neither shifts nor empty slices.
    ///
    /// # Safety
    /// The memory of the chunks and of their scratch is valid.
    #[inline(always)]
    unsafe fn backward<V: Register<O::T>, const PLAIN: bool>(&self) {
        // SAFETY: the caller's.
        unsafe {
            for_registers!(V, 0..self.rows, |row, m, _FULL| {
                self.weigh::<V, PLAIN>(row, m * self.n);
            });
            self.sum_up::<V>(self.others(0));
            for_registers!(V, 0..self.rows, |row, m, _FULL| {
                self.put_gradients::<V, PLAIN>(row, m * self.n);
            });
        }
    }

    /// The weights of the elements of one chunk, and a·da.
    ///
    /// # Safety
    /// The memory of the chunks and of their scratch is valid.
    #[inline(always)]
    unsafe fn weigh<V: Register<O::T>, const PLAIN: bool>(&self, row: usize, elements: usize) {
        // SAFETY: the caller's.
        unsafe {
            let inputs = self.inputs::<V>(row);
            let grad_output = GradOutput::<O::T>::new(self.block, self.chunk + row / V::LANES);
            let shifts = V::load(self.per_row(SHIFT, row));
            let inverses = V::load(self.per_row(INVERSE, row));
            for_registers!(V, 0..elements, |i, n, FULL| {
                let mut z = padded_score::<O, V, FULL>(self.op, &inputs, i, n);
                if !PLAIN {
                    z = z.sub(self.table.spread(shifts, i));
                }
                let inverse = self.table.spread(inverses, i);
                let a = z.exp2().mul(inverse);
                let (_, da) =
                    grad_output.load::<V, FULL>(self.op.value::<V, FULL>(&inputs, i, n), i, n);
                a.store(self.elements(row).add(i));
                let term = if PLAIN { a.mul(da) } else { zero_if_empty(a.mul(da), inverse) };
                term.store(self.others(row).add(i));
            });
        }
    }

    /// # Safety
    /// The memory of the chunks and of their scratch is valid.
    #[inline(always)]
    unsafe fn put_gradients<V: Register<O::T>, const PLAIN: bool>(
        &self,
        row: usize,
        elements: usize,
    ) {
        // SAFETY: the caller's.
        unsafe {
            let (op, chunk) = (self.op, self.chunk + row / V::LANES);
            let inputs = self.inputs::<V>(row);
            let sinks = op.grad_sinks(self.block, chunk);
            let grad_output = GradOutput::<O::T>::new(self.block, chunk);
            let inverses = V::load(self.per_row(INVERSE, row));
            let dots = V::load(self.per_row(SUM, row));
            for_registers!(V, 0..elements, |i, n, FULL| {
                let a = V::load(self.elements(row).add(i));
                let (y, da) = grad_output.load::<V, FULL>(op.value::<V, FULL>(&inputs, i, n), i, n);
                let z = a.mul(da.sub(self.table.spread(dots, i)));
                // Any number that is not zero says that a slice is not empty.
                let one = V::splat(Acc::<O>::ONE);
                let inverse = if PLAIN { one } else { self.table.spread(inverses, i) };
                let grad = Grads { y, z, v: y.mul(a), inverse };
                op.put_gradients::<V, FULL, false>(&inputs, &sinks, grad, i, n);
            });
        }
    }
}
