//! Pooling by attention: y = Σ softmax(w·x)·x over the windows of images, forward and backward.
//!
//! One register holds one element of each of several windows: of several channels where images have
//! their channels last (`direct`), otherwise of what has been moved into columns before (`columns`).

mod call;
mod columns;
mod copy;
mod direct;
pub mod elementwise_attention_pool2d;
mod im2col;
mod plan;
mod run;
mod sizes;
mod window;

pub use call::{ImageView, PoolingCall};
pub use sizes::Pool;
