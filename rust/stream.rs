//! How fast memory streams: the limit that the benchmark measures the ops against.

use crate::parallel;
use crate::simd::Simd;

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
    parallel::for_each(steps.div_ceil(per_unit), steps * STEP / size_of::<f32>(), |unit| {
        let from = unit * per_unit;
        let to = steps.min(from + per_unit);
        match simd {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512 => x86::avx512(reads, writes, from * STEP, to * STEP),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2 => x86::avx2(reads, writes, from * STEP, to * STEP),
            _ => plain(reads, writes, from * STEP, to * STEP),
        }
    });
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{STEP, Stream};
    use std::arch::x86_64::*;
    use std::hint::black_box;

    macro_rules! streaming {
        ($name:ident, $features:literal, $register:ty, $zero:ident, $load:ident, $xor:ident, $store:ident) => {
            #[target_feature(enable = $features)]
            pub unsafe fn $name(reads: &[Stream], writes: &[Stream], from: usize, to: usize) {
                const WIDTH: usize = size_of::<$register>();
                let mut sums = [$zero(); 4];
                for at in (from..to).step_by(STEP) {
                    for read in reads {
                        for i in 0..STEP / WIDTH {
                            let value = $load(read.data.add(at + i * WIDTH).cast());
                            sums[i % 4] = $xor(sums[i % 4], value);
                        }
                    }
                    for write in writes {
                        for i in 0..STEP / WIDTH {
                            $store(write.data.add(at + i * WIDTH).cast(), $zero());
                        }
                    }
                }
                black_box(sums);
                _mm_sfence(); // nothing else orders stores that bypass the caches
            }
        };
    }

    streaming!(
        avx512,
        "avx512f",
        __m512i,
        _mm512_setzero_si512,
        _mm512_loadu_si512,
        _mm512_xor_si512,
        _mm512_stream_si512
    );
    streaming!(
        avx2,
        "avx2",
        __m256i,
        _mm256_setzero_si256,
        _mm256_loadu_si256,
        _mm256_xor_si256,
        _mm256_stream_si256
    );
}

unsafe fn plain(reads: &[Stream], writes: &[Stream], from: usize, to: usize) {
    let mut sum = 0;
    for at in (from..to).step_by(STEP) {
        for read in reads {
            for i in 0..STEP / 8 {
                sum ^= read.data.add(at + 8 * i).cast::<u64>().read_unaligned();
            }
        }
        for write in writes {
            write.data.add(at).write_bytes(0, STEP);
        }
    }
    std::hint::black_box(sum);
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
        for simd in Simd::ALL.into_iter().filter(|simd| simd.is_available()) {
            let mut read = vec![Line([7; LINE]); 20_001];
            let mut write = vec![Line([7; LINE]); 20_003];
            let inner = stream(&mut write[1..20_002]);
            unsafe { run(&[stream(&mut read)], &[inner], simd) };
            assert!(read.iter().all(|line| line.0 == [7; LINE]), "{simd:?}");
            assert!(write[1..20_001].iter().all(|line| line.0 == [0; LINE]), "{simd:?}");
            assert_eq!((write[0].0[63], write[20_001].0[0]), (7, 7), "{simd:?}");
        }
    }
}
