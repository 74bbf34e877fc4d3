//! The streaming loop on NumPy arrays, for the benchmark.

use super::array::is_writeable;
use super::run::{guarded, run};
use super::settings::simd;
use super::view::View;
use crate::bandwidth::{self, Stream};
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

type Arrays<'py> = Vec<Bound<'py, PyUntypedArray>>;

/// Read every array of `reads` and write zeros to every array of `writes`, as fast as memory lets it.
#[pyfunction(name = "stream")]
pub fn stream_arrays(py: Python<'_>, reads: Arrays<'_>, writes: Arrays<'_>) -> PyResult<()> {
    guarded(|| stream(py, &reads, &writes))
}

fn stream(py: Python<'_>, reads: &Arrays<'_>, writes: &Arrays<'_>) -> PyResult<()> {
    let simd = simd()?;
    let reads = streams("reads", reads, false)?;
    let writes = streams("writes", writes, true)?;
    let all: Vec<&Stream> = writes.iter().chain(&reads).collect();
    if all.iter().any(|stream| stream.bytes != all[0].bytes) {
        return Err(PyValueError::new_err("reads, writes: expected arrays of one number of bytes"));
    }
    for (i, write) in writes.iter().enumerate() {
        let meets = |other: &Stream| write.start() < other.end() && other.start() < write.end();
        if all.iter().enumerate().any(|(j, other)| j != i && meets(other)) {
            return Err(PyValueError::new_err(format!(
                "writes: expected arrays that overlap no other, got writes[{i}], which does"
            )));
        }
    }
    let elements = all.iter().map(|stream| stream.bytes / size_of::<f32>()).sum();
    // SAFETY: all of it checked above, and the arrays live until this returns.
    run(py, elements, || unsafe { bandwidth::run(&reads, &writes, simd) });
    Ok(())
}

fn streams(name: &str, arrays: &Arrays<'_>, written: bool) -> PyResult<Vec<Stream>> {
    let mut streams = Vec::with_capacity(arrays.len());
    for (i, array) in arrays.iter().enumerate() {
        let stream = Stream {
            data: View::of_array(array).data,
            bytes: array.len() * array.dtype().itemsize(),
        };
        if !array.is_contiguous() || (written && !(is_writeable(array) && stream.is_aligned())) {
            return Err(PyValueError::new_err(format!(
                "{name}: expected contiguous arrays (writeable and at a multiple of 64 bytes, \
                 where written), got {name}[{i}]"
            )));
        }
        streams.push(stream);
    }
    Ok(streams)
}
