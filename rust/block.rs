//! A block: two loops' worth of every operand, with unit or zero steps along the inner one.

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

/// Every operand's place for one block. Along the inner axis an operand goes in unit steps
/// (`step` has all bits set) or stays where it is (`step` is zero, and a register's width of copies
/// is there to be read).
pub struct Block {
    pub base: PerOperand<*mut u8>,
    pub row: PerOperand<isize>,
    pub step: PerOperand<usize>,
    pub role: PerOperand<Role>,
}

impl Block {
    /// One input along one row.
    #[inline(always)]
    pub unsafe fn source<T>(&self, operand: usize, row: usize) -> Source<T> {
        let p = self.base[operand].wrapping_offset(row as isize * self.row[operand]);
        Source { p: p.cast(), step: self.step[operand] }
    }

    /// One output along one row.
    #[inline(always)]
    pub unsafe fn sink(&self, operand: usize, row: usize) -> Sink {
        let p = self.base[operand].wrapping_offset(row as isize * self.row[operand]);
        let is_absent = self.base[operand].is_null();
        Sink { p, step: self.step[operand], role: self.role[operand], is_absent }
    }
}

#[derive(Clone, Copy)]
pub struct Source<T> {
    p: *const T,
    step: usize,
}

impl<T: Element> Source<T> {
    #[inline(always)]
    pub unsafe fn load<V: Register<T>, const FULL: bool>(&self, i: usize, n: usize) -> V {
        <V as Lanes<T>>::load_from::<FULL>(self.at(i), n)
    }
}

impl<T> Source<T> {
    #[inline(always)]
    pub fn at(&self, i: usize) -> *const T {
        self.p.wrapping_byte_add((i * size_of::<T>()) & self.step)
    }

    #[inline(always)]
    pub fn is_absent(&self) -> bool {
        self.p.is_null()
    }
}

#[derive(Clone, Copy)]
pub struct Sink {
    p: *mut u8,
    step: usize,
    role: Role,
    is_absent: bool,
}

impl Sink {
    #[inline(always)]
    pub unsafe fn put<T: Element, V: Register<T>, const FULL: bool>(
        &self,
        value: V,
        i: usize,
        n: usize,
    ) {
        if self.is_absent {
            return;
        }
        if self.role == Role::Accumulate {
            let p = self.p.wrapping_add((i * size_of::<T::Acc>()) & self.step).cast::<T::Acc>();
            let sum = <V as Lanes<T::Acc>>::load_from::<FULL>(p, n).add(value);
            <V as Lanes<T::Acc>>::store_to::<FULL>(sum, p, n);
        } else {
            let p = self.p.wrapping_add((i * size_of::<T>()) & self.step).cast::<T>();
            <V as Lanes<T>>::store_to::<FULL>(value, p, n);
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

/// The widest register's lanes: how many copies stand for an operand that stays where it is.
const WIDEST: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Used where it lies.
    Direct,
    /// Copied into unit steps, or back out of them.
    Copied,
    /// One value a row, as a register's width of copies.
    Repeated,
}

/// How the operands of a layout become blocks, and the memory for those that must be copied.
pub struct Staging {
    place: PerOperand<Place>,
    item: PerOperand<usize>,
    role: PerOperand<Role>,
    rows: Axis,
    inner: Axis,
    /// Start of each copied operand's memory.
    start: PerOperand<usize>,
    memory: Option<Scratch>,
}

impl Staging {
    /// For blocks of at most `max_rows` rows of `max_len`.
    pub fn new(
        rows: Axis,
        inner: Axis,
        item: PerOperand<usize>,
        role: PerOperand<Role>,
        present: PerOperand<bool>,
        (max_rows, max_len): (usize, usize),
    ) -> Staging {
        let mut place = [Place::Direct; MAX_OPERANDS];
        let mut start = [0; MAX_OPERANDS];
        let mut bytes = 0;
        for j in (0..MAX_OPERANDS).filter(|&j| present[j]) {
            place[j] = match inner.strides[j] {
                s if s == item[j] as isize => Place::Direct,
                0 => Place::Repeated,
                _ => Place::Copied,
            };
            start[j] = bytes;
            bytes += match place[j] {
                Place::Direct => 0,
                Place::Repeated => max_rows * WIDEST * item[j],
                Place::Copied => (max_rows * max_len * item[j]).next_multiple_of(64),
            };
        }
        let memory = (bytes > 0).then(|| Scratch::zeroed(bytes));
        Staging { place, item, role, rows, inner, start, memory }
    }

    /// How many bytes of copies one row takes.
    pub fn is_direct(&self) -> bool {
        self.memory.is_none()
    }

    /// The block at `base` (every operand's address of its first element), its copies made.
    pub unsafe fn open(&self, base: &PerOperand<*mut u8>, rows: usize, len: usize) -> Block {
        let mut block =
            Block { base: *base, row: self.rows.strides, step: [usize::MAX; MAX_OPERANDS], role: self.role };
        if let Some(memory) = &self.memory {
            for j in 0..MAX_OPERANDS {
                if self.place[j] != Place::Direct && !base[j].is_null() {
                    block.base[j] = memory.as_ptr::<u8>().add(self.start[j]);
                    self.copy_in(&mut block, j, base[j], rows, len);
                }
            }
        }
        block
    }

    unsafe fn copy_in(&self, block: &mut Block, j: usize, from: *mut u8, rows: usize, len: usize) {
        let item = self.item[j];
        let (pitch, count) = match self.place[j] {
            Place::Repeated => (WIDEST, WIDEST),
            _ => (len, len),
        };
        block.row[j] = (pitch * item) as isize;
        if self.place[j] == Place::Repeated {
            block.step[j] = 0;
        }
        for row in 0..rows {
            let from = from.offset(row as isize * self.rows.strides[j]);
            let to = block.base[j].add(row * pitch * item);
            match self.role[j] {
                Role::Input => copy_strided(to, item as isize, from, self.inner.strides[j], item, count),
                Role::Accumulate => to.write_bytes(0, count * item),
                Role::Store => {}
            }
        }
    }

    /// Bring the copied outputs of a block back to where they belong.
    pub unsafe fn close<A: Float>(&self, block: &Block, base: &PerOperand<*mut u8>, rows: usize, len: usize) {
        if self.memory.is_none() {
            return;
        }
        for j in 0..MAX_OPERANDS {
            if self.place[j] == Place::Direct || base[j].is_null() || self.role[j] == Role::Input {
                continue;
            }
            let (item, stride) = (self.item[j], self.inner.strides[j]);
            for row in 0..rows {
                let from = block.base[j].offset(row as isize * block.row[j]);
                let to = base[j].offset(row as isize * self.rows.strides[j]);
                match (self.role[j], self.place[j]) {
                    (Role::Store, Place::Repeated) => copy_strided(to, 0, from, 0, item, 1),
                    (Role::Store, _) => copy_strided(to, stride, from, item as isize, item, len),
                    (_, Place::Repeated) => add_strided::<A>(to, 0, from, WIDEST),
                    (_, _) => add_strided::<A>(to, stride, from, len),
                }
            }
        }
    }
}

unsafe fn copy_strided(to: *mut u8, to_step: isize, from: *const u8, from_step: isize, item: usize, count: usize) {
    macro_rules! copy {
        ($type:ty) => {
            for i in 0..count as isize {
                let value = from.offset(i * from_step).cast::<$type>().read_unaligned();
                to.offset(i * to_step).cast::<$type>().write_unaligned(value);
            }
        };
    }
    match item {
        1 => copy!(u8),
        2 => copy!(u16),
        4 => copy!(u32),
        _ => copy!(u64),
    }
}

unsafe fn add_strided<A: Float>(to: *mut u8, to_step: isize, from: *const u8, count: usize) {
    for i in 0..count {
        let to = to.offset(i as isize * to_step).cast::<A>();
        *to = *to + *from.cast::<A>().add(i);
    }
}
