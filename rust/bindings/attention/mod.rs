//! The ops of the family along slices, on arrays and on tensors.

mod arrays;
mod call;
mod eager;
pub mod eager_call;
pub mod functions;
mod registered;
mod tensors;
