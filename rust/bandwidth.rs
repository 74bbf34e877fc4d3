//! How fast memory streams: the limit that the benchmark measures the ops against.

use crate::simd::{Isa, Lanes, Simd, Task, Vector};
use crate::threads;
use std::ops::Range;

/// What a unit of work takes of each stream, and what it takes of one before turning to the next.
const UNIT: usize = 256 * 1024;
const STEP: usize = 256;
const LINE: usize = 64;

/// Memory that is read or written from its start to its end.
#[derive(Clone, Copy)]
pub struct Stream {
    pub data: *mut u8,
    pub bytes: usize,
}

// SAFETY: units touch parts of their own, and the caller of `run` owns the memory.
unsafe impl Sync for Stream {}

impl Stream {
    pub fn start(&self) -> usize {
        self.data as usize
    }

    /// Behind the last byte.
    pub fn end(&self) -> usize {
        self.start() + self.bytes
    }

    pub fn is_aligned(&self) -> bool {
        self.start().is_multiple_of(LINE)
    }
}

/// Read every stream of `reads` and write every stream of `writes`, all of one length, side by side and
/// once. The writes bypass the caches where the processor has instructions for it. Less than 256 bytes at
/// the end are left out.
///
/// # Safety
/// The streams are valid memory of `reads[0].bytes` each; those written overlap no other and start at a
/// multiple of 64.
pub unsafe fn run(reads: &[Stream], writes: &[Stream], simd: Simd) {
    let steps = reads.iter().chain(writes).map(|s| s.bytes / STEP).min().unwrap_or(0);
    let per_unit = UNIT / STEP;
    threads::for_each(steps.div_ceil(per_unit), steps * STEP / size_of::<f32>(), |unit| {
        let first = unit * per_unit;
        let bytes = first * STEP..steps.min(first + per_unit) * STEP;
        // SAFETY: the caller's; units do not overlap.
        unsafe { simd.dispatch(Part { reads, writes, bytes }) };
        simd.fence(); // nothing else orders stores that bypass the caches
    });
}

/// What a unit of work reads and writes of every stream.
struct Part<'a> {
    reads: &'a [Stream],
    writes: &'a [Stream],
    bytes: Range<usize>,
}

impl Task for Part<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<I: Isa>(self) {
        let lanes = I::F32::LANES;
        let mut maxima = [I::F32::splat(0.0); 4];
        for at in self.bytes.step_by(STEP) {
            for read in self.reads {
                let from = read.data.wrapping_add(at).cast::<f32>();
                for i in 0..STEP / size_of::<f32>() / lanes {
                    // SAFETY: the caller's. The maximum is an instruction that no value slows down.
                    let value = unsafe { I::F32::load(from.wrapping_add(i * lanes)) };
                    maxima[i % 4] = value.max(maxima[i % 4]);
                }
            }
            for write in self.writes {
                let to = write.data.wrapping_add(at).cast::<f32>();
                for i in 0..STEP / size_of::<f32>() / lanes {
                    // SAFETY: the caller's.
                    unsafe { I::F32::splat(0.0).stream_to(to.wrapping_add(i * lanes)) };
                }
            }
        }
        let all = maxima.into_iter().fold(I::F32::splat(0.0), |all, some| some.max(all));
        std::hint::black_box(all.reduce_max());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(64))]
    #[derive(Clone, Copy)]
    struct Line([u8; LINE]);

    fn stream(lines: &mut [Line]) -> Stream {
        Stream { data: lines.as_mut_ptr().cast(), bytes: size_of_val(lines) }
    }

    #[test]
    fn every_step_is_written_and_nothing_beyond() {
        for simd in Simd::available() {
            let mut read = vec![Line([7; LINE]); 20_001];
            let mut write = vec![Line([7; LINE]); 20_003];
            let inner = stream(&mut write[1..20_002]);
            // SAFETY: memory of these vectors, which do not overlap.
            unsafe { run(&[stream(&mut read)], &[inner], simd) };
            assert!(read.iter().all(|line| line.0 == [7; LINE]), "{simd:?}");
            assert!(write[1..20_001].iter().all(|line| line.0 == [0; LINE]), "{simd:?}");
            assert_eq!((write[0].0[63], write[20_001].0[0]), (7, 7), "{simd:?}");
        }
    }
}
