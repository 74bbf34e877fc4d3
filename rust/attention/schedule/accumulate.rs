//! Gradients of broadcast operands: sums over the axes along which they were broadcast.
//!
//! Each group of work adds into a buffer of its own, of the operand's size; the buffers are then summed
//! in the order of the groups. The number of groups depends on the shapes alone, so the bits of the
//! result don't depend on the number of threads.
//!
//! No error grows with the number of terms: at most [`TERMS`] of them are added up one by one, to a part;
//! parts go into a sum, and what rounding takes from that is kept beside it.

use crate::attention::kernel::sums::{Compensated, add_to_sums};
use crate::simd::{Element, Float};
use crate::tensor::dims::Dims;
use crate::tensor::index::offset;
use crate::tensor::memory::Scratch;
use crate::tensor::operand::Operand;
use crate::threads;

/// Every group has a buffer: enough groups to share among threads, few enough to keep these small.
const GROUPS: std::ops::RangeInclusive<usize> = 4..=32;
const MOST_GROUPS: usize = 256;
/// Bytes between the buffers of two groups, lest a processor that reads ahead takes its neighbour's lines.
const GAP: usize = 4096;
/// Elements summed at a time.
const CHUNK: usize = 1024;
/// The most terms that are added up without a compensation for what rounding takes.
pub const TERMS: usize = 32;

/// One operand's place in the buffers.
struct Accumulator {
    /// Counted from the first gradient.
    operand: usize,
    /// Size and stride, in the operand's memory, of each axis that it has.
    axes: Vec<(usize, isize)>,
    size: usize,
    start: usize,
    /// Whether blocks add to parts in place, rather than to copies that then go into the sums.
    is_direct: bool,
}

pub struct Accumulators {
    list: Vec<Accumulator>,
    /// Elements of one group's sums; as many are what these have lost, and parts not yet in them.
    size: usize,
    groups: usize,
    /// Sums, what they have lost, and parts if there are any.
    planes: usize,
    item: usize,
    memory: Option<Scratch>,
}

impl Accumulators {
    pub fn none() -> Accumulators {
        Accumulators { list: Vec::new(), size: 0, groups: 0, planes: 2, item: 1, memory: None }
    }

    /// For the broadcast ones of `gradients`, whose strides become those of the buffer.
    pub fn new<T: Element>(shape: &[usize], gradients: &mut [Operand]) -> Accumulators {
        let mut result = Accumulators { item: size_of::<T::Acc>(), ..Self::none() };
        for (j, operand) in gradients.iter_mut().enumerate() {
            if !operand.is_broadcast(shape) {
                continue;
            }
            let has_axis = |d: &usize| operand.strides[*d] != 0 && shape[*d] != 1;
            let axes: Vec<usize> = (0..shape.len()).filter(has_axis).collect();
            let described = axes.iter().map(|&d| (shape[d], operand.strides[d])).collect();
            let mut size = 1;
            let mut strides = Dims::of_default(shape.len());
            for &d in axes.iter().rev() {
                strides[d] = (size * result.item) as isize;
                size *= shape[d];
            }
            operand.strides = strides;
            operand.item = result.item;
            result.list.push(Accumulator {
                operand: j,
                axes: described,
                size,
                start: result.size,
                is_direct: false,
            });
            result.size += size.next_multiple_of(64 / result.item);
        }
        result
    }

    /// Into how many groups `items` of work over `total` elements are cut.
    pub fn groups(&self, items: usize, total: usize) -> usize {
        if self.list.is_empty() {
            return items.min(MOST_GROUPS);
        }
        let affordable = total / (8 * self.size);
        items.min(affordable.clamp(*GROUPS.start(), *GROUPS.end()))
    }

    /// With memory for so many groups; `is_direct` says so of operands counted from the first gradient.
    pub fn allocate(mut self, groups: usize, is_direct: impl Fn(usize) -> bool) -> Accumulators {
        for a in &mut self.list {
            a.is_direct = is_direct(a.operand);
        }
        self.planes = if self.list.iter().any(|a| a.is_direct) { 3 } else { 2 };
        self.size += GAP / self.item;
        self.groups = groups;
        let bytes = groups * self.group_bytes();
        self.memory = (!self.list.is_empty()).then(|| Scratch::zeroed(bytes));
        self
    }

    /// Bytes from a sum to what it has lost, and from there to its part.
    pub fn plane_bytes(&self) -> usize {
        self.size * self.item
    }

    fn group_bytes(&self) -> usize {
        self.planes * self.plane_bytes()
    }

    /// Point operands (counted from the first gradient) at their sums in the buffer of group 0, or at their
    /// parts if blocks add to these in place.
    pub fn attach(&self, base: &mut [*mut u8]) {
        if let Some(memory) = &self.memory {
            for a in &self.list {
                let plane = if a.is_direct { 2 * self.plane_bytes() } else { 0 };
                base[a.operand] = memory.as_ptr::<u8>().wrapping_add(plane + a.start * self.item);
            }
        }
    }

    /// Move offsets (counted from the first gradient) from the buffer of group 0 to that of `group`.
    pub fn move_to_group(&self, group: usize, offsets: &mut [isize]) {
        for a in &self.list {
            offsets[a.operand] += (group * self.group_bytes()) as isize;
        }
    }

    /// Add a group's parts to its sums.
    ///
    /// # Safety
    /// `A` is the type computed in, and nobody else is at work on the group's buffer.
    pub unsafe fn fold<A: Float>(&self, group: usize) {
        let Some(memory) = self.memory.as_ref().filter(|_| self.planes == 3) else { return };
        let start = memory.as_ptr::<u8>().wrapping_add(group * self.group_bytes()).cast::<A>();
        // SAFETY: a group's buffer has three planes of this size.
        let buffer = unsafe { std::slice::from_raw_parts_mut(start, 3 * self.size) };
        let (sums, rest) = buffer.split_at_mut(self.size);
        let (lost, parts) = rest.split_at_mut(self.size);
        add_to_sums(sums, lost, parts);
        parts.fill(A::ZERO);
    }

    /// Sum the buffers, in the order of the groups, into the operands' own memory.
    ///
    /// # Safety
    /// `gradients` are those that this was made for, their memory is valid, and nobody is at work on it or
    /// on the buffers.
    pub unsafe fn reduce_into<T: Element>(&self, gradients: &[Operand]) {
        let Some(memory) = &self.memory else { return };
        for accumulator in &self.list {
            let to = &gradients[accumulator.operand];
            let work = accumulator.size * self.groups;
            threads::for_each(accumulator.size.div_ceil(CHUNK), work, |chunk| {
                // SAFETY: the caller's; chunks are of different elements.
                unsafe { self.reduce_chunk::<T>(memory, accumulator, to, chunk * CHUNK) }
            });
        }
    }

    /// Of one operand the elements from `first` on, at most [`CHUNK`] of them.
    ///
    /// # Safety
    /// As for [`Accumulators::reduce_into`].
    unsafe fn reduce_chunk<T: Element>(
        &self,
        memory: &Scratch,
        accumulator: &Accumulator,
        to: &Operand,
        first: usize,
    ) {
        let count = CHUNK.min(accumulator.size - first);
        let mut sums = [Compensated::<T::Acc>::ZERO; CHUNK];
        for plane in 0..self.planes * self.groups {
            let start = plane * self.size + accumulator.start + first;
            // SAFETY: each plane of a group's buffer has all elements of every operand.
            let terms =
                unsafe { std::slice::from_raw_parts(memory.as_ptr::<T::Acc>().add(start), count) };
            sums.iter_mut().zip(terms).for_each(|(sum, &x)| *sum = sum.add(x));
        }
        for (i, sum) in sums[..count].iter().enumerate() {
            let place =
                to.data.wrapping_offset(offset(first + i, accumulator.axes.iter().copied()));
            // SAFETY: it is an element of the operand.
            unsafe { *place.cast::<T>() = T::from_acc(sum.total()) };
        }
    }
}
