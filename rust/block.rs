//! A block: two loops' worth of every operand, in unit steps along the inner one.

use crate::layout::{Axis, MAX_OPERANDS, PerOperand};
use crate::numerics::{Element, Float};
use crate::simd::{Lanes, Vector};
use std::alloc::{Layout as Memory, alloc_zeroed, dealloc, handle_alloc_error};

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
}

impl Block {
    /// On to the next plane.
    #[inline(always)]
    pub fn advance(&mut self) {
        for (base, &plane) in self.base.iter_mut().zip(&self.plane) {
            *base = base.wrapping_offset(plane);
        }
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
    pub fn sink(&self, operand: usize, row: usize) -> Sink {
        let is_absent = self.is_absent(operand);
        Sink {
            p: self.at(operand, row),
            accumulates: self.role[operand] == Role::Accumulate,
            is_absent,
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
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch does not fault.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.at(i).cast());
        }
        let _ = i;
    }
}

#[derive(Clone, Copy)]
pub struct Output<T>(*mut T);

impl<T: Element> Output<T> {
    /// `STREAM`: past the caches, which a full register at an aligned address can be.
    #[inline(always)]
    pub unsafe fn store<V: Register<T>, const FULL: bool, const STREAM: bool>(
        &self,
        x: V,
        i: usize,
        n: usize,
    ) {
        let p = self.0.wrapping_add(i);
        if FULL && STREAM {
            <V as Lanes<T>>::stream_to(x, p);
        } else {
            <V as Lanes<T>>::store_to::<FULL>(x, p, n);
        }
    }

    /// How many elements come before the first address at which a register can be streamed, if any can.
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
pub struct Sink {
    p: *mut u8,
    accumulates: bool,
    is_absent: bool,
}

impl Sink {
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
            <V as Lanes<T>>::store_to::<FULL>(x, self.p.cast::<T>().wrapping_add(i), n);
        }
    }
}

/// Zeroed memory that starts at a cache line.
pub struct Scratch {
    p: *mut u8,
    memory: Memory,
}

// It is owned memory like any other.
unsafe impl Send for Scratch {}
unsafe impl Sync for Scratch {}

impl Scratch {
    pub fn zeroed(bytes: usize) -> Scratch {
        let memory = Memory::from_size_align(bytes.max(64), 64).expect("scratch fits in memory");
        let p = unsafe { alloc_zeroed(memory) };
        if p.is_null() {
            handle_alloc_error(memory);
        }
        Scratch { p, memory }
    }

    pub fn as_ptr<T>(&self) -> *mut T {
        self.p.cast()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        unsafe { dealloc(self.p, self.memory) }
    }
}

/// How the operands of a layout become blocks, and the memory for copies of those whose elements do
/// not lie side by side: strided ones, and ones that are broadcast along the inner axis.
pub struct Staging {
    copied: PerOperand<bool>,
    item: PerOperand<usize>,
    role: PerOperand<Role>,
    planes: Axis,
    rows: Axis,
    inner: Axis,
    /// Where the copies start, operand by operand.
    start: PerOperand<usize>,
    memory: Option<Scratch>,
}

impl Staging {
    /// For blocks of at most `max_rows` rows of `max_len`.
    pub fn new(
        [planes, rows, inner]: [Axis; 3],
        item: PerOperand<usize>,
        role: PerOperand<Role>,
        present: PerOperand<bool>,
        (max_rows, max_len): (usize, usize),
    ) -> Staging {
        let copied = std::array::from_fn(|j| {
            present[j] && inner.strides[j] != item[j] as isize && max_len > 1
        });
        let mut start = [0; MAX_OPERANDS];
        let mut bytes = 0;
        for j in (0..MAX_OPERANDS).filter(|&j| copied[j]) {
            start[j] = bytes;
            bytes += (max_rows * max_len * item[j]).next_multiple_of(64);
        }
        let memory = (bytes > 0).then(|| Scratch::zeroed(bytes));
        Staging { copied, item, role, planes, rows, inner, start, memory }
    }

    /// The block at `base` (every operand's address of its first element), its copies made.
    pub unsafe fn open(&self, base: &PerOperand<*mut u8>, rows: usize, len: usize) -> Block {
        let (plane, row) = (self.planes.strides, self.rows.strides);
        let mut block = Block { base: *base, plane, row, role: self.role };
        if let Some(memory) = &self.memory {
            for j in (0..MAX_OPERANDS).filter(|&j| self.copied[j]) {
                block.base[j] = memory.as_ptr::<u8>().add(self.start[j]);
                block.row[j] = (len * self.item[j]) as isize;
                self.copy_in(&block, j, base[j], rows, len);
            }
        }
        block
    }

    unsafe fn copy_in(&self, block: &Block, j: usize, from: *mut u8, rows: usize, len: usize) {
        let item = self.item[j];
        for row in 0..rows {
            let from = from.offset(row as isize * self.rows.strides[j]);
            let to = block.base[j].add(row * len * item);
            match self.role[j] {
                Role::Input => {
                    copy_strided(to, item as isize, from, self.inner.strides[j], item, len)
                }
                Role::Accumulate => to.write_bytes(0, len * item),
                Role::Store => {}
            }
        }
    }

    /// Bring the copied outputs of a block back to where they belong.
    pub unsafe fn close<A: Float>(
        &self,
        block: &Block,
        base: &PerOperand<*mut u8>,
        rows: usize,
        len: usize,
    ) {
        for j in (0..MAX_OPERANDS).filter(|&j| self.copied[j] && self.role[j] != Role::Input) {
            let (item, stride) = (self.item[j], self.inner.strides[j]);
            for row in 0..rows {
                let from = block.base[j].offset(row as isize * block.row[j]);
                let to = base[j].offset(row as isize * self.rows.strides[j]);
                match self.role[j] {
                    Role::Store => copy_strided(to, stride, from, item as isize, item, len),
                    _ => add_strided::<A>(to, stride, from.cast(), len),
                }
            }
        }
    }
}

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
            let aligned = to as usize % align_of::<$type>() == 0;
            if from_step == 0 && to_step == size_of::<$type>() as isize && aligned {
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
    match item {
        1 => copy!(u8),
        2 => copy!(u16),
        4 => copy!(u32),
        _ => copy!(u64),
    }
}

unsafe fn add_strided<A: Float>(to: *mut u8, to_step: isize, from: *const A, count: usize) {
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
