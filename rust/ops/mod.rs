//! One file an op.

pub mod elementwise_attention;
pub mod elementwise_attention_pool2d;
pub mod elementwise_self_attention;
