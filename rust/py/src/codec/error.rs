//! `ottla.errors.CodecError`, with the sentence of the native error.

use ottla_protocol::codec::{DecodeError, EncodeError, EncodeFault};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

static CODEC_ERROR: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// A `CodecError`.
pub fn raise(message: String) -> PyErr {
    Python::attach(|py| match CODEC_ERROR.import(py, "ottla.errors", "CodecError") {
        Ok(class) => PyErr::from_type(class.clone(), message),
        Err(cause) => {
            let replacement = PyValueError::new_err(message);
            replacement.set_cause(py, Some(cause));
            replacement
        }
    })
}

/// Bytes that are no message. A failure of Python itself (no memory) passes as it is.
pub fn decoding(_py: Python<'_>, fault: DecodeError<PyErr>) -> PyErr {
    match fault {
        DecodeError::Sink(error) => error,
        fault => raise(fault.to_string()),
    }
}

/// A value that does not fit its message.
pub fn encoding(py: Python<'_>, fault: EncodeError<PyErr>) -> PyErr {
    let sentence = fault.to_string();
    let raised = raise(sentence);
    if let EncodeFault::Source(cause) = fault.fault {
        raised.set_cause(py, Some(cause));
    }
    raised
}
