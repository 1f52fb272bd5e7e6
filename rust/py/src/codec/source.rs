//! Reads Python objects.

use super::binding::Binding;
use ottla_protocol::codec::Source;
use ottla_protocol::schema::Struct;
use pyo3::exceptions::{PyIndexError, PySystemError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyList, PyString, PyTuple};

/// A source for one message.
pub struct PySource<'py, 'b> {
    py: Python<'py>,
    binding: &'b Binding,
}

impl<'py, 'b> PySource<'py, 'b> {
    /// A source that knows the attributes of the classes of `binding`.
    pub fn new(py: Python<'py>, binding: &'b Binding) -> Self {
        Self { py, binding }
    }
}

fn mismatch(expected: &str, found: &Bound<'_, PyAny>) -> PyErr {
    let kind = found.get_type();
    let name = kind.name().map_or_else(|_| "another type".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!("expected {expected}, found {name}"))
}

impl<'py> Source for PySource<'py, '_> {
    type Value = Bound<'py, PyAny>;
    type Error = PyErr;

    fn field(&self, object: &Self::Value, shape: &'static Struct, place: usize) -> PyResult<Self::Value> {
        match self.binding.class(shape.index).and_then(|class| class.names.get(place)) {
            Some(name) => object.getattr(name.bind(self.py)),
            None => Err(PySystemError::new_err(format!("{} is not bound", shape.name))),
        }
    }

    fn is_null(&self, value: &Self::Value) -> bool {
        value.is_none()
    }

    fn bool(&self, value: &Self::Value) -> PyResult<bool> {
        value.cast::<PyBool>().map(|value| value.is_true()).map_err(|_| mismatch("bool", value))
    }

    fn int(&self, value: &Self::Value) -> PyResult<i64> {
        value.extract()
    }

    fn float(&self, value: &Self::Value) -> PyResult<f64> {
        value.extract()
    }

    fn uuid(&self, value: &Self::Value) -> PyResult<[u8; 16]> {
        let bytes = value.cast::<PyBytes>().map_err(|_| mismatch("bytes", value))?.as_bytes();
        bytes.try_into().map_err(|_| PyTypeError::new_err(format!("a uuid is 16 bytes, found {}", bytes.len())))
    }

    fn str<'v>(&self, value: &'v Self::Value) -> PyResult<&'v str> {
        value.cast::<PyString>().map_err(|_| mismatch("str", value))?.to_str()
    }

    fn bytes<'v>(&self, value: &'v Self::Value) -> PyResult<&'v [u8]> {
        value.cast::<PyBytes>().map(|value| value.as_bytes()).map_err(|_| mismatch("bytes", value))
    }

    fn count(&self, list: &Self::Value) -> PyResult<usize> {
        match (list.cast::<PyList>(), list.cast::<PyTuple>()) {
            (Ok(list), _) => Ok(list.len()),
            (_, Ok(tuple)) => Ok(tuple.len()),
            _ => Err(mismatch("list", list)),
        }
    }

    fn element(&self, list: &Self::Value, place: usize) -> PyResult<Self::Value> {
        if let Ok(list) = list.cast::<PyList>() {
            return list.get_item(place);
        }
        let tuple = list.cast::<PyTuple>().map_err(|_| mismatch("list", list))?;
        tuple.get_item(place).map_err(|_| PyIndexError::new_err("the list changed while it was encoded"))
    }
}
