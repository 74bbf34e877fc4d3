//! Element-wise attention: softmax(scale · q∘k [+ mask]) ∘ v over arrays of any shape and layout.

pub mod accumulate;
pub mod attend;
pub mod block;
pub mod dims;
pub mod dispatch;
pub mod kernel;
pub mod layout;
pub mod mask;
mod memory;
pub mod numerics;
pub mod ops;
pub mod parallel;
pub mod plain;
pub mod pool;
pub mod simd;
pub mod staging;
pub mod stream;
mod workers;

#[cfg(feature = "python")]
mod bindings;
