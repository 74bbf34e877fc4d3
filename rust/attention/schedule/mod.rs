//! Forward and backward of an op over whole arrays: the work cut into units, each done in cache.
//!
//! A slice whose scores fit in the cache is read once. A longer one is cut into pieces and read twice:
//! once for the maximum and sum of every piece, once for the result. How the work is cut depends on
//! the shapes alone, never on the number of threads, so neither do the bits of the result.

pub mod accumulate;
mod groups;
mod operands;
mod partials;
mod pass;
mod pieces;
mod places;
mod plan;
mod run;
mod staging;
mod unit;
mod whole;
mod workspace;

pub use run::run;
