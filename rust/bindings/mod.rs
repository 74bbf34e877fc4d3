//! The Python module `ewa_rs._core`: checks arguments, releases the GIL, calls the kernels.

mod arguments;
mod arrays;
mod bandwidth;
mod definition;
mod dlpack;
mod eager;
mod pooling;
mod tensors;
mod torch;
mod view;

use crate::attention::dispatch::DynamicCall;
use crate::simd::Simd;
use crate::tensor::dtype::Direction;
use crate::threads;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBool;

/// Below this many elements, giving the GIL away costs more than it brings.
const GIL_THRESHOLD: usize = 16 * 1024;

/// Run a call, in the meantime giving the GIL away where that pays.
fn run(py: Python<'_>, call: &DynamicCall, direction: Direction, simd: Simd) {
    if call.call.shape.iter().product::<usize>() < GIL_THRESHOLD {
        call.run(direction, simd);
    } else {
        py.detach(|| call.run(direction, simd));
    }
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
#[pyo3(name = "_core")]
fn core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    threads::check_environment().map_err(PyValueError::new_err)?;
    threads::watch_forks();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("OPS", definition::table(module.py())?)?;
    module.add_class::<definition::Definition>()?;
    module.add_class::<definition::Input>()?;
    module.add_class::<definition::Setting>()?;
    module.add_class::<definition::Output>()?;
    module.add_function(wrap_pyfunction!(set_num_threads, module)?)?;
    module.add_function(wrap_pyfunction!(get_num_threads, module)?)?;
    module.add_function(wrap_pyfunction!(simd_name, module)?)?;
    module.add_function(wrap_pyfunction!(available_simd, module)?)?;
    module.add_function(wrap_pyfunction!(bandwidth::stream_arrays, module)?)?;
    module.add_function(wrap_pyfunction!(arrays::elementwise_attention, module)?)?;
    module.add_function(wrap_pyfunction!(arrays::elementwise_self_attention, module)?)?;
    module.add_function(wrap_pyfunction!(tensors::elementwise_attention_forward, module)?)?;
    module.add_function(wrap_pyfunction!(tensors::elementwise_attention_backward, module)?)?;
    module.add_function(wrap_pyfunction!(tensors::elementwise_self_attention_forward, module)?)?;
    module.add_function(wrap_pyfunction!(tensors::elementwise_self_attention_backward, module)?)?;
    module.add_class::<eager::EagerCall>()?;
    module.add_function(wrap_pyfunction!(eager::elementwise_attention_eager, module)?)?;
    module.add_function(wrap_pyfunction!(eager::elementwise_self_attention_eager, module)?)?;
    module.add_function(wrap_pyfunction!(pooling::elementwise_attention_pool2d, module)?)?;
    module
        .add_function(wrap_pyfunction!(pooling::elementwise_attention_pool2d_forward, module)?)?;
    module
        .add_function(wrap_pyfunction!(pooling::elementwise_attention_pool2d_backward, module)?)?;
    Ok(())
}
