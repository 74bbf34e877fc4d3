//! Element-wise attention: softmax(scale · q∘k [+ mask]) ∘ v over arrays of any shape and layout.

pub mod attention;
pub mod bandwidth;
pub mod ops;
pub mod pooling;
pub mod simd;
pub mod tensor;
pub mod threads;

#[cfg(feature = "python")]
mod bindings;
