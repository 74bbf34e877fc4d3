//! Element-wise attention.
