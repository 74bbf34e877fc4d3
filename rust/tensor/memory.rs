//! Scratch memory, and advice on memory to the operating system and to the processor.

use super::operand::Operand;
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};

/// Outputs from this size on are worth huge pages: two of them.
#[cfg(target_os = "linux")]
const LARGE: usize = 4 << 20;
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;

/// Ask for huge pages under a large array that is about to be written. Memory fresh from the system is
/// mapped when it is first touched: in pages of 4 KiB, that takes longer than the arithmetic.
#[cfg(target_os = "linux")]
pub fn advise_huge_pages(operand: &Operand, shape: &[usize]) {
    let spans =
        shape.iter().zip(&operand.strides).map(|(&n, &s)| n.saturating_sub(1) * s.unsigned_abs());
    let bytes = spans.sum::<usize>() + operand.item;
    if operand.is_absent() || bytes < LARGE || operand.strides.iter().any(|&s| s < 0) {
        return;
    }
    let start = (operand.data as usize).next_multiple_of(HUGE_PAGE);
    let end = (operand.data as usize + bytes) / HUGE_PAGE * HUGE_PAGE;
    if start < end {
        // SAFETY: advice changes no contents; where it is refused, nothing happens.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
pub fn advise_huge_pages(_: &Operand, _: &[usize]) {}

/// Ask for a cache line, into the second level: there is room for what is needed next but one. The address
/// may be any.
#[inline(always)]
pub fn prefetch<T>(p: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch does not fault.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(p.cast());
    }
    let _ = p;
}

/// Ask for a cache line that is going to be written.
#[inline(always)]
pub fn prefetch_to_write<T>(p: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch does not fault.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_ET0>(p.cast());
    }
    let _ = p;
}

/// Memory that starts at a cache line.
pub struct Scratch {
    p: *mut u8,
    layout: Layout,
}

// It is owned memory like any other.
unsafe impl Send for Scratch {}
unsafe impl Sync for Scratch {}

/// Memory for scratch could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl std::fmt::Display for OutOfMemory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("not enough memory for scratch")
    }
}

impl std::error::Error for OutOfMemory {}

/// `n` copies of `value`.
pub fn try_vec<T: Copy>(value: T, n: usize) -> Result<Vec<T>, OutOfMemory> {
    let mut list = Vec::new();
    list.try_reserve_exact(n).map_err(|_| OutOfMemory)?;
    list.resize(n, value);
    Ok(list)
}

impl Scratch {
    pub fn zeroed(bytes: usize) -> Scratch {
        Self::try_zeroed(bytes).unwrap_or_else(|_| handle_alloc_error(Self::layout(bytes)))
    }

    /// Memory that holds anything until it is written.
    pub fn unset(bytes: usize) -> Scratch {
        Self::try_unset(bytes).unwrap_or_else(|_| handle_alloc_error(Self::layout(bytes)))
    }

    pub fn try_zeroed(bytes: usize) -> Result<Scratch, OutOfMemory> {
        Self::from(alloc_zeroed, bytes)
    }

    /// Memory that holds anything until it is written.
    pub fn try_unset(bytes: usize) -> Result<Scratch, OutOfMemory> {
        Self::from(alloc, bytes)
    }

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes.max(64), 64).expect("scratch fits in memory")
    }

    fn from(allocate: unsafe fn(Layout) -> *mut u8, bytes: usize) -> Result<Scratch, OutOfMemory> {
        let layout = Layout::from_size_align(bytes.max(64), 64).map_err(|_| OutOfMemory)?;
        // SAFETY: the size is not zero.
        let p = unsafe { allocate(layout) };
        if p.is_null() { Err(OutOfMemory) } else { Ok(Scratch { p, layout }) }
    }

    pub fn as_ptr<T>(&self) -> *mut T {
        self.p.cast()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        unsafe { dealloc(self.p, self.layout) }
    }
}
