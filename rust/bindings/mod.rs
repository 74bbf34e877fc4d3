//! The Python module `ewa_rs._core`: checks arguments, looks at memory last, calls the kernels.
//!
//! Whatever Python code a call may run (conversions of arguments, allocation of results) runs before the
//! addresses are taken that the kernels get, or these are compared once more after it.
#![deny(unsafe_op_in_unsafe_fn, clippy::missing_safety_doc, clippy::undocumented_unsafe_blocks)]

mod arguments;
mod array;
mod array_inputs;
mod attention;
mod bandwidth;
mod definition;
mod dlpack;
mod pooling;
mod run;
mod settings;
mod tensor;
mod torch;
mod view;

use pyo3::prelude::*;

#[pymodule]
mod _core {
    use crate::bindings::definition::table;
    use crate::threads;
    use pyo3::exceptions::PyValueError;
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::bindings::attention::eager_call::EagerCall;
    #[pymodule_export]
    use crate::bindings::attention::functions::{
        elementwise_attention, elementwise_attention_backward, elementwise_attention_eager,
        elementwise_attention_forward,
    };
    #[pymodule_export]
    use crate::bindings::attention::functions::{
        elementwise_self_attention, elementwise_self_attention_backward,
        elementwise_self_attention_eager, elementwise_self_attention_forward,
    };
    #[pymodule_export]
    use crate::bindings::bandwidth::stream_arrays;
    #[pymodule_export]
    use crate::bindings::definition::{Definition, Input, Output, Setting};
    #[pymodule_export]
    use crate::bindings::pooling::{
        elementwise_attention_pool2d, elementwise_attention_pool2d_backward,
        elementwise_attention_pool2d_forward,
    };
    #[pymodule_export]
    use crate::bindings::settings::{available_simd, get_num_threads, set_num_threads, simd_name};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        threads::check_environment().map_err(PyValueError::new_err)?;
        threads::watch_forks();
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("OPS", table(module.py())?)
    }
}
