//! DLPack's exchange interface in C, by which torch says where a tensor's memory lies without a Python
//! call. It is a stable binary interface, not torch's own: nothing here depends on torch's version.

use crate::tensor::dtype::DType;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::ffi::{c_int, c_void};

#[repr(C)]
struct Device {
    kind: i32,
    id: i32,
}

#[repr(C)]
struct DataType {
    code: u8,
    bits: u8,
    lanes: u16,
}

/// A tensor that belongs to somebody else.
#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device: Device,
    ndim: i32,
    dtype: DataType,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

type FromPyObject = unsafe extern "C" fn(*mut c_void, *mut DlTensor) -> c_int;

#[repr(C)]
struct ExchangeApi {
    major: u32,
    minor: u32,
    previous: *const c_void,
    managed_tensor_allocator: *const c_void,
    managed_tensor_from_py_object: *const c_void,
    managed_tensor_to_py_object: *const c_void,
    tensor_from_py_object: Option<FromPyObject>,
    current_work_stream: *const c_void,
}

const CPU: i32 = 1;

/// What a tensor on the CPU is made of.
pub struct Borrowed<'a> {
    pub data: *mut u8,
    dtype: DataType,
    pub shape: &'a [i64],
    /// In elements.
    pub strides: &'a [i64],
}

impl Borrowed<'_> {
    /// `None`: a type that no kernel takes.
    pub fn dtype(&self) -> Option<DType> {
        match (self.dtype.code, self.dtype.bits, self.dtype.lanes) {
            (2, 16, 1) => Some(DType::F16),
            (2, 32, 1) => Some(DType::F32),
            (2, 64, 1) => Some(DType::F64),
            (4, 16, 1) => Some(DType::BF16),
            (6, 8, 1) => Some(DType::Bool),
            _ => None,
        }
    }
}

fn tensor_from_py_object(py: Python<'_>) -> Option<FromPyObject> {
    static FUNCTION: PyOnceLock<Option<FromPyObject>> = PyOnceLock::new();
    *FUNCTION.get_or_init(py, || {
        let capsule = py
            .import("torch")
            .ok()?
            .getattr("Tensor")
            .ok()?
            .getattr("__dlpack_c_exchange_api__")
            .ok()?;
        // SAFETY: the name is a C string; null is what is no such capsule.
        let api =
            unsafe { ffi::PyCapsule_GetPointer(capsule.as_ptr(), c"dlpack_exchange_api".as_ptr()) };
        if api.is_null() {
            PyErr::take(py);
            return None;
        }
        // SAFETY: that is what a capsule of this name holds, for as long as torch is loaded.
        let api = unsafe { &*api.cast::<ExchangeApi>() };
        if api.major == 1 { api.tensor_from_py_object } else { None }
    })
}

/// Look into a tensor; `None` where its torch has no such interface, or the tensor none of this kind.
/// What comes back is valid while the tensor is.
pub fn borrow<'a>(tensor: &'a Bound<'_, PyAny>) -> Option<Borrowed<'a>> {
    let function = tensor_from_py_object(tensor.py())?;
    let mut found = std::mem::MaybeUninit::<DlTensor>::zeroed();
    // SAFETY: the function takes any object, and fills in what it does not fail for.
    let failed = unsafe { function(tensor.as_ptr().cast(), found.as_mut_ptr()) } != 0;
    if failed {
        PyErr::take(tensor.py());
        return None;
    }
    // SAFETY: it is filled in, and all zeros would be valid too.
    let found = unsafe { found.assume_init() };
    let ndim = found.ndim as usize;
    if found.device.kind != CPU || (ndim > 0 && (found.shape.is_null() || found.strides.is_null()))
    {
        return None;
    }
    let slice = |p: *const i64| {
        // SAFETY: as many sizes and strides as axes, which belong to the tensor.
        if ndim == 0 { &[] } else { unsafe { std::slice::from_raw_parts(p, ndim) } }
    };
    Some(Borrowed {
        data: found.data.cast::<u8>().wrapping_add(found.byte_offset as usize),
        dtype: found.dtype,
        shape: slice(found.shape),
        strides: slice(found.strides),
    })
}
