//! DLPack's exchange interface in C, by which torch says where a tensor's memory lies without a Python
//! call. It is a stable binary interface, not torch's own: nothing here depends on torch's version.

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
#[derive(Clone, Copy)]
pub struct DataType {
    pub code: u8,
    pub bits: u8,
    pub lanes: u16,
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
    pub dtype: DataType,
    pub shape: &'a [i64],
    /// In elements.
    pub strides: &'a [i64],
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
        // SAFETY: the name is the capsule's, or the pointer null.
        let api =
            unsafe { ffi::PyCapsule_GetPointer(capsule.as_ptr(), c"dlpack_exchange_api".as_ptr()) };
        if api.is_null() {
            PyErr::take(py);
            return None;
        }
        // SAFETY: the capsule holds such a struct, for ever; that its version is 1 is checked next.
        let api = unsafe { &*api.cast::<ExchangeApi>() };
        if api.major == 1 { api.tensor_from_py_object } else { None }
    })
}

/// Look into a tensor; `None` where its torch has no such interface, or the tensor none of this kind.
/// What comes back is valid while the tensor is.
pub fn borrow<'a>(tensor: &'a Bound<'_, PyAny>) -> Option<Borrowed<'a>> {
    let function = tensor_from_py_object(tensor.py())?;
    let mut found = std::mem::MaybeUninit::<DlTensor>::zeroed();
    // SAFETY: an object, and a place for what is found; this thread holds the GIL.
    let failed = unsafe { function(tensor.as_ptr().cast(), found.as_mut_ptr()) } != 0;
    if failed {
        PyErr::take(tensor.py());
        return None;
    }
    // SAFETY: zeros are a valid one, and the function has filled it.
    let found = unsafe { found.assume_init() };
    let ndim = found.ndim as usize;
    if found.device.kind != CPU || (ndim > 0 && (found.shape.is_null() || found.strides.is_null()))
    {
        return None;
    }
    let slice = |p: *const i64| {
        // SAFETY: so many numbers, which are there while the tensor is.
        if ndim == 0 { &[] } else { unsafe { std::slice::from_raw_parts(p, ndim) } }
    };
    Some(Borrowed {
        data: found.data.cast::<u8>().wrapping_add(found.byte_offset as usize),
        dtype: found.dtype,
        shape: slice(found.shape),
        strides: slice(found.strides),
    })
}
