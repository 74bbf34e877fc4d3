//! Element-wise attention: softmax(scale · q∘k [+ mask]) ∘ v over arrays of any shape and layout.

#![deny(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]

pub mod attention;
pub mod bandwidth;
pub mod definition;
pub mod ops;
pub mod pooling;
pub mod simd;
pub mod tensor;
pub mod threads;

#[cfg(feature = "python")]
mod bindings;
