//! One file an op.

pub mod elementwise_attention;
pub mod elementwise_self_attention;
