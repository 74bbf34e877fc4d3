//! From shapes and strides to loops: which axis runs innermost, and across what the lanes go.
//!
//! The axes of a call are sorted by how far apart the output's elements lie, split into the batch axes
//! and the softmax axes, and coalesced where all operands allow it. What remains is a nest
//!
//! ```text
//! for outer in …                  batch axes                          a unit of work
//!     for extra in …              softmax axes beyond two             (rarely more than one)
//!         for plane in 0..planes  batch axis, of rows that are slices
//!           for row in 0..rows    batch or softmax axis               a block
//!             for i in 0..inner   the axis along which memory is contiguous
//! ```
//!
//! whose two innermost loops are a [`crate::attention::block::Block`].

use crate::tensor::dims::Dims;
use crate::tensor::index::unravel;
use crate::tensor::operand::Operand;

/// The most operands that a kernel has: inputs, outputs, statistics and gradients.
pub const MAX_OPERANDS: usize = 20;

/// One value an operand.
pub type PerOperand<T> = [T; MAX_OPERANDS];

#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub size: usize,
    pub strides: PerOperand<isize>,
}

impl Axis {
    const UNIT: Axis = Axis { size: 1, strides: [0; MAX_OPERANDS] };

    /// Whether `self`, followed by `inner`, is one longer axis for every operand.
    fn coalesces_with(&self, inner: &Axis) -> bool {
        let size = inner.size as isize;
        self.strides.iter().zip(&inner.strides).all(|(&outer, &inner)| outer == inner * size)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Each row is a slice of its own.
    Inner,
    /// All rows of a unit together are one slice.
    InnerMulti,
    /// Each position along the inner axis is a slice: lanes go across slices.
    Outer,
}

#[derive(Debug)]
pub struct Layout {
    pub form: Form,
    pub outer: Vec<Axis>,
    pub extra: Vec<Axis>,
    /// Of rows that are slices: a batch axis around that of the rows.
    pub planes: Axis,
    pub rows: Axis,
    pub inner: Axis,
}

impl Layout {
    /// `primary` is the operand whose memory decides the order: the output.
    pub fn new(shape: &[usize], softmax: &[bool], operands: &[Operand], primary: usize) -> Layout {
        let stride = |operand: &Operand, d: usize| operand.strides.get(d).copied().unwrap_or(0);
        let mut order: Dims<usize> = (0..shape.len()).filter(|&d| shape[d] != 1).collect();
        order.sort_by_key(|&d| std::cmp::Reverse(stride(&operands[primary], d).unsigned_abs()));
        let axis = |&d: &usize| {
            let mut axis = Axis { size: shape[d], ..Axis::UNIT };
            axis.strides
                .iter_mut()
                .zip(operands)
                .for_each(|(to, operand)| *to = stride(operand, d));
            axis
        };
        let mut batch = coalesced(order.iter().filter(|&&d| !softmax[d]).map(axis));
        let mut softmax = coalesced(order.iter().filter(|&&d| softmax[d]).map(axis));

        let distance = |axis: &Axis| axis.strides[primary].unsigned_abs();
        let outer_form = match (batch.last(), softmax.last()) {
            (Some(b), Some(s)) => distance(b) < distance(s),
            (Some(_), None) => true,
            (None, _) => false,
        };
        let (form, inner, rows) = if outer_form {
            (Form::Outer, batch.pop(), softmax.pop())
        } else {
            let inner = softmax.pop();
            match softmax.pop() {
                Some(rows) => (Form::InnerMulti, inner, Some(rows)),
                None => (Form::Inner, inner, batch.pop()),
            }
        };
        let planes = if form == Form::Inner { batch.pop() } else { None };
        Layout {
            form,
            planes: planes.unwrap_or(Axis::UNIT),
            outer: batch,
            extra: softmax,
            rows: rows.unwrap_or(Axis::UNIT),
            inner: inner.unwrap_or(Axis::UNIT),
        }
    }

    /// The same with each slice a unit of its own, as slices too long for the cache are treated.
    pub fn with_single_slices(mut self) -> Layout {
        if self.form == Form::Inner {
            self.outer.push(std::mem::replace(&mut self.planes, Axis::UNIT));
            self.outer.push(std::mem::replace(&mut self.rows, Axis::UNIT));
            self.form = Form::InnerMulti;
        }
        self
    }
}

fn coalesced(axes: impl Iterator<Item = Axis>) -> Vec<Axis> {
    let mut result: Vec<Axis> = Vec::new();
    for axis in axes {
        match result.last_mut() {
            Some(last) if last.coalesces_with(&axis) => {
                *last = Axis { size: last.size * axis.size, strides: axis.strides };
            }
            _ => result.push(axis),
        }
    }
    result
}

/// The number of index combinations of some axes.
pub fn count(axes: &[Axis]) -> usize {
    axes.iter().map(|axis| axis.size).product()
}

/// The byte offset of every operand at the `number`-th combination, the last axis fastest.
pub fn offsets(axes: &[Axis], number: usize) -> PerOperand<isize> {
    let mut result = [0; MAX_OPERANDS];
    for (axis, i) in axes.iter().rev().zip(unravel(number, axes.iter().rev().map(|a| a.size))) {
        for (offset, stride) in result.iter_mut().zip(&axis.strides) {
            *offset += i * stride;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(shape: &[usize], strides: &[isize], softmax: &[usize]) -> Layout {
        let operand = Operand {
            data: std::ptr::dangling_mut(),
            item: 4,
            strides: strides.iter().map(|s| s * 4).collect(),
        };
        let flags: Vec<bool> = (0..shape.len()).map(|d| softmax.contains(&d)).collect();
        Layout::new(shape, &flags, &[operand], 0)
    }

    #[test]
    fn contiguous_batch_axes_merge_into_rows() {
        let l = layout(&[2, 3, 5], &[15, 5, 1], &[2]);
        assert_eq!((l.form, l.rows.size, l.inner.size), (Form::Inner, 6, 5));
        assert!(l.outer.is_empty() && l.extra.is_empty());
    }

    #[test]
    fn a_channel_axis_runs_lanewise() {
        let l = layout(&[2, 3, 5, 7], &[105, 35, 7, 1], &[1]);
        assert_eq!((l.form, l.rows.size, l.inner.size), (Form::Outer, 3, 35));
        assert_eq!(count(&l.outer), 2);
    }

    #[test]
    fn channels_last_positions_run_lanewise() {
        let l = layout(&[2, 3, 5, 7], &[105, 1, 21, 3], &[2, 3]);
        assert_eq!((l.form, l.rows.size, l.inner.size), (Form::Outer, 35, 3));
    }

    #[test]
    fn separate_softmax_axes_make_blocks() {
        let l = layout(&[2, 3, 5], &[15, 5, 1], &[0, 2]);
        assert_eq!((l.form, l.rows.size, l.inner.size), (Form::InnerMulti, 2, 5));
        assert_eq!(count(&l.outer), 3);
    }
}
