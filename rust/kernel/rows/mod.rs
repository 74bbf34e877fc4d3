//! Slices that are a row each.

mod backward;
mod forward;

use super::*;
use crate::kernel::saved::Saved;
use crate::kernel::sums::{PART, Summation};

pub use backward::BackwardRows;
pub use forward::ForwardRows;
