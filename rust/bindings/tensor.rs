//! Where torch tensors lie, and that they still lie there when the kernels run.

use super::arguments::check_kind;
use super::array::has_changed;
use super::dlpack::{self, Borrowed};
use super::run::releases_gil;
use super::torch::Torch;
use super::view::View;
use crate::tensor::dims::Dims;
use crate::tensor::dtype::DType;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

pub type Object<'py> = Bound<'py, PyAny>;

impl Torch {
    /// Where a plain tensor on the CPU lies; None if it is none, or does not hold what its memory says.
    pub fn plain_view(&self, tensor: &Object<'_>) -> PyResult<Option<View>> {
        if !self.is_plain(tensor) {
            return Ok(None);
        }
        let Some(view) = dlpack::borrow(tensor).and_then(|found| View::of_borrowed(&found)) else {
            return Ok(None);
        };
        let has_memory = !view.data.is_null() || view.shape.contains(&0);
        Ok((has_memory && !is_negative(tensor)?).then_some(view))
    }

    /// Where a tensor lies that is called `name`; an error if the kernels cannot look there.
    pub fn view(&self, name: &str, tensor: &Object<'_>) -> PyResult<View> {
        if !self.is_tensor(tensor) {
            let found = tensor.get_type().fully_qualified_name()?;
            return Err(PyTypeError::new_err(format!(
                "{name}: expected a torch.Tensor, got {found}"
            )));
        }
        if is_negative(tensor)? {
            return Err(PyValueError::new_err(format!(
                "{name}: expected a tensor that is what its memory says, got one that is the negative of \
                 that; {name}.resolve_neg() is not"
            )));
        }
        self.memory_view(name, tensor)
    }

    /// The same for a tensor that is known to be one, and to be what its memory says.
    pub fn memory_view(&self, name: &str, tensor: &Object<'_>) -> PyResult<View> {
        let view = look(name, tensor)?;
        if view.data.is_null() && !view.shape.contains(&0) {
            let kind = tensor.get_type().fully_qualified_name()?;
            return Err(PyTypeError::new_err(format!(
                "{name}: expected a tensor with memory, got a {kind} without"
            )));
        }
        Ok(view)
    }

    /// Where a new tensor lies, in which there is room for such a result.
    pub fn result_view(
        &self,
        tensor: &Object<'_>,
        shape: &[usize],
        dtype: DType,
    ) -> PyResult<View> {
        let view = look("result", tensor)?;
        check_kind("result", &view, shape, dtype)?;
        Ok(view)
    }
}

fn look(name: &str, tensor: &Object<'_>) -> PyResult<View> {
    let view = dlpack::borrow(tensor).and_then(|found| View::of_borrowed(&found));
    view.map_or_else(|| View::of_attributes(name, tensor), Ok)
}

fn is_negative(tensor: &Object<'_>) -> PyResult<bool> {
    tensor.call_method0(intern!(tensor.py(), "is_neg"))?.is_truthy()
}

/// A tensor of a caller, and where it lay when it was looked at.
pub struct Seen<'py> {
    pub name: &'static str,
    pub tensor: Object<'py>,
    pub view: View,
}

impl AsRef<View> for Seen<'_> {
    fn as_ref(&self) -> &View {
        &self.view
    }
}

impl<'py> Seen<'py> {
    pub fn new(torch: &Torch, name: &'static str, tensor: Object<'py>) -> PyResult<Seen<'py>> {
        let view = torch.view(name, &tensor)?;
        Ok(Seen { name, tensor, view })
    }
}

/// Check that tensors still lie where they did before other Python code may have run. What comes back
/// keeps their memory, if a call on so many elements lets other threads give them another.
pub fn hold<'a, 'py: 'a>(
    elements: usize,
    seen: impl Iterator<Item = &'a Seen<'py>> + Clone,
) -> PyResult<Vec<Object<'py>>> {
    let storage =
        |seen: &Seen<'py>| seen.tensor.call_method0(intern!(seen.tensor.py(), "untyped_storage"));
    let held = match releases_gil(elements) {
        true => seen.clone().map(storage).collect::<PyResult<_>>()?,
        false => Vec::new(),
    };
    for Seen { name, tensor, view } in seen {
        let same = match dlpack::borrow(tensor) {
            Some(found) => view.is_of(&found),
            None => View::of_attributes(name, tensor)? == *view,
        };
        if !same {
            return Err(has_changed(name));
        }
    }
    Ok(held)
}

impl View {
    fn of_borrowed(tensor: &Borrowed<'_>) -> Option<View> {
        let dtype = tensor.dtype()?;
        Some(View {
            data: tensor.data,
            dtype: Some(dtype),
            shape: tensor.shape.iter().map(|&n| n as usize).collect(),
            strides: tensor.strides.iter().map(|&s| s as isize * dtype.item() as isize).collect(),
        })
    }

    fn is_of(&self, tensor: &Borrowed<'_>) -> bool {
        let item = self.dtype.map_or(1, DType::item) as isize;
        let (shape, strides) = (tensor.shape.iter(), tensor.strides.iter());
        self.data == tensor.data
            && self.dtype == tensor.dtype()
            && shape.map(|&n| n as usize).eq(self.shape.iter().copied())
            && strides.map(|&s| s as isize * item).eq(self.strides.iter().copied())
    }

    /// For a torch that has no exchange interface.
    fn of_attributes(name: &str, tensor: &Object<'_>) -> PyResult<View> {
        let py = tensor.py();
        if !tensor.getattr(intern!(py, "is_cpu"))?.is_truthy()? {
            let device = tensor.getattr(intern!(py, "device"))?;
            return Err(PyValueError::new_err(format!(
                "{name}: expected a tensor on the CPU, got one on {device}"
            )));
        }
        let dtype = tensor_dtype(name, &tensor.getattr(intern!(py, "dtype"))?)?;
        let strides: Vec<isize> = tensor.call_method0(intern!(py, "stride"))?.extract()?;
        let shape: Vec<usize> = tensor.getattr(intern!(py, "shape"))?.extract()?;
        let data: usize = tensor.call_method0(intern!(py, "data_ptr"))?.extract()?;
        let strides: Dims<isize> = strides.iter().map(|s| s * dtype.item() as isize).collect();
        if shape.len() != strides.len() {
            let message =
                format!("{name}: expected a dense (strided) tensor, got one that is none");
            return Err(PyTypeError::new_err(message));
        }
        Ok(View { data: data as *mut u8, dtype: Some(dtype), shape: shape[..].into(), strides })
    }
}

/// torch's dtypes are objects of which there is one each.
fn tensor_dtype(name: &str, dtype: &Object<'_>) -> PyResult<DType> {
    static DTYPES: PyOnceLock<[(Py<PyAny>, DType); 5]> = PyOnceLock::new();
    let py = dtype.py();
    let dtypes = DTYPES.get_or_try_init(py, || {
        let torch = py.import("torch")?;
        let get = |d: DType| PyResult::Ok((torch.getattr(d.name())?.unbind(), d));
        let [a, b, c, d, e] =
            [DType::F32, DType::BF16, DType::F16, DType::F64, DType::Bool].map(get);
        PyResult::Ok([a?, b?, c?, d?, e?])
    })?;
    let found = dtypes.iter().find(|(object, _)| object.is(dtype)).map(|&(_, d)| d);
    found.ok_or_else(|| {
        PyTypeError::new_err(format!(
            "{name}: expected float16, bfloat16, float32 or float64, got {dtype}"
        ))
    })
}
