//! One file an op.

#![deny(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]

pub mod elementwise_attention;
pub mod elementwise_self_attention;
