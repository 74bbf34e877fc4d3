//! Operands whose elements do not lie side by side are copied, block by block, and so are results.

use super::places::{Place, place};
use super::plan::Plan;
use crate::attention::block::{Block, Role};
use crate::attention::kernel::sums::add_to_sums;
use crate::attention::layout::{Axis, Layout, MAX_OPERANDS, PerOperand};
use crate::simd::{Float, MAX_LANES};
use crate::tensor::memory::Scratch;
use std::cell::Cell;

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
    /// Bytes from the sum of an accumulated gradient to what it has lost.
    accumulator_plane: usize,
}

/// Where an input's copy is from, and its rows and their length.
type Copied = (*mut u8, usize, usize);

impl Staging {
    /// For the blocks of a plan.
    pub fn new(plan: &Plan) -> Staging {
        let Layout { planes, rows, inner, .. } = plan.layout;
        let (max_rows, max_len) = plan.largest_block();
        let place = std::array::from_fn(|j| place(plan, j));
        let mut start = [0; MAX_OPERANDS];
        let mut bytes = 0;
        for j in (0..MAX_OPERANDS).filter(|&j| place[j] != Place::Own) {
            start[j] = bytes;
            let rows = copied_rows(place[j], max_rows);
            bytes += (rows * max_len * plan.item[j]).next_multiple_of(64);
        }
        let memory = (bytes > 0).then(|| Scratch::unset(bytes));
        let last = std::array::from_fn(|_| Cell::new((std::ptr::null_mut(), 0, 0)));
        let Plan { item, role, non_temporal, accumulator_plane, .. } = *plan;
        Staging {
            place,
            item,
            role,
            planes,
            rows,
            inner,
            start,
            memory,
            last,
            non_temporal,
            accumulator_plane,
        }
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

    /// # Safety
    /// As for [`Staging::open`].
    unsafe fn copy_in(&self, block: &Block, j: usize, from: *mut u8, rows: usize, len: usize) {
        let (item, stride) = (self.item[j], self.inner.strides[j]);
        for row in 0..copied_rows(self.place[j], rows) {
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
            for row in 0..copied_rows(self.place[j], rows) {
                // SAFETY: the row is the operand's, and it has a copy.
                unsafe {
                    let from = block.base[j].add(row * len * item);
                    let to = base[j].offset(row as isize * self.rows.strides[j]);
                    match self.role[j] {
                        Role::Store => copy_strided(to, stride, from, item as isize, item, len),
                        _ => {
                            add_strided::<A>(to, self.accumulator_plane, stride, from.cast(), len);
                        }
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

/// The rows in memory of an operand that is not where it was, of `rows` of a block.
fn copied_rows(place: Place, rows: usize) -> usize {
    match place {
        Place::Own | Place::Copied => rows,
        Place::OneRow => 1,
        Place::Repeated => MAX_LANES,
    }
}

/// Add `count` dense numbers to sums that are `step` bytes apart; what these have lost is `to_lost` bytes
/// behind them.
///
/// # Safety
/// There are so many of all three, which do not overlap.
unsafe fn add_strided<A: Float>(
    sums: *mut u8,
    to_lost: usize,
    step: isize,
    from: *const A,
    count: usize,
) {
    // SAFETY: the caller's.
    let from = unsafe { std::slice::from_raw_parts(from, count) };
    if step == size_of::<A>() as isize {
        let (sums, lost) = (sums.cast::<A>(), sums.wrapping_add(to_lost).cast::<A>());
        // SAFETY: the caller's.
        let [sums, lost] =
            [sums, lost].map(|p| unsafe { std::slice::from_raw_parts_mut(p, count) });
        return add_to_sums(sums, lost, from);
    }
    let add = |i: usize, x: A| {
        let sum = sums.wrapping_offset(i as isize * step).cast::<A>();
        let lost = sum.wrapping_byte_add(to_lost);
        // SAFETY: the caller's.
        let (sum, lost) = unsafe { (&mut *sum, &mut *lost) };
        add_to_sums(std::slice::from_mut(sum), std::slice::from_mut(lost), &[x]);
    };
    if step == 0 {
        return add(0, pairwise_sum(from));
    }
    from.iter().enumerate().for_each(|(i, &x)| add(i, x));
}

/// In halves, down to what is added up in 16 partial sums, which a compiler can keep in registers.
fn pairwise_sum<A: Float>(x: &[A]) -> A {
    if x.len() > 128 {
        let (first, second) = x.split_at(x.len() / 2);
        return pairwise_sum(first) + pairwise_sum(second);
    }
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
