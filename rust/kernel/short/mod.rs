//! Slices that are short rows, one behind the other: worked on as if they were one long row, whatever
//! registers they begin and end in.
//!
//! As many rows as a register has lanes are a chunk, of as many registers as a row has elements. A chunk's
//! sums are one register, a row a lane, which a table spreads over the elements.

mod backward;
mod forward;

use super::*;
use crate::kernel::saved::Saved;
use crate::layout::WIDEST;
use crate::numerics::Float;

pub use backward::Backward;
pub use forward::Forward;

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

/// What is done to some chunks.
pub trait Direction<O: Op> {
    unsafe fn run<V: Register<O::T>>(chunks: &Chunks<O>);
}

impl<O: Op> Task for ShortRows<'_, O, Forward> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        if I::WIDE {
            self.run_planes::<Registers<O, I>>();
        }
    }
}

impl<O: Op> Task for ShortRows<'_, O, Backward> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        if I::WIDE {
            self.run_planes::<Registers<O, I>>();
        }
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

    /// The sums of the rows of numbers from `from` on.
    #[inline(always)]
    unsafe fn sum_up<V: Register<O::T>>(&self, from: *const Acc<O>) {
        for row in (0..self.rows).step_by(V::LANES) {
            let sums = sums_of_rows::<_, V>(from.add(row * self.n), self.n);
            sums.store(self.per_row(SUM, row));
        }
    }
}

/// What there is per row.
const SHIFT: usize = 0;
const SUM: usize = 1;
const INVERSE: usize = 2;

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
