//! Operands whose elements do not lie side by side are copied, block by block, and so are results.

use super::plan::Plan;
use crate::attention::block::{Block, Role};
use crate::attention::layout::{Axis, Layout, MAX_OPERANDS, PerOperand};
use crate::simd::Float;
use crate::simd::MAX_LANES;
use crate::tensor::memory::Scratch;
use std::cell::Cell;

/// Where a block has an operand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where it is.
    Own,
    /// In a copy, its elements side by side.
    Copied,
    /// In [`MAX_LANES`] copies of its only row, one behind the other.
    Repeated,
}

/// How the operands of a layout become blocks, and the memory for copies of those whose elements do
/// not lie side by side: strided ones, and ones that are broadcast along the inner axis.
pub struct Staging {
    place: PerOperand<Place>,
    item: PerOperand<usize>,
    role: PerOperand<Role>,
    planes: Axis,
    rows: Axis,
    inner: Axis,
    /// Where the copies start, operand by operand.
    start: PerOperand<usize>,
    memory: Option<Scratch>,
    /// What has been copied last of each input, so that one which is the same in the next block is not
    /// copied again.
    last: PerOperand<Cell<Copied>>,
    non_temporal: bool,
}

/// Where an input's copy is from, and its rows and their length.
type Copied = (*mut u8, usize, usize);

impl Staging {
    /// For the blocks of a plan.
    pub fn new(plan: &Plan) -> Staging {
        let Layout { planes, rows, inner, .. } = plan.layout;
        let (max_rows, max_len) = plan.largest_block();
        let place = std::array::from_fn(|j| {
            if plan.present[j] && inner.strides[j] != plan.item[j] as isize && max_len > 1 {
                Place::Copied
            } else if plan.present[j] && plan.short && rows.strides[j] == 0 {
                Place::Repeated
            } else {
                Place::Own
            }
        });
        let mut start = [0; MAX_OPERANDS];
        let mut bytes = 0;
        for j in (0..MAX_OPERANDS).filter(|&j| place[j] != Place::Own) {
            start[j] = bytes;
            let rows = if place[j] == Place::Copied { max_rows } else { MAX_LANES };
            bytes += (rows * max_len * plan.item[j]).next_multiple_of(64);
        }
        let memory = (bytes > 0).then(|| Scratch::unset(bytes));
        let last = std::array::from_fn(|_| Cell::new((std::ptr::null_mut(), 0, 0)));
        let Plan { item, role, non_temporal, .. } = *plan;
        Staging { place, item, role, planes, rows, inner, start, memory, last, non_temporal }
    }

    /// The block at `base` (every operand's address of its first element), its copies made.
    ///
    /// # Safety
    /// The plan has such a block, and nobody else writes to it or works with these copies. Inputs do not
    /// change between blocks, unless they are outputs of the same elements.
    pub unsafe fn open(&self, base: &PerOperand<*mut u8>, rows: usize, len: usize) -> Block {
        let (plane, row) = (self.planes.strides, self.rows.strides);
        let mut block =
            Block { base: *base, plane, row, role: self.role, non_temporal: self.non_temporal };
        if let Some(memory) = &self.memory {
            for j in (0..MAX_OPERANDS).filter(|&j| self.place[j] != Place::Own) {
                block.base[j] = memory.as_ptr::<u8>().wrapping_add(self.start[j]);
                let is_copied = self.place[j] == Place::Copied;
                block.row[j] = if is_copied { (len * self.item[j]) as isize } else { 0 };
                let wanted = (base[j], rows, len);
                if self.last[j].replace(wanted) != wanted || self.role[j] != Role::Input {
                    // SAFETY: the caller's; the copy has room for the rows of a block.
                    unsafe { self.copy_in(&block, j, base[j], rows, len) };
                }
            }
        }
        block
    }

    /// The rows in memory of an operand that is not where it was, of `rows` of a block.
    fn rows(&self, j: usize, rows: usize) -> usize {
        if self.place[j] == Place::Copied { rows } else { MAX_LANES }
    }

    /// # Safety
    /// As for [`Staging::open`].
    unsafe fn copy_in(&self, block: &Block, j: usize, from: *mut u8, rows: usize, len: usize) {
        let (item, stride) = (self.item[j], self.inner.strides[j]);
        for row in 0..self.rows(j, rows) {
            // SAFETY: the row is the operand's, and the copy has room for it.
            unsafe {
                let from = from.offset(row as isize * self.rows.strides[j]);
                let to = block.base[j].add(row * len * item);
                match self.role[j] {
                    Role::Input => copy_strided(to, item as isize, from, stride, item, len),
                    Role::Accumulate => to.write_bytes(0, len * item),
                    Role::Store => {}
                }
            }
        }
    }

    /// Bring the copied outputs of a block back to where they belong.
    ///
    /// # Safety
    /// The block was opened at `base` with so many rows of this length, the last one to be.
    pub unsafe fn close<A: Float>(
        &self,
        block: &Block,
        base: &PerOperand<*mut u8>,
        rows: usize,
        len: usize,
    ) {
        let is_result = |&j: &usize| self.place[j] != Place::Own && self.role[j] != Role::Input;
        for j in (0..MAX_OPERANDS).filter(is_result) {
            let (item, stride) = (self.item[j], self.inner.strides[j]);
            for row in 0..self.rows(j, rows) {
                // SAFETY: the row is the operand's, and it has a copy.
                unsafe {
                    let from = block.base[j].add(row * len * item);
                    let to = base[j].offset(row as isize * self.rows.strides[j]);
                    match self.role[j] {
                        Role::Store => copy_strided(to, stride, from, item as isize, item, len),
                        _ => add_strided::<A>(to, stride, from.cast(), len),
                    }
                }
            }
        }
    }
}

/// Copy `count` elements of `item` bytes.
///
/// # Safety
/// There are so many elements at these steps (in bytes), of which those to be written overlap no other.
unsafe fn copy_strided(
    to: *mut u8,
    to_step: isize,
    from: *const u8,
    from_step: isize,
    item: usize,
    count: usize,
) {
    macro_rules! copy {
        ($type:ty) => {{
            let is_dense =
                to_step == size_of::<$type>() as isize && to.cast::<$type>().is_aligned();
            if from_step == 0 && is_dense {
                let value = from.cast::<$type>().read_unaligned();
                std::slice::from_raw_parts_mut(to.cast::<$type>(), count).fill(value);
                return;
            }
            for i in 0..count as isize {
                let value = from.offset(i * from_step).cast::<$type>().read_unaligned();
                to.offset(i * to_step).cast::<$type>().write_unaligned(value);
            }
        }};
    }
    // SAFETY: the caller's.
    unsafe {
        match item {
            1 => copy!(u8),
            2 => copy!(u16),
            4 => copy!(u32),
            _ => copy!(u64),
        }
    }
}

/// Add `count` dense numbers to others, `to_step` bytes apart.
///
/// # Safety
/// There are so many of both, which do not overlap.
unsafe fn add_strided<A: Float>(to: *mut u8, to_step: isize, from: *const A, count: usize) {
    // SAFETY: the caller's.
    unsafe {
        let from = std::slice::from_raw_parts(from, count);
        if to_step == 0 {
            let to = to.cast::<A>();
            *to = *to + sum(from);
            return;
        }
        for (i, &x) in from.iter().enumerate() {
            let to = to.offset(i as isize * to_step).cast::<A>();
            *to = *to + x;
        }
    }
}

/// In 16 partial sums, which a compiler can keep in registers.
fn sum<A: Float>(x: &[A]) -> A {
    let mut sums = [A::ZERO; 16];
    let chunks = x.chunks_exact(16);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum = *sum + x;
        }
    }
    sums.iter().chain(rest).fold(A::ZERO, |a, &b| a + b)
}
