//! A block: two loops' worth of every operand, in unit steps along the inner one.

use crate::attention::layout::PerOperand;
use crate::attention::row::{GradSink, Output, SinkKind, Source};

/// What happens to a value that a kernel gives for an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Input,
    Store,
    /// Added to a buffer of the computed type: the gradient of a broadcast operand.
    Accumulate,
}

/// Every operand's place for one block.
///
/// Only addresses are computed here. Whoever loads or stores by them answers for it: that the operand is
/// there, and that the block has been made for memory that has the row and the elements.
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

    /// Whether a gradient is there and of this kind.
    pub fn is_sink(&self, operand: usize, kind: SinkKind) -> bool {
        let role = if kind == SinkKind::Accumulates { Role::Accumulate } else { Role::Store };
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
