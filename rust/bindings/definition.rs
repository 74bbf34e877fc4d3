//! The table of ops as Python reads it.

use crate::definition::{self, InputKind, Value};
use crate::ops::OPS;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

type Object<'py> = Bound<'py, PyAny>;

/// The definitions of all ops.
pub fn table(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    PyTuple::new(py, OPS.iter().map(|&op| Definition(op)))
}

#[pyclass(frozen, module = "ewa_rs._core")]
pub struct Definition(&'static definition::Definition);

#[pymethods]
impl Definition {
    #[getter]
    fn name(&self) -> &'static str {
        self.0.name
    }

    #[getter]
    fn inputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.inputs.iter().map(Input))
    }

    #[getter]
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.settings.iter().map(Setting))
    }

    #[getter]
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.outputs.iter().map(Output))
    }

    #[getter]
    fn eager(&self) -> bool {
        self.0.eager
    }
}

#[pyclass(frozen, module = "ewa_rs._core")]
pub struct Input(&'static definition::Input);

#[pymethods]
impl Input {
    #[getter]
    fn name(&self) -> &'static str {
        self.0.name
    }

    #[getter]
    fn optional(&self) -> bool {
        self.0.optional
    }

    #[getter]
    fn is_mask(&self) -> bool {
        self.0.kind == InputKind::Mask
    }

    #[getter]
    fn differentiable(&self) -> bool {
        self.0.differentiable
    }
}

#[pyclass(frozen, module = "ewa_rs._core")]
pub struct Setting(&'static definition::Setting);

#[pymethods]
impl Setting {
    #[getter]
    fn name(&self) -> &'static str {
        self.0.name
    }

    #[getter]
    fn schema(&self) -> &'static str {
        self.0.schema
    }

    #[getter]
    fn default<'py>(&self, py: Python<'py>) -> PyResult<Object<'py>> {
        Ok(match self.0.default {
            Value::None => py.None().into_bound(py),
            Value::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
            Value::Ints(values) => PyTuple::new(py, values)?.into_any(),
        })
    }
}

#[pyclass(frozen, module = "ewa_rs._core")]
pub struct Output(&'static definition::Output);

#[pymethods]
impl Output {
    #[getter]
    fn name(&self) -> &'static str {
        self.0.name
    }

    #[getter]
    fn gradient(&self) -> Option<&'static str> {
        self.0.gradient
    }

    #[getter]
    fn requested_by(&self) -> Option<&'static str> {
        self.0.requested_by
    }

    #[getter]
    fn saved(&self) -> bool {
        self.0.saved
    }
}
