//! Some chunks of short rows at work, and their scratch.

use crate::attention::block::Block;
use crate::attention::kernel::saved::Saved;
use crate::attention::op::{Acc, Op};
use crate::simd::{Float, Lanes, MAX_LANES, Register, Vector};

/// The longest rows that are worked on like this, forward and backward: what longer ones leave unused of
/// their last register costs less.
pub const LONGEST: usize = 32;
pub const LONGEST_BACKWARD: usize = 12;
/// Chunks that take each step together, so that none waits for what it has just stored.
pub const TOGETHER: usize = 4;

/// Numbers of scratch that rows of length `n` need.
pub const fn scratch(n: usize) -> usize {
    TOGETHER * MAX_LANES * (2 * n + 3)
}

/// What is done to some chunks.
pub trait ChunkPass<O: Op> {
    /// # Safety
    /// The memory of the chunks and of their scratch is valid.
    unsafe fn run<V: Register<O::T>>(&self, chunks: &Chunks<O>);
}

/// Some chunks that take each step together.
pub struct Chunks<'a, O: Op> {
    pub op: &'a O,
    /// Its rows are the chunks.
    pub block: &'a Block,
    /// The first of them.
    pub chunk: usize,
    /// Slices, and their length.
    pub rows: usize,
    pub n: usize,
    pub table: &'a Table,
    pub scratch: *mut Acc<O>,
    /// Of the first slice.
    pub shifts: Saved,
    pub inverses: Saved,
}

/// Which row of its chunk each element is in.
pub struct Table([u8; LONGEST * MAX_LANES]);

impl Table {
    #[inline(always)]
    pub fn new(n: usize, rows: usize) -> Table {
        let mut table = [0; LONGEST * MAX_LANES];
        for row in 0..rows {
            table[row * n..(row + 1) * n].fill(row as u8);
        }
        Table(table)
    }

    /// For each lane of the register at element `i`, its row's lane of `x`.
    ///
    /// # Safety
    /// The memory of the chunks and of their scratch is valid.
    #[inline(always)]
    pub unsafe fn spread<V: Vector>(&self, x: V, i: usize) -> V {
        // SAFETY: the caller's.
        unsafe { x.permute(self.0.as_ptr().add(i)) }
    }
}

impl<O: Op> Chunks<'_, O> {
    /// Of the chunk of row `row`.
    #[inline(always)]
    pub fn inputs<V: Vector>(&self, row: usize) -> O::Inputs {
        self.op.inputs(self.block, self.chunk + row / V::LANES)
    }

    /// A number for every element; another; and three for every row.
    #[inline(always)]
    pub fn elements(&self, row: usize) -> *mut Acc<O> {
        self.scratch.wrapping_add(row * self.n)
    }
    #[inline(always)]
    pub fn others(&self, row: usize) -> *mut Acc<O> {
        self.elements(TOGETHER * MAX_LANES + row)
    }
    #[inline(always)]
    pub fn per_row(&self, which: usize, row: usize) -> *mut Acc<O> {
        self.elements(2 * TOGETHER * MAX_LANES).wrapping_add(which * TOGETHER * MAX_LANES + row)
    }

    /// The sums of the rows of numbers from `from` on.
    ///
    /// # Safety
    /// The memory of the chunks and of their scratch is valid.
    #[inline(always)]
    pub unsafe fn sum_up<V: Register<O::T>>(&self, from: *const Acc<O>) {
        // SAFETY: the caller's.
        unsafe {
            for row in (0..self.rows).step_by(V::LANES) {
                let sums = sums_of_rows::<_, V>(from.add(row * self.n), self.n);
                sums.store(self.per_row(SUM, row));
            }
        }
    }
}

/// What there is per row.
pub const SHIFT: usize = 0;
pub const SUM: usize = 1;
pub const INVERSE: usize = 2;

/// The sums of as many rows of `n` numbers as there are lanes.
///
/// # Safety
/// The memory of the chunks and of their scratch is valid.
#[inline(always)]
unsafe fn sums_of_rows<A: Float, V: Vector<Scalar = A> + Lanes<A>>(p: *const A, n: usize) -> V {
    // SAFETY: the caller's.
    unsafe {
        let mut parts = [V::splat(V::Scalar::ZERO); MAX_LANES];
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
}

#[inline(always)]
fn add_neighbours<V: Vector, const N: usize>(parts: &mut [V; MAX_LANES]) {
    for k in 0..N {
        let (even, odd) = parts[2 * k].deinterleave(parts[2 * k + 1]);
        parts[k] = even.add(odd);
    }
}
