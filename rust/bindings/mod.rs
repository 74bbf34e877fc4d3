//! The Python module `ewa_rs._core`: checks arguments, releases the GIL, calls the kernels.

mod arguments;
mod arrays;
mod bandwidth;
mod conversion;
mod dlpack;
mod eager;
mod eager_call;
mod pooling;
mod run;
mod settings;
mod statistics;
mod tensors;
mod torch;
mod view;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    use crate::threads;
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
    use super::settings::{available_simd, get_num_threads, set_num_threads, simd_name};
    #[pymodule_export]
    use super::tensors::{
        elementwise_attention_backward, elementwise_attention_forward,
        elementwise_self_attention_backward, elementwise_self_attention_forward,
    };

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
