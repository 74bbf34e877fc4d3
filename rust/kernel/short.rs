//! Slices that are short rows, one behind the other: worked on as if they were one long row, whatever
//! registers they begin and end in.
//!
//! As many rows as a register has lanes are a chunk, of as many registers as a row has elements. A chunk's
//! sums are one register, a row a lane, which a table spreads over the elements.

use super::*;
use crate::kernel::fitting::{HIGH, LOW, inverses};
use crate::kernel::saved::{Saved, restore, save};
use crate::kernel::stats::{NOTHING, shift};
use crate::layout::WIDEST;
use crate::numerics::Float;

/// The longest rows that are worked on like this, forward and backward: what longer ones leave unused of
/// their last register costs less.
pub const LONGEST: usize = 32;
pub const LONGEST_BACKWARD: usize = 12;
/// Chunks that take each step together, so that none waits for what it has just stored.
const TOGETHER: usize = 4;

/// Numbers of scratch that rows of length `n` need.
pub const fn scratch(n: usize) -> usize {
    TOGETHER * WIDEST * (2 * n + 3)
}

/// The whole forward or backward of slices that are a short row each.
pub struct ShortRows<'a, O: Op, D> {
    pub work: Work<'a, O>,
    pub planes: usize,
    pub shifts: Saved,
    pub inverses: Saved,
    pub direction: D,
}

pub struct Forward;
pub struct Backward;

/// What is done to some chunks.
pub trait Direction<O: Op> {
    unsafe fn run<V: Register<O::T>>(chunks: &Chunks<O>);
}

impl<O: Op> Task for ShortRows<'_, O, Forward> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        self.run_planes::<Registers<O, I>>();
    }
}

impl<O: Op> Task for ShortRows<'_, O, Backward> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        self.run_planes::<Registers<O, I>>();
    }
}

impl<O: Op, D: Direction<O>> ShortRows<'_, O, D> {
    #[inline(always)]
    unsafe fn run_planes<V: Register<O::T>>(self) {
        let Work { op, rows, len, scratch, .. } = self.work;
        let table = Table::new(len, V::LANES);
        let mut block = *self.work.block;
        let (mut shifts, mut inverses) = (self.shifts, self.inverses);
        for _ in 0..self.planes {
            let bytes = V::LANES * size_of::<O::T>();
            let head = if block.streams { block.unaligned_rows(bytes).min(rows) } else { 0 };
            let chunks = block.by_rows_of(V::LANES);
            let start = Chunks {
                op,
                block: &chunks,
                table: &table,
                n: len,
                rows: head,
                chunk: 0,
                scratch,
                shifts,
                inverses,
            };
            D::run::<V>(&start);
            let chunks = block.from_row(head).by_rows_of(V::LANES);
            for first in (head..rows).step_by(TOGETHER * V::LANES) {
                D::run::<V>(&Chunks {
                    block: &chunks,
                    rows: (rows - first).min(TOGETHER * V::LANES),
                    chunk: (first - head) / V::LANES,
                    shifts: shifts.from(first),
                    inverses: inverses.from(first),
                    ..start
                });
            }
            block.advance();
            shifts.advance();
            inverses.advance();
        }
    }
}

/// Some chunks that take each step together.
pub struct Chunks<'a, O: Op> {
    op: &'a O,
    /// Its rows are the chunks.
    block: &'a Block,
    /// The first of them.
    chunk: usize,
    /// Slices, and their length.
    rows: usize,
    n: usize,
    table: &'a Table,
    scratch: *mut Acc<O>,
    /// Of the first slice.
    shifts: Saved,
    inverses: Saved,
}

/// Which row of its chunk each element is in.
struct Table([u8; LONGEST * WIDEST]);

impl Table {
    #[inline(always)]
    fn new(n: usize, rows: usize) -> Table {
        let mut table = [0; LONGEST * WIDEST];
        for row in 0..rows {
            table[row * n..(row + 1) * n].fill(row as u8);
        }
        Table(table)
    }

    /// For each lane of the register at element `i`, its row's lane of `x`.
    #[inline(always)]
    unsafe fn spread<V: Vector>(&self, x: V, i: usize) -> V {
        x.pick(self.0.as_ptr().add(i))
    }
}

impl<O: Op> Chunks<'_, O> {
    /// Of the chunk of row `row`.
    #[inline(always)]
    unsafe fn inputs<V: Vector>(&self, row: usize) -> O::Inputs {
        self.op.inputs(self.block, self.chunk + row / V::LANES)
    }

    /// A number for every element; another; and three for every row.
    #[inline(always)]
    fn elements(&self, row: usize) -> *mut Acc<O> {
        self.scratch.wrapping_add(row * self.n)
    }
    #[inline(always)]
    fn others(&self, row: usize) -> *mut Acc<O> {
        self.elements(TOGETHER * WIDEST + row)
    }
    #[inline(always)]
    fn per_row(&self, which: usize, row: usize) -> *mut Acc<O> {
        self.elements(2 * TOGETHER * WIDEST).wrapping_add(which * TOGETHER * WIDEST + row)
    }
}

/// What there is per row.
const SHIFT: usize = 0;
const SUM: usize = 1;
const INVERSE: usize = 2;

impl<O: Op> Direction<O> for Forward {
    #[inline(always)]
    unsafe fn run<V: Register<O::T>>(chunks: &Chunks<O>) {
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

impl<O: Op> Chunks<'_, O> {
    #[inline(always)]
    unsafe fn zero_shifts<V: Register<O::T>>(&self) {
        for row in (0..self.rows).step_by(V::LANES) {
            V::splat(Acc::<O>::ZERO).store(self.per_row(SHIFT, row));
        }
    }

    /// 2^(score − shift) of every element; whether no score is too high to go unshifted.
    #[inline(always)]
    unsafe fn exponentials<V: Register<O::T>, const SHIFTED: bool>(&self) -> bool {
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

    /// The sums of the rows of numbers from `from` on.
    #[inline(always)]
    unsafe fn sum_up<V: Register<O::T>>(&self, from: *const Acc<O>) {
        for row in (0..self.rows).step_by(V::LANES) {
            let sums = sums_of_rows::<_, V>(from.add(row * self.n), self.n);
            sums.store(self.per_row(SUM, row));
        }
    }

    /// Whether no row's sum is so low that exponentials of scores as they are may have got lost.
    #[inline(always)]
    unsafe fn no_sum_is_low<V: Register<O::T>>(&self) -> bool {
        let low = V::splat(Acc::<O>::from_f64(LOW).exp2());
        let mut above = 0;
        for_registers!(V, 0..self.rows, |row, m, _FULL| {
            above += V::load(self.per_row(SUM, row)).count_greater(low, m);
        });
        above == self.rows
    }

    /// Shifts of the rows of which they are needed, whatever their neighbours are.
    #[inline(always)]
    unsafe fn choose_shifts<V: Register<O::T>>(&self) {
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

    /// The outputs of the `elements` of one chunk.
    #[inline(always)]
    unsafe fn store<V: Register<O::T>, const WITH_WEIGHTS: bool>(
        &self,
        inverse: V,
        row: usize,
        elements: usize,
    ) {
        let (inputs, from) = (self.inputs::<V>(row), self.elements(row));
        let outputs = Outputs::new(self.block, self.chunk + row / V::LANES);
        for_registers!(V, 0..elements, |i, n, FULL| {
            let of = (V::load(from.add(i)), self.table.spread(inverse, i));
            let streams = self.block.streams;
            outputs.store::<O, V, FULL, WITH_WEIGHTS>(self.op, &inputs, of, (i, n), streams);
        });
    }
}

/// The sums of as many rows of `n` numbers as there are lanes.
#[inline(always)]
unsafe fn sums_of_rows<A: Float, V: Vector<Scalar = A> + Lanes<A>>(p: *const A, n: usize) -> V {
    let mut parts = [V::splat(V::Scalar::ZERO); WIDEST];
    let (full, rest) = (n - n % V::LANES, n % V::LANES);
    for row in 0..V::LANES {
        let p = p.add(row * n);
        let mut sum = V::load_from::<false>(p.add(full), rest);
        for i in (0..full).step_by(V::LANES) {
            sum = sum.add(V::load(p.add(i)));
        }
        parts[row] = sum;
    }
    // Neighbouring lanes are added, then neighbouring pairs, until every row is one lane.
    if V::LANES >= 16 {
        add_neighbours::<V, 8>(&mut parts);
    }
    if V::LANES >= 8 {
        add_neighbours::<V, 4>(&mut parts);
    }
    if V::LANES >= 4 {
        add_neighbours::<V, 2>(&mut parts);
    }
    add_neighbours::<V, 1>(&mut parts);
    parts[0]
}

#[inline(always)]
unsafe fn add_neighbours<V: Vector, const N: usize>(parts: &mut [V; WIDEST]) {
    for k in 0..N {
        let (even, odd) = parts[2 * k].deinterleave(parts[2 * k + 1]);
        parts[k] = even.add(odd);
    }
}

impl<O: Op> Direction<O> for Backward {
    #[inline(always)]
    unsafe fn run<V: Register<O::T>>(chunks: &Chunks<O>) {
        if chunks.restore::<V>() {
            chunks.backward::<V, true>();
        } else {
            chunks.backward::<V, false>();
        }
    }
}

impl<O: Op> Chunks<'_, O> {
    /// What the forward has saved, where the other steps find it; whether that is without shifts and
    /// empty slices.
    #[inline(always)]
    unsafe fn restore<V: Register<O::T>>(&self) -> bool {
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

    /// `PLAIN`: there are neither shifts nor empty slices.
    #[inline(always)]
    unsafe fn backward<V: Register<O::T>, const PLAIN: bool>(&self) {
        for_registers!(V, 0..self.rows, |row, m, _FULL| {
            self.weigh::<V, PLAIN>(row, m * self.n);
        });
        self.sum_up::<V>(self.others(0));
        for_registers!(V, 0..self.rows, |row, m, _FULL| {
            self.put_gradients::<V, PLAIN>(row, m * self.n);
        });
    }

    /// The weights of the elements of one chunk, and a·da.
    #[inline(always)]
    unsafe fn weigh<V: Register<O::T>, const PLAIN: bool>(&self, row: usize, elements: usize) {
        let inputs = self.inputs::<V>(row);
        let arriving = Arriving::<O::T>::new(self.block, self.chunk + row / V::LANES);
        let shifts = V::load(self.per_row(SHIFT, row));
        let inverses = V::load(self.per_row(INVERSE, row));
        for_registers!(V, 0..elements, |i, n, FULL| {
            let mut z = padded_score::<O, V, FULL>(self.op, &inputs, i, n);
            if !PLAIN {
                z = z.sub(self.table.spread(shifts, i));
            }
            let inverse = self.table.spread(inverses, i);
            let a = z.exp2().mul(inverse);
            let (_, da) = arriving.load::<V, FULL>(self.op.value::<V, FULL>(&inputs, i, n), i, n);
            a.store(self.elements(row).add(i));
            let term = if PLAIN { a.mul(da) } else { zero_if_empty(a.mul(da), inverse) };
            term.store(self.others(row).add(i));
        });
    }

    #[inline(always)]
    unsafe fn put_gradients<V: Register<O::T>, const PLAIN: bool>(
        &self,
        row: usize,
        elements: usize,
    ) {
        let (op, chunk) = (self.op, self.chunk + row / V::LANES);
        let inputs = self.inputs::<V>(row);
        let sinks = op.gradients(self.block, chunk);
        let arriving = Arriving::<O::T>::new(self.block, chunk);
        let inverses = V::load(self.per_row(INVERSE, row));
        let dots = V::load(self.per_row(SUM, row));
        for_registers!(V, 0..elements, |i, n, FULL| {
            let a = V::load(self.elements(row).add(i));
            let (y, da) = arriving.load::<V, FULL>(op.value::<V, FULL>(&inputs, i, n), i, n);
            let z = a.mul(da.sub(self.table.spread(dots, i)));
            // Any number that is not zero says that a slice is not empty.
            let one = V::splat(Acc::<O>::ONE);
            let inverse = if PLAIN { one } else { self.table.spread(inverses, i) };
            let grad = Upstream { y, z, v: y.mul(a), inverse };
            op.put_gradients::<V, FULL, false>(&inputs, &sinks, grad, i, n);
        });
    }
}
