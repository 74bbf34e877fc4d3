//! A block: two loops' worth of every operand, in unit steps along the inner one.

use crate::attention::layout::PerOperand;
use crate::simd::Element;
use crate::simd::{Lanes, Vector};
use crate::tensor::memory::{prefetch, prefetch_to_write};

/// Registers that hold the elements of `T` and what they are computed in.
pub trait Register<T: Element>: Vector<Scalar = T::Acc> + Lanes<T> + Lanes<T::Acc> {}
impl<T: Element, V: Vector<Scalar = T::Acc> + Lanes<T> + Lanes<T::Acc>> Register<T> for V {}

/// What happens to a value that a kernel gives for an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Input,
    Store,
    /// Added to a buffer of the computed type: the gradient of a broadcast operand.
    Accumulate,
}

/// Every operand's place for one block.
#[derive(Clone, Copy)]
pub struct Block {
    pub base: PerOperand<*mut u8>,
    /// From one plane of rows to the next, in bytes.
    pub plane: PerOperand<isize>,
    /// From one row to the next, in bytes.
    pub row: PerOperand<isize>,
    pub role: PerOperand<Role>,
    /// Whether results go past the caches: they are larger than these.
    pub non_temporal: bool,
}

impl Block {
    /// On to the next plane.
    #[inline(always)]
    pub fn advance(&mut self) {
        for (base, &plane) in self.base.iter_mut().zip(&self.plane) {
            *base = base.wrapping_offset(plane);
        }
    }

    /// The same without the rows before `row`.
    #[inline(always)]
    pub fn from_row(mut self, row: usize) -> Block {
        for (base, &step) in self.base.iter_mut().zip(&self.row) {
            *base = base.wrapping_offset(row as isize * step);
        }
        self
    }

    /// Of this many rows one.
    #[inline(always)]
    pub fn by_rows_of(mut self, count: usize) -> Block {
        for step in &mut self.row {
            *step *= count as isize;
        }
        self
    }

    /// How many rows come before one of which the results lie at a multiple of `bytes`, if there is one.
    pub fn unaligned_rows(&self, bytes: usize) -> usize {
        let is_result = |&j: &usize| self.role[j] == Role::Store && !self.is_absent(j);
        let Some(result) = (0..self.role.len()).find(is_result) else { return 0 };
        let is_aligned = |&row: &usize| (self.at::<u8>(result, row) as usize).is_multiple_of(bytes);
        (0..bytes).find(is_aligned).unwrap_or(0)
    }

    #[inline(always)]
    pub fn is_absent(&self, operand: usize) -> bool {
        self.base[operand].is_null()
    }

    #[inline(always)]
    fn at<T>(&self, operand: usize, row: usize) -> *mut T {
        self.base[operand].wrapping_offset(row as isize * self.row[operand]).cast()
    }

    /// One input along one row.
    #[inline(always)]
    pub fn source<T>(&self, operand: usize, row: usize) -> Source<T> {
        Source(if self.is_absent(operand) { std::ptr::null() } else { self.at(operand, row) })
    }

    /// One output along one row.
    #[inline(always)]
    pub fn output<T>(&self, operand: usize, row: usize) -> Output<T> {
        Output(self.at(operand, row))
    }

    /// Whether `known` is so of a gradient.
    pub fn is_known(&self, operand: usize, known: Known) -> bool {
        let role = if known == Known::Accumulates { Role::Accumulate } else { Role::Store };
        !self.is_absent(operand) && self.role[operand] == role
    }

    /// One gradient along one row.
    #[inline(always)]
    pub fn sink(&self, operand: usize, row: usize) -> GradSink {
        let is_absent = self.is_absent(operand);
        GradSink {
            p: self.at(operand, row),
            accumulates: self.role[operand] == Role::Accumulate,
            is_absent,
            non_temporal: self.non_temporal,
        }
    }
}

#[derive(Clone, Copy)]
pub struct Source<T>(*const T);

impl<T: Element> Source<T> {
    #[inline(always)]
    pub unsafe fn load<V: Register<T>, const FULL: bool>(&self, i: usize, n: usize) -> V {
        <V as Lanes<T>>::load_from::<FULL>(self.at(i), n)
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
#[inline(always)]
unsafe fn store<T: Element, V: Register<T>, const FULL: bool>(
    x: V,
    p: *mut T,
    n: usize,
    non_temporal: bool,
) {
    if FULL && non_temporal && (p as usize).is_multiple_of(V::LANES * size_of::<T>()) {
        <V as Lanes<T>>::stream_to(x, p);
    } else {
        <V as Lanes<T>>::store_to::<FULL>(x, p, n);
    }
}

#[derive(Clone, Copy)]
pub struct Output<T>(*mut T);

impl<T: Element> Output<T> {
    /// Ask for the cache line of element `i`, to write to it.
    #[inline(always)]
    pub fn prefetch(&self, i: usize) {
        prefetch_to_write(self.0.wrapping_add(i));
    }

    /// `non_temporal`: past the caches, where address and register allow it.
    #[inline(always)]
    pub unsafe fn store<V: Register<T>, const FULL: bool>(
        &self,
        x: V,
        i: usize,
        n: usize,
        non_temporal: bool,
    ) {
        store::<T, V, FULL>(x, self.0.wrapping_add(i), n, non_temporal);
    }

    /// How many elements come before the first address at which a register can be non_temporal, if any can.
    #[inline(always)]
    pub fn unaligned<V: Register<T>>(&self) -> Option<usize> {
        let register = V::LANES * size_of::<T>();
        let behind = (self.0 as usize).next_multiple_of(register) - self.0 as usize;
        behind.is_multiple_of(size_of::<T>()).then_some(behind / size_of::<T>())
    }
}

/// What is known of a sink when its kernel is compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Nothing,
    Stores,
    Accumulates,
}

#[derive(Clone, Copy)]
pub struct GradSink {
    p: *mut u8,
    accumulates: bool,
    is_absent: bool,
    non_temporal: bool,
}

impl GradSink {
    /// Ask for the cache line of element `i`, to write to it.
    #[inline(always)]
    pub fn prefetch<T: Element>(&self, i: usize) {
        let item = if self.accumulates { size_of::<T::Acc>() } else { size_of::<T>() };
        prefetch_to_write(self.p.wrapping_add(i * item));
    }

    #[inline(always)]
    pub unsafe fn put<T: Element, V: Register<T>, const FULL: bool>(
        &self,
        x: V,
        i: usize,
        n: usize,
        known: Known,
    ) {
        if known == Known::Nothing && self.is_absent {
            return;
        }
        let accumulates = match known {
            Known::Nothing => self.accumulates,
            _ => known == Known::Accumulates,
        };
        if accumulates {
            let p = self.p.cast::<T::Acc>().wrapping_add(i);
            let sum = <V as Lanes<T::Acc>>::load_from::<FULL>(p, n).add(x);
            <V as Lanes<T::Acc>>::store_to::<FULL>(sum, p, n);
        } else {
            let non_temporal = known == Known::Nothing && self.non_temporal;
            store::<T, V, FULL>(x, self.p.cast::<T>().wrapping_add(i), n, non_temporal);
        }
    }
}
