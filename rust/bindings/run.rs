//! How the functions of the module run what they have checked.

use crate::simd::Simd;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::panic::{self, AssertUnwindSafe};

/// Below this many elements, giving the GIL away costs more than it brings.
const GIL_THRESHOLD: usize = 16 * 1024;

/// Do work on so many elements, in the meantime giving the GIL away where that pays.
pub fn run_kernel(py: Python<'_>, elements: usize, work: impl FnOnce() + Send) {
    if releases_gil(elements) { py.detach(work) } else { work() }
}

pub fn releases_gil(elements: usize) -> bool {
    elements >= GIL_THRESHOLD
}

/// Do what a function of the module does; should it panic, Python gets an error as from anything else.
pub fn guarded<T>(work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    result.unwrap_or_else(|_| Err(PyRuntimeError::new_err("internal error of ewa_rs: see stderr")))
}

/// The instruction set in use.
pub fn simd() -> PyResult<Simd> {
    Simd::current().map_err(PyValueError::new_err)
}
