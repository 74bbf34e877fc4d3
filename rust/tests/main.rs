//! Every instruction set of this machine against a reference in f64 that knows its rounding errors, over
//! element types, memory layouts, masks, biases, long and short slices, and numbers of threads.

mod accumulators;
mod array;
mod case;
mod edges;
mod forms;
mod guarded;
mod in_place;
mod large;
mod pooling;
mod pooling_case;
mod pooling_memory;
mod pooling_range;
mod pooling_reference;
mod pooling_sums;
mod reference;
mod running_error;
mod threads;
