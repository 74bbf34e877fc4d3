//! The arithmetic of softmax(z) ∘ v over blocks, forward and backward, whatever z and v are made of.
//!
//! Each [`Task`] here is compiled once for every instruction set, op and element type; what calls them
//! (`attend`) is not.

#[macro_use]
mod macros;

pub mod blocks;
pub mod columns;
mod fitting;
pub mod pieces;
pub mod rows;
pub mod saved;
pub mod short;
pub mod stats;
pub mod work;

pub use crate::simd::sums;
