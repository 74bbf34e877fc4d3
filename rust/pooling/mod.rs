//! Pooling by attention: y = Σ softmax(w·x)·x over the windows of images, forward and backward.
//!
//! One register holds one element of each of several windows: of several channels where images have
//! their channels last (`direct`), otherwise of what has been moved into columns before (`columns`).

#![deny(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]

mod band;
mod call;
mod column_window;
mod columns;
mod copy;
mod direct;
mod direct_window;
pub mod elementwise_attention_pool2d;
mod im2col;
mod pairs;
mod plan;
mod repair;
mod run;
mod running;
mod sizes;
mod sums;
mod wide;
mod window;

pub use call::{ImageView, PoolingCall};
pub use sizes::Pool;
