//! Threads and instruction sets.

use super::run::guarded;
use crate::simd::Simd;
use crate::threads;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBool;

/// The instruction set in use.
pub fn simd() -> PyResult<Simd> {
    Simd::current().map_err(PyValueError::new_err)
}

/// Use `n` threads from now on.
#[pyfunction]
pub fn set_num_threads(n: &Bound<'_, PyAny>) -> PyResult<()> {
    let count: Option<i64> = if n.is_instance_of::<PyBool>() { None } else { n.extract().ok() };
    match count {
        None => {
            let found = n.get_type();
            Err(PyTypeError::new_err(format!("n: expected an int, got {}", found.name()?)))
        }
        Some(count @ 1..=4096) => guarded(|| {
            threads::set_num_threads(count as usize);
            Ok(())
        }),
        Some(count) => {
            Err(PyValueError::new_err(format!("n: expected 1 to 4096 threads, got {count}")))
        }
    }
}

/// The number of threads in use.
#[pyfunction]
pub fn get_num_threads() -> usize {
    threads::num_threads()
}

/// The name of the instruction set in use.
#[pyfunction(name = "simd")]
pub fn simd_name() -> PyResult<&'static str> {
    Ok(simd()?.name())
}

/// The names of the instruction sets that this processor can run, fastest first.
#[pyfunction]
pub fn available_simd() -> Vec<&'static str> {
    Simd::available().map(Simd::name).collect()
}
