//! From native errors to the classes of `ottla.errors`: one match, by what the caller does next.

use std::path::Path;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

static STORAGE_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static DIRECTORY_IN_USE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static NEWER_FORMAT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static REQUEST_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static ERROR_CODE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

fn raise(class: &PyOnceLock<Py<PyType>>, name: &str, message: String) -> PyErr {
    Python::attach(|py| match class.import(py, "ottla.errors", name) {
        Ok(class) => PyErr::from_type(class.clone(), message),
        Err(error) => {
            let replacement = PyRuntimeError::new_err(message);
            replacement.set_cause(py, Some(error));
            replacement
        }
    })
}

/// The disk refused; opening again may help.
pub fn storage(message: impl std::fmt::Display) -> PyErr {
    raise(&STORAGE_ERROR, "StorageError", message.to_string())
}

/// Another holder has the data directory.
pub fn in_use(message: impl std::fmt::Display) -> PyErr {
    raise(&DIRECTORY_IN_USE, "DirectoryInUse", message.to_string())
}

/// The directory was written by a later version.
pub fn newer_format(message: impl std::fmt::Display) -> PyErr {
    raise(&NEWER_FORMAT, "NewerFormat", message.to_string())
}

/// Refused with a code of the protocol.
pub fn request(code: i16, message: impl std::fmt::Display) -> PyErr {
    Python::attach(|py| {
        let made = || -> PyResult<PyErr> {
            let code = ERROR_CODE.import(py, "ottla.errors", "ErrorCode")?.call1((code,))?;
            let class = REQUEST_ERROR.import(py, "ottla.errors", "RequestError")?;
            Ok(PyErr::from_value(class.call1((code, message.to_string()))?))
        };
        made().unwrap_or_else(|error| error)
    })
}

/// A class of `ottla.errors` that nothing here raises often.
pub fn named(class: &str, message: impl std::fmt::Display) -> PyErr {
    Python::attach(|py| {
        let made = || -> PyResult<PyErr> {
            let class = py.import("ottla.errors")?.getattr(class)?;
            Ok(PyErr::from_value(class.call1((message.to_string(),))?))
        };
        made().unwrap_or_else(|error| error)
    })
}

/// Nothing is at this offset, or nothing more.
pub fn out_of_range(requested: i64, log_start: i64, log_end: i64, path: &Path) -> PyErr {
    Python::attach(|py| {
        let made = || -> PyResult<PyErr> {
            let class = py.import("ottla.errors")?.getattr("OffsetOutOfRange")?;
            Ok(PyErr::from_value(class.call1((requested, log_start, log_end, path.display().to_string()))?))
        };
        made().unwrap_or_else(|error| error)
    })
}
