//! Where the memory of an array or a tensor lies.

use crate::tensor::dims::Dims;
use crate::tensor::dtype::DType;
use crate::tensor::operand::Operand;

#[derive(Clone, PartialEq)]
pub struct View {
    pub data: *mut u8,
    /// `None`: a type that no kernel takes.
    pub dtype: Option<DType>,
    pub shape: Dims<usize>,
    /// In bytes.
    pub strides: Dims<isize>,
}

impl AsRef<View> for View {
    fn as_ref(&self) -> &View {
        self
    }
}

impl View {
    /// Memory in C's order.
    pub fn contiguous(data: *mut u8, shape: &[usize], dtype: DType) -> View {
        let mut strides = Dims::of_default(shape.len());
        let mut step = dtype.item() as isize;
        for (stride, &size) in strides.iter_mut().zip(shape).rev() {
            *stride = step;
            step *= size as isize;
        }
        View { data, dtype: Some(dtype), shape: shape.into(), strides }
    }

    /// As an operand of a call over `shape`, to which it broadcasts.
    pub fn operand(&self, shape: &[usize]) -> Operand {
        let mut strides = Dims::of_default(shape.len());
        let missing = shape.len() - self.shape.len();
        for (d, (&size, &stride)) in self.shape.iter().zip(&self.strides).enumerate() {
            if size != 1 {
                // torch may give an empty axis a stride of zero, which here means that it is broadcast.
                strides[missing + d] = if size == 0 { 1 } else { stride };
            }
        }
        // An empty array may have no memory, but it is there.
        let data = if self.data.is_null() { std::ptr::dangling_mut() } else { self.data };
        Operand { data, item: self.dtype.map_or(1, DType::item), strides }
    }

    /// The two parts of an array whose first axis is two long.
    pub fn halves(&self) -> (View, View) {
        let step = self.strides.first().copied().unwrap_or(0);
        let part = |offset: isize| View {
            data: self.data.wrapping_offset(offset),
            dtype: self.dtype,
            shape: self.shape[1..].into(),
            strides: self.strides[1..].into(),
        };
        (part(0), part(step))
    }

    /// The addresses from the first byte to behind the last.
    pub fn extent(&self) -> (usize, usize) {
        let (mut low, mut high) = (self.data as isize, self.data as isize);
        if self.shape.contains(&0) {
            return (low as usize, low as usize);
        }
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            let reach = (size as isize - 1) * stride;
            if reach < 0 { low += reach } else { high += reach }
        }
        (low as usize, high as usize + self.dtype.map_or(1, DType::item))
    }

    /// Whether there may be bytes that belong to both.
    pub fn overlaps(&self, other: &View) -> bool {
        let ((a, b), (c, d)) = (self.extent(), other.extent());
        a < d && c < b
    }

    /// Whether elements may share memory, as in what is broadcast, or in windows that overlap.
    pub fn repeats(&self) -> bool {
        let axes = self.strides.iter().zip(&self.shape).filter(|&(_, &n)| n != 1);
        let mut steps: Dims<(usize, usize)> =
            axes.map(|(stride, &n)| (stride.unsigned_abs(), n)).collect();
        steps.sort_unstable();
        // Each step has to lead past all that the smaller ones reach.
        let mut reach = self.dtype.map_or(1, DType::item);
        let mut falls_short = |&(step, n): &(usize, usize)| {
            let short = step < reach;
            reach = step.saturating_mul(n);
            short
        };
        !self.shape.contains(&0) && steps.iter().any(&mut falls_short)
    }

    pub fn is_same_memory(&self, other: &View) -> bool {
        self.data == other.data && self.shape == other.shape && self.strides == other.strides
    }
}
