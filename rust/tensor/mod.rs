//! What is known of an array: its element type, its axes, and where its memory lies.

pub mod definition;
pub mod dims;
pub mod dtype;
pub mod memory;
pub mod operand;
