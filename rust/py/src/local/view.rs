//! A key or a value where it lies, through the buffer protocol. This file has `unsafe`: CPython asks for a raw pointer.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::record::Span;

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct View {
    bytes: Arc<Vec<u8>>,
    span: Span,
}

impl View {
    pub fn new(bytes: &Arc<Vec<u8>>, span: Span) -> View {
        View { bytes: Arc::clone(bytes), span }
    }
}

#[pymethods]
impl View {
    #[expect(unsafe_code, reason = "the buffer protocol is a raw pointer and a promise to keep what it points to")]
    /// # Safety
    /// Called by CPython alone, with a `view` that may be written.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let Some(bytes) = this.span.of(&this.bytes) else {
            return Err(PyBufferError::new_err("null has no bytes"));
        };
        // SAFETY: the pointer stays good for as long as `slf` lives: the vector behind the Arc is never changed nor moved. `FillInfo` takes a
        // reference to `slf` into the view, which CPython gives back when the view is released. Read-only is the fifth argument.
        let filled = unsafe {
            let length = ffi::Py_ssize_t::try_from(bytes.len()).unwrap_or(0);
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), bytes.as_ptr().cast::<c_void>().cast_mut(), length, 1, flags)
        };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}
