//! Slices that are short rows, one behind the other: worked on as if they were one long row, whatever
//! registers they begin and end in.
//!
//! As many rows as a register has lanes are a chunk, of as many registers as a row has elements. A chunk's
//! sums are one register, a row a lane, which a table spreads over the elements.

mod backward;
mod chunks;
mod forward;

pub use backward::Backward;
pub use chunks::{LONGEST, LONGEST_BACKWARD, scratch};
pub use forward::Forward;

use crate::attention::kernel::saved::Saved;
use crate::attention::kernel::work::{BlockWork, Registers};
use crate::attention::op::Op;
use crate::simd::{Isa, Register, Task};
use chunks::{ChunkPass, Chunks, TOGETHER, Table};

/// The whole forward or backward of slices that are a short row each.
pub struct ShortRows<'a, O: Op, D> {
    pub work: BlockWork<'a, O>,
    pub planes: usize,
    pub shifts: Saved,
    pub inverses: Saved,
    pub pass: D,
}

impl<O: Op> Task for ShortRows<'_, O, Forward> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: the caller's.
        unsafe {
            if I::WIDE {
                self.run_planes::<Registers<O, I>>();
            }
        }
    }
}

impl<O: Op> Task for ShortRows<'_, O, Backward> {
    type Output = ();
    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        // SAFETY: the caller's.
        unsafe {
            if I::WIDE {
                self.run_planes::<Registers<O, I>>();
            }
        }
    }
}

impl<O: Op, D: ChunkPass<O>> ShortRows<'_, O, D> {
    /// # Safety
    /// As for [`Task::run`].
    #[inline(always)]
    unsafe fn run_planes<V: Register<O::T>>(self) {
        // SAFETY: the caller's.
        unsafe {
            let BlockWork { op, rows, len, scratch, .. } = self.work;
            let table = Table::new(len, V::LANES);
            let mut block = *self.work.block;
            let (mut shifts, mut inverses) = (self.shifts, self.inverses);
            for _ in 0..self.planes {
                let bytes = V::LANES * size_of::<O::T>();
                let head =
                    if block.non_temporal { block.unaligned_rows(bytes).min(rows) } else { 0 };
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
                self.pass.run::<V>(&start);
                let chunks = block.from_row(head).by_rows_of(V::LANES);
                for first in (head..rows).step_by(TOGETHER * V::LANES) {
                    self.pass.run::<V>(&Chunks {
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
}
