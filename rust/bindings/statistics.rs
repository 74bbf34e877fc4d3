//! What the forward of an eager call keeps for its backward.

use crate::tensor::dims::Dims;
use crate::tensor::dtype::DType;
use crate::tensor::operand::Operand;

/// The maxima of all slices and then the inverses, in the type computed in.
pub struct Statistics {
    numbers: Vec<u64>,
    /// The bytes of either.
    half: usize,
    item: usize,
    strides: Dims<isize>,
}

impl Statistics {
    pub fn new(shape: &[usize], softmax: &[bool], dtype: DType) -> Self {
        let item = dtype.computed().item();
        let mut strides = Dims::of_default(shape.len());
        let mut half = item;
        for d in (0..shape.len()).rev().filter(|&d| !softmax[d] && shape[d] != 1) {
            strides[d] = half as isize;
            half *= shape[d];
        }
        Statistics { numbers: vec![0; (2 * half).div_ceil(size_of::<u64>())], half, item, strides }
    }

    /// To read from.
    pub fn operands(&self) -> [Operand; 2] {
        self.operands_at(self.numbers.as_ptr().cast_mut().cast())
    }

    /// To write to.
    pub fn operands_mut(&mut self) -> [Operand; 2] {
        let data = self.numbers.as_mut_ptr().cast();
        self.operands_at(data)
    }

    fn operands_at(&self, data: *mut u8) -> [Operand; 2] {
        [0, self.half].map(|offset| Operand {
            data: data.wrapping_add(offset),
            item: self.item,
            strides: self.strides.clone(),
        })
    }

    /// # Safety
    /// There is memory for two numbers a slice.
    pub unsafe fn copy_to(&self, to: *mut u8) {
        // SAFETY: so many bytes are here, and by the caller's word there.
        unsafe { std::ptr::copy_nonoverlapping(self.numbers.as_ptr().cast(), to, 2 * self.half) };
    }
}
