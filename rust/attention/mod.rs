//! softmax(z) ∘ v along slices: what the ops have in common, and the ops.

pub mod block;
pub mod call;
pub mod dispatch;
mod kernel;
pub mod layout;
mod mask;
pub mod op;
pub mod ops;
mod row;
pub mod schedule;
