//! The Python module `ewa_rs._core`: checks arguments, releases the GIL, calls the kernels.

#![deny(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]

mod arguments;
mod arrays;
mod bandwidth;
mod conversion;
mod dlpack;
mod eager;
mod eager_call;
mod pooling;
mod statistics;
mod tensors;
mod torch;
mod view;

use crate::simd::Simd;
use crate::threads;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBool;
use std::panic::{self, AssertUnwindSafe};

/// Below this many elements, giving the GIL away costs more than it brings.
const GIL_THRESHOLD: usize = 16 * 1024;

/// Do work on so many elements, in the meantime giving the GIL away where that pays.
fn run(py: Python<'_>, elements: usize, work: impl FnOnce() + Send) {
    if releases_gil(elements) { py.detach(work) } else { work() }
}

fn releases_gil(elements: usize) -> bool {
    elements >= GIL_THRESHOLD
}

/// Do what a function of the module does; should it panic, Python gets an error as from anything else.
fn guarded<T>(work: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    result.unwrap_or_else(|_| Err(PyRuntimeError::new_err("internal error of ewa_rs: see stderr")))
}

/// The instruction set in use.
fn simd() -> PyResult<Simd> {
    Simd::current().map_err(PyValueError::new_err)
}

/// Use `n` threads from now on.
#[pyfunction]
fn set_num_threads(n: &Bound<'_, PyAny>) -> PyResult<()> {
    let count: Option<i64> = if n.is_instance_of::<PyBool>() { None } else { n.extract().ok() };
    match count {
        None => {
            let found = n.get_type();
            Err(PyTypeError::new_err(format!("n: expected an int, got {}", found.name()?)))
        }
        Some(count @ 1..=4096) => {
            threads::set_num_threads(count as usize);
            Ok(())
        }
        Some(count) => {
            Err(PyValueError::new_err(format!("n: expected 1 to 4096 threads, got {count}")))
        }
    }
}

/// The number of threads in use.
#[pyfunction]
fn get_num_threads() -> usize {
    threads::num_threads()
}

/// The name of the instruction set in use.
#[pyfunction(name = "simd")]
fn simd_name() -> PyResult<&'static str> {
    Ok(simd()?.name())
}

/// The names of the instruction sets that this processor can run, fastest first.
#[pyfunction]
fn available_simd() -> Vec<&'static str> {
    Simd::available().map(Simd::name).collect()
}

#[pymodule]
mod _core {
    use super::threads;
    use pyo3::exceptions::PyValueError;
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::arrays::{elementwise_attention, elementwise_self_attention};
    #[pymodule_export]
    use super::bandwidth::stream_arrays;
    #[pymodule_export]
    use super::eager::{elementwise_attention_eager, elementwise_self_attention_eager};
    #[pymodule_export]
    use super::eager_call::EagerCall;
    #[pymodule_export]
    use super::pooling::{
        elementwise_attention_pool2d, elementwise_attention_pool2d_backward,
        elementwise_attention_pool2d_forward,
    };
    #[pymodule_export]
    use super::tensors::{
        elementwise_attention_backward, elementwise_attention_forward,
        elementwise_self_attention_backward, elementwise_self_attention_forward,
    };
    #[pymodule_export]
    use super::{available_simd, get_num_threads, set_num_threads, simd_name};

    #[pymodule_export]
    #[allow(non_upper_case_globals)] // Python's name
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_init]
    fn init(_module: &Bound<'_, PyModule>) -> PyResult<()> {
        threads::check_environment().map_err(PyValueError::new_err)?;
        threads::watch_forks();
        Ok(())
    }
}
