//! Builds Python objects.

use super::binding::Binding;
use ottla_protocol::codec::{DecodeError, Part, Sink};
use ottla_protocol::schema::{Field, Struct};
use pyo3::exceptions::PySystemError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

/// A sink for one message.
pub struct PySink<'py, 'b> {
    py: Python<'py>,
    binding: &'b Binding,
}

impl<'py, 'b> PySink<'py, 'b> {
    /// A sink that builds the classes of `binding`.
    pub fn new(py: Python<'py>, binding: &'b Binding) -> Self {
        Self { py, binding }
    }
}

/// Integers CPython keeps ready.
const SMALL: std::ops::RangeInclusive<i64> = -5..=256;

impl<'py> Sink for PySink<'py, '_> {
    type Value = Bound<'py, PyAny>;
    type Error = PyErr;

    /// CPython 3.11 to 3.15, 64 bits: object sizes, rounded up as its allocator does (to 16).
    fn weight(&self, part: Part<'_>) -> usize {
        match part {
            Part::Int(value) if SMALL.contains(&value) => 0,
            Part::Int(_) | Part::Float => 32,
            Part::Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) => 0,
            Part::Uuid(_) => 64,
            Part::Str(text) => weight_of_str(text),
            Part::Bytes(length) => 48 + length,
            Part::List(count) => 80 + 8 * count,
            Part::Struct(shape) => 32 + 8 * shape.fields.len(),
        }
    }

    fn null(&mut self) -> Self::Value {
        self.py.None().into_bound(self.py)
    }

    fn bool(&mut self, value: bool) -> PyResult<Self::Value> {
        Ok(value.into_pyobject(self.py)?.to_owned().into_any())
    }

    fn int(&mut self, value: i64) -> PyResult<Self::Value> {
        Ok(value.into_pyobject(self.py)?.into_any())
    }

    fn float(&mut self, value: f64) -> PyResult<Self::Value> {
        Ok(value.into_pyobject(self.py)?.into_any())
    }

    fn uuid(&mut self, value: &[u8; 16]) -> PyResult<Self::Value> {
        if *value == [0; 16] {
            return Ok(self.binding.no_uuid.bind(self.py).clone().into_any());
        }
        Ok(PyBytes::new(self.py, value).into_any())
    }

    fn str(&mut self, value: &str) -> PyResult<Self::Value> {
        Ok(PyString::new(self.py, value).into_any())
    }

    fn bytes(&mut self, value: &[u8]) -> PyResult<Self::Value> {
        Ok(PyBytes::new(self.py, value).into_any())
    }

    fn default(&mut self, owner: &'static Struct, place: usize, field: &'static Field) -> PyResult<Self::Value> {
        let class = self.binding.class(owner.index).and_then(|class| class.defaults.get(place));
        match class {
            Some(default) => Ok(default.bind(self.py).clone()),
            None => Err(PySystemError::new_err(format!("{}.{} is not bound", owner.name, field.name))),
        }
    }

    fn list(
        &mut self,
        count: usize,
        next: impl FnMut(&mut Self) -> Result<Self::Value, DecodeError<PyErr>>,
    ) -> Result<Self::Value, DecodeError<PyErr>> {
        let py = self.py;
        let mut failed = None;
        let elements = Elements { sink: self, next, left: count, failed: &mut failed };
        let list = PyList::new(py, elements).map_err(DecodeError::Sink)?;
        match failed {
            None => Ok(list.into_any()),
            Some(error) => Err(error),
        }
    }

    fn structure(
        &mut self,
        shape: &'static Struct,
        fields: impl ExactSizeIterator<Item = Self::Value>,
    ) -> PyResult<Self::Value> {
        let Some(class) = self.binding.class(shape.index) else {
            return Err(PySystemError::new_err(format!("{} is not bound", shape.name)));
        };
        class.class.bind(self.py).call1(PyTuple::new(self.py, fields)?)
    }
}

/// The elements of a list as an iterator of known length, so that the list is made at its final size. After a failure the
/// rest is None: the list is thrown away.
struct Elements<'s, 'py, 'b, F> {
    sink: &'s mut PySink<'py, 'b>,
    next: F,
    left: usize,
    failed: &'s mut Option<DecodeError<PyErr>>,
}

impl<'s, 'py, 'b, F> Iterator for Elements<'s, 'py, 'b, F>
where
    F: FnMut(&mut PySink<'py, 'b>) -> Result<Bound<'py, PyAny>, DecodeError<PyErr>>,
{
    type Item = Bound<'py, PyAny>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        if self.failed.is_none() {
            match (self.next)(self.sink) {
                Ok(value) => return Some(value),
                Err(error) => *self.failed = Some(error),
            }
        }
        Some(self.sink.null())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'s, 'py, 'b, F> ExactSizeIterator for Elements<'s, 'py, 'b, F> where
    F: FnMut(&mut PySink<'py, 'b>) -> Result<Bound<'py, PyAny>, DecodeError<PyErr>>
{
}

/// Python keeps a string in 1, 2 or 4 bytes per character, whichever its widest one needs.
fn weight_of_str(text: &str) -> usize {
    if text.is_ascii() {
        return if text.len() < 2 { 0 } else { 64 + text.len() };
    }
    let (mut characters, mut widest) = (0, 1);
    for character in text.chars() {
        characters += 1;
        widest = widest.max(match u32::from(character) {
            0..0x100 => 1,
            0x100..0x1_0000 => 2,
            _ => 4,
        });
    }
    96 + characters * widest
}
