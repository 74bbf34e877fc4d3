//! Where an array lies in memory.

use super::dims::Dims;

/// An array taking part: where it lies, and its strides in bytes over the broadcast shape (zero
/// along the axes over which it is broadcast). An absent operand has a null pointer.
#[derive(Clone, Debug)]
pub struct Operand {
    pub data: *mut u8,
    pub item: usize,
    pub strides: Dims<isize>,
}

// SAFETY: it says where memory lies; who looks into that memory answers for it.
unsafe impl Send for Operand {}
// SAFETY: the same.
unsafe impl Sync for Operand {}

impl Operand {
    pub fn absent() -> Self {
        Operand { data: std::ptr::null_mut(), item: 1, strides: Dims::new() }
    }

    pub fn is_absent(&self) -> bool {
        self.data.is_null()
    }

    /// Whether several elements of the broadcast shape share one element of this operand.
    pub fn is_broadcast(&self, shape: &[usize]) -> bool {
        !self.is_absent() && shape.iter().zip(&self.strides).any(|(&n, &s)| n != 1 && s == 0)
    }
}
