//! How kernels are called: with or without the GIL, and with no panic that leaves Rust.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Below this many elements, giving the GIL away costs more than it brings.
const GIL_THRESHOLD: usize = 16 * 1024;

/// Whether other Python code runs during a call on so many elements.
pub fn releases_gil(elements: usize) -> bool {
    elements >= GIL_THRESHOLD
}

/// Run the kernels of a call, in the meantime giving the GIL away where that pays.
pub fn run(py: Python<'_>, elements: usize, kernels: impl FnOnce() + Send) {
    if releases_gil(elements) { py.detach(kernels) } else { kernels() }
}

/// A function of the module: should it panic, Python hears an error that it can catch.
pub fn guarded<T>(function: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    // A panic leaves no object of ours half changed that is used again.
    catch_unwind(AssertUnwindSafe(function)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(PyRuntimeError::new_err(format!("an error within ewa_rs, please report it: {text}")))
    })
}
