//! The table of ops as Python reads it.

use crate::ops::OPS;
use crate::tensor::definition::{InputKind, Value};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

type Name = &'static str;

#[pyclass(frozen, get_all, module = "ewa_rs._core")]
pub struct Definition {
    name: Name,
    inputs: Py<PyTuple>,
    settings: Py<PyTuple>,
    outputs: Py<PyTuple>,
    eager: bool,
}

#[pyclass(frozen, get_all, module = "ewa_rs._core")]
pub struct Input {
    name: Name,
    optional: bool,
    is_mask: bool,
    differentiable: bool,
}

#[pyclass(frozen, get_all, module = "ewa_rs._core")]
pub struct Setting {
    name: Name,
    schema: Name,
    default: Py<PyAny>,
}

#[pyclass(frozen, get_all, module = "ewa_rs._core")]
pub struct Output {
    name: Name,
    gradient: Option<Name>,
    requested_by: Option<Name>,
    saved: bool,
}

/// The definitions of all ops.
pub fn table(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    let ops = OPS.iter().map(|op| {
        let inputs = op.inputs.iter().map(|input| Input {
            name: input.name,
            optional: input.optional,
            is_mask: input.kind == InputKind::Mask,
            differentiable: input.differentiable,
        });
        let settings = op.settings.iter().map(|setting| {
            let (name, schema) = (setting.name, setting.schema);
            PyResult::Ok(Setting { name, schema, default: python(py, setting.default)?.unbind() })
        });
        let outputs = op.outputs.iter().map(|output| Output {
            name: output.name,
            gradient: output.gradient,
            requested_by: output.requested_by,
            saved: output.saved,
        });
        Ok(Definition {
            name: op.name,
            inputs: PyTuple::new(py, inputs)?.unbind(),
            settings: PyTuple::new(py, settings.collect::<PyResult<Vec<_>>>()?)?.unbind(),
            outputs: PyTuple::new(py, outputs)?.unbind(),
            eager: op.eager,
        })
    });
    PyTuple::new(py, ops.collect::<PyResult<Vec<_>>>()?)
}

fn python(py: Python<'_>, value: Value) -> PyResult<Bound<'_, PyAny>> {
    Ok(match value {
        Value::None => py.None().into_bound(py),
        Value::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
        Value::Ints(values) => PyTuple::new(py, values)?.into_any(),
    })
}
