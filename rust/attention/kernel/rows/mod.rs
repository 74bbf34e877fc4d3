//! Slices that are a row each.

mod backward;
mod forward;

pub use backward::BackwardRows;
pub use forward::ForwardRows;
