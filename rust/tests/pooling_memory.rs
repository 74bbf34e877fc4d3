//! Scratch of pooling: little, and an error where there is none. What one thread allocates is counted.

use super::pooling_case::{Case, run};
use ewa_rs::simd::Simd;
use ewa_rs::tensor::dtype::DType;
use ewa_rs::tensor::memory::OutOfMemory;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static USED: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
    static LIMIT: Cell<isize> = const { Cell::new(isize::MAX) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: the system's, which may also fail.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.get() + layout.size() as isize;
        if used > LIMIT.get() {
            return std::ptr::null_mut();
        }
        USED.set(used);
        MOST.set(MOST.get().max(used));
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        USED.set(USED.get() - layout.size() as isize);
        // SAFETY: the caller's.
        unsafe { System.dealloc(p, layout) }
    }
}

/// The most bytes that a call takes beside its operands and results, with `limit` bytes for it.
fn scratch(case: &Case, limit: isize) -> Result<isize, OutOfMemory> {
    let pool = &case.pool;
    let outputs = pool.channels * pool.output()[0] * pool.output()[1];
    let elements = pool.channels * pool.image[0] * pool.image[1];
    let weights = pool.channels * pool.weights();
    let operands = [vec![0.5f32; elements], vec![1.0; outputs], vec![0.0; weights]];
    let arrays = USED.get() + 4 * (outputs + elements + weights) as isize;
    MOST.set(0);
    LIMIT.set(arrays.saturating_add(limit));
    let simd = Simd::available().next().expect("the portable one");
    let result = run(case, DType::F32, operands, simd);
    LIMIT.set(isize::MAX);
    result.map(|_| MOST.get() - arrays)
}

#[test]
fn scratch_is_a_few_megabytes_whatever_the_window() {
    for (channels, image, kernel, stride) in [
        (1, 1500, 1500, 1500),
        (3, 400, 400, 400),
        (2, 700, 100, 100),
        (2, 256, 128, 8),
        (2, 2000, 2, 2),
    ] {
        for channels_last in [false, true] {
            let mut case = Case::of_one(channels, image, kernel, stride);
            case.channels_last = channels_last;
            let bytes = scratch(&case, isize::MAX).expect("there is memory");
            assert!(bytes < 5 << 20, "{:?}: {bytes} bytes", case.pool);
        }
    }
}

#[test]
fn rows_and_columns_may_be_long() {
    let mut case = Case::of_one(1, 1, 1, 1);
    case.pool.kernel = [2, 2];
    case.pool.stride = [2, 2];
    for image in [[2, 1_000_000], [1_000_000, 2]] {
        case.pool.image = image;
        let bytes = scratch(&case, isize::MAX).expect("there is memory");
        assert!(bytes < 1 << 20, "{image:?}: {bytes} bytes");
    }
}

#[test]
fn without_memory_there_is_an_error() {
    for (channels, image, kernel, stride) in [(1, 300, 300, 300), (4, 64, 2, 2), (2, 64, 5, 1)] {
        for channels_last in [false, true] {
            let mut case = Case::of_one(channels, image, kernel, stride);
            case.channels_last = channels_last;
            let enough = scratch(&case, isize::MAX).expect("there is memory");
            assert!(scratch(&case, enough).is_ok());
            for part in 1..8 {
                assert_eq!(scratch(&case, enough * part / 8), Err(OutOfMemory), "{part} of 8");
            }
        }
    }
}
