//! A pass over columns, several registers of them at a time.

use crate::attention::kernel::sums::Summation;
use crate::attention::kernel::work::BlockWork;
use crate::attention::op::Op;
use crate::simd::{Element, Float, Register, Vector};

/// The most scratch that registers side by side take.
const SCRATCH_BYTES: usize = 256 * 1024;

/// Some registers' columns of a block: `G` registers from element `i` on, or one of `n` lanes.
#[derive(Clone, Copy)]
pub struct Columns {
    pub i: usize,
    pub n: usize,
}

/// A pass over columns, `G` registers at a time.
pub trait ColumnPass<O: Op> {
    fn work(&self) -> &BlockWork<'_, O>;
    /// # Safety
    /// The memory of the work is valid, and it has these columns.
    unsafe fn run_registers<V: Register<O::T>, const G: usize, const FULL: bool>(
        &self,
        at: Columns,
    );

    /// # Safety
    /// The memory of the work is valid, and it has these columns.
    #[inline(always)]
    unsafe fn run_all<V: Register<O::T>>(&self) {
        // SAFETY: the caller's.
        unsafe {
            let BlockWork { rows, len, .. } = *self.work();
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
}

/// Call `f` with an element of each cache line of `G` registers from element `i` on.
#[inline(always)]
pub fn for_lines<T: Element, V: Register<T>, const G: usize>(i: usize, f: impl Fn(usize)) {
    let line = 64 / size_of::<T>();
    (i..i + G * V::LANES).step_by(line).for_each(f);
}

/// Ask for the next registers' inputs, which lie too far off for the processor to see.
#[inline(always)]
pub fn prefetch<O: Op, V: Register<O::T>, const G: usize>(
    work: &BlockWork<O>,
    inputs: &O::Inputs,
    i: usize,
) {
    for_lines::<O::T, V, G>(i + G * V::LANES, |i| work.op.prefetch(inputs, i));
}

#[inline(always)]
pub fn lanes<V: Vector, const G: usize>(total: [Summation<V>; G]) -> [V; G] {
    let mut sums = [V::splat(V::Scalar::ZERO); G];
    for g in 0..G {
        sums[g] = total[g].lanes();
    }
    sums
}
