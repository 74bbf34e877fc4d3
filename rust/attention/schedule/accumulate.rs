//! Gradients of broadcast operands: sums over the axes along which they were broadcast.
//!
//! Each group of work adds into a buffer of its own, of the operand's size; the buffers are then summed
//! in the order of the groups. The number of groups depends on the shapes alone, so the bits of the
//! result don't depend on the number of threads.

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
const CHUNK: usize = 4096;

/// One operand's place in the buffers.
struct Accumulator {
    /// Counted from the first gradient.
    operand: usize,
    /// Size and stride, in the operand's memory, of each axis that it has.
    axes: Vec<(usize, isize)>,
    size: usize,
    start: usize,
}

pub struct Accumulators {
    list: Vec<Accumulator>,
    /// Elements of one group's buffer.
    size: usize,
    groups: usize,
    item: usize,
    memory: Option<Scratch>,
}

impl Accumulators {
    pub fn none() -> Accumulators {
        Accumulators { list: Vec::new(), size: 0, groups: 0, item: 1, memory: None }
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
            result.list.push(Accumulator { operand: j, axes: described, size, start: result.size });
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

    pub fn allocate(mut self, groups: usize) -> Accumulators {
        self.size += GAP / self.item;
        self.groups = groups;
        let bytes = groups * self.size * self.item;
        self.memory = (!self.list.is_empty()).then(|| Scratch::zeroed(bytes));
        self
    }

    /// Point the operands (counted from the first gradient) at the buffer of group 0 …
    pub fn attach(&self, base: &mut [*mut u8]) {
        if let Some(memory) = &self.memory {
            for a in &self.list {
                base[a.operand] = memory.as_ptr::<u8>().wrapping_add(a.start * self.item);
            }
        }
    }

    /// … and from there to that of `group`.
    pub fn move_to_group(&self, group: usize, offsets: &mut [isize]) {
        for a in &self.list {
            offsets[a.operand] += (group * self.size * self.item) as isize;
        }
    }

    /// Sum the buffers, in the order of the groups, into the operands' own memory.
    pub fn reduce_into<T: Element>(&self, gradients: &[Operand]) {
        let Some(memory) = &self.memory else { return };
        for a in &self.list {
            let to = &gradients[a.operand];
            threads::for_each(a.size.div_ceil(CHUNK), a.size * self.groups, |chunk| {
                let first = chunk * CHUNK;
                let count = CHUNK.min(a.size - first);
                let mut sums = [T::Acc::ZERO; CHUNK];
                for group in 0..self.groups {
                    let start = group * self.size + a.start + first;
                    let part = unsafe {
                        std::slice::from_raw_parts(memory.as_ptr::<T::Acc>().add(start), count)
                    };
                    for (sum, &x) in sums.iter_mut().zip(part) {
                        *sum = *sum + x;
                    }
                }
                for (i, &sum) in sums[..count].iter().enumerate() {
                    let place = to.data.wrapping_offset(offset(first + i, a.axes.iter().copied()));
                    unsafe { *place.cast::<T>() = T::from_acc(sum) };
                }
            });
        }
    }
}
