//! Slices that are a column each: lanes go across slices, several registers of them side by side.
//!
//! A register of each row alone would read memory in strides; several of them read it in order, as far
//! as it goes.

mod backward;
mod forward;
mod pass;

pub use backward::BackwardColumns;
pub use forward::ForwardColumns;
