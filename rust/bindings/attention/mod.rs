//! The ops of the family along slices, on arrays and on tensors.

mod arrays;
mod call;
pub mod eager;
pub mod functions;
mod registered;
mod tensors;
