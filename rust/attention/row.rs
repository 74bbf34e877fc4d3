//! One operand along one row of a block: loads and stores of registers.

use crate::simd::{Element, Lanes, Register};
use crate::tensor::memory::{prefetch, prefetch_to_write};

/// One input along one row; null where it is absent.
#[derive(Clone, Copy)]
pub struct Source<T>(pub *const T);

impl<T: Element> Source<T> {
    /// # Safety
    /// The row has the `n` elements from `i` on, or a register of them if `FULL`.
    #[inline(always)]
    pub unsafe fn load<V: Register<T>, const FULL: bool>(&self, i: usize, n: usize) -> V {
        // SAFETY: the caller's.
        unsafe { <V as Lanes<T>>::load_from::<FULL>(self.at(i), n) }
    }
}

impl<T> Source<T> {
    #[inline(always)]
    pub fn at(&self, i: usize) -> *const T {
        self.0.wrapping_add(i)
    }

    #[inline(always)]
    pub fn is_absent(&self) -> bool {
        self.0.is_null()
    }

    /// Ask for the cache line of element `i`, which may lie behind the end.
    #[inline(always)]
    pub fn prefetch(&self, i: usize) {
        prefetch(self.at(i));
    }
}

/// Store a register, past the caches if this is wanted and it is full and its address aligned.
///
/// # Safety
/// `n` elements can be written from `p` on, or a register of them if `FULL`.
#[inline(always)]
unsafe fn store<T: Element, V: Register<T>, const FULL: bool>(
    x: V,
    p: *mut T,
    n: usize,
    non_temporal: bool,
) {
    // SAFETY: the caller's.
    unsafe {
        if FULL && non_temporal && (p as usize).is_multiple_of(V::LANES * size_of::<T>()) {
            <V as Lanes<T>>::stream_to(x, p);
        } else {
            <V as Lanes<T>>::store_to::<FULL>(x, p, n);
        }
    }
}

/// One output along one row.
#[derive(Clone, Copy)]
pub struct Output<T>(pub *mut T);

impl<T: Element> Output<T> {
    /// Ask for the cache line of element `i`, to write to it.
    #[inline(always)]
    pub fn prefetch(&self, i: usize) {
        prefetch_to_write(self.0.wrapping_add(i));
    }

    /// `non_temporal`: past the caches, where address and register allow it.
    ///
    /// # Safety
    /// The row has these elements, and nobody else writes there.
    #[inline(always)]
    pub unsafe fn store<V: Register<T>, const FULL: bool>(
        &self,
        x: V,
        i: usize,
        n: usize,
        non_temporal: bool,
    ) {
        // SAFETY: the caller's.
        unsafe { store::<T, V, FULL>(x, self.0.wrapping_add(i), n, non_temporal) };
    }

    /// How many elements come before the first address at which a register can be non_temporal, if any can.
    #[inline(always)]
    pub fn unaligned<V: Register<T>>(&self) -> Option<usize> {
        let register = V::LANES * size_of::<T>();
        let behind = (self.0 as usize).next_multiple_of(register) - self.0 as usize;
        behind.is_multiple_of(size_of::<T>()).then_some(behind / size_of::<T>())
    }
}

/// What a kernel is compiled to know of a sink.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SinkKind {
    Unknown,
    Stores,
    Accumulates,
}

/// Where one gradient goes along one row.
#[derive(Clone, Copy)]
pub struct GradSink {
    pub p: *mut u8,
    pub accumulates: bool,
    pub is_absent: bool,
    pub non_temporal: bool,
}

impl GradSink {
    /// Ask for the cache line of element `i`, to write to it.
    #[inline(always)]
    pub fn prefetch<T: Element>(&self, i: usize) {
        let item = if self.accumulates { size_of::<T::Acc>() } else { size_of::<T>() };
        prefetch_to_write(self.p.wrapping_add(i * item));
    }

    /// Store a gradient, or add it to what is there; nothing where nobody wants it.
    ///
    /// # Safety
    /// The row has these elements, nobody else writes there, and the sink is of this kind.
    #[inline(always)]
    pub unsafe fn put<T: Element, V: Register<T>, const FULL: bool>(
        &self,
        x: V,
        i: usize,
        n: usize,
        kind: SinkKind,
    ) {
        if kind == SinkKind::Unknown && self.is_absent {
            return;
        }
        let accumulates = match kind {
            SinkKind::Unknown => self.accumulates,
            _ => kind == SinkKind::Accumulates,
        };
        // SAFETY: the caller's; what accumulates is of the type computed in.
        unsafe {
            if accumulates {
                let p = self.p.cast::<T::Acc>().wrapping_add(i);
                let sum = <V as Lanes<T::Acc>>::load_from::<FULL>(p, n).add(x);
                <V as Lanes<T::Acc>>::store_to::<FULL>(sum, p, n);
            } else {
                let non_temporal = kind == SinkKind::Unknown && self.non_temporal;
                store::<T, V, FULL>(x, self.p.cast::<T>().wrapping_add(i), n, non_temporal);
            }
        }
    }
}
