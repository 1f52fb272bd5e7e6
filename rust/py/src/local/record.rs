//! `_core.Record`: a place in a batch that is in memory. Key, value and headers become Python's when they are asked for.

use std::sync::Arc;

use ottla_log::batch::records::{Headers, RecordView};
use ottla_log::local::CURSOR_HEADER;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PyString, PyTuple};

use super::view::View;

/// Bytes of a batch; null if there are none.
#[derive(Clone, Copy)]
pub struct Span {
    at: u32,
    /// -1: null.
    length: i32,
}

impl Span {
    /// Where `part`, which lies in `whole`, begins and how long it is. A batch is shorter than 2 GiB.
    fn new(whole: &[u8], part: Option<&[u8]>) -> Span {
        match part {
            None => Span { at: 0, length: -1 },
            // Nothing may lie anywhere.
            Some([]) => Span { at: 0, length: 0 },
            Some(part) => {
                let at = (part.as_ptr() as usize - whole.as_ptr() as usize) as u32;
                Span { at, length: part.len() as i32 }
            }
        }
    }

    pub fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        let length = usize::try_from(self.length).ok()?;
        bytes.get(self.at as usize..self.at as usize + length)
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct Record {
    #[pyo3(get)]
    offset: i64,
    #[pyo3(get)]
    timestamp: i64,
    bytes: Arc<Vec<u8>>,
    key: Span,
    value: Span,
    headers: Span,
    header_count: u32,
}

impl Record {
    pub fn new(bytes: &Arc<Vec<u8>>, offset: i64, timestamp: i64, view: &RecordView<'_>) -> Record {
        Record {
            offset,
            timestamp,
            key: Span::new(bytes, view.key),
            value: Span::new(bytes, view.value),
            headers: Span::new(bytes, Some(view.header_bytes())),
            header_count: u32::try_from(view.header_count()).unwrap_or(0),
            bytes: Arc::clone(bytes),
        }
    }

    pub fn timestamp_ms(&self) -> i64 {
        self.timestamp
    }

    pub fn key_bytes(&self) -> Option<&[u8]> {
        self.key.of(&self.bytes)
    }

    pub fn value_bytes(&self) -> Option<&[u8]> {
        self.value.of(&self.bytes)
    }

    /// Those that carry cursors are the log's own.
    pub fn plain_headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let bytes = self.headers.of(&self.bytes).unwrap_or_default();
        Headers::new(bytes, self.header_count as usize).filter(|(key, _)| *key != CURSOR_HEADER.as_bytes())
    }

    fn view<'py>(&self, py: Python<'py>, span: Span) -> PyResult<Option<Bound<'py, PyMemoryView>>> {
        if span.length < 0 {
            return Ok(None);
        }
        let view = Bound::new(py, View::new(&self.bytes, span))?;
        PyMemoryView::from(view.as_any()).map(Some)
    }
}

#[pymethods]
impl Record {
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.key_bytes().map(|bytes| PyBytes::new(py, bytes))
    }

    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.value_bytes().map(|bytes| PyBytes::new(py, bytes))
    }

    #[getter]
    fn key_view<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyMemoryView>>> {
        self.view(py, self.key)
    }

    #[getter]
    fn value_view<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyMemoryView>>> {
        self.view(py, self.value)
    }

    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        if self.header_count == 0 {
            return Ok(PyTuple::empty(py));
        }
        let headers: Vec<_> = self
            .plain_headers()
            .map(|(key, value)| {
                let key = PyString::new(py, &String::from_utf8_lossy(key));
                (key, value.map(|value| PyBytes::new(py, value)))
            })
            .collect();
        PyTuple::new(py, headers)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shown = |bytes: Option<Bound<'_, PyBytes>>| match bytes {
            Some(bytes) => bytes.repr().map(|text| text.to_string()),
            None => Ok("None".to_owned()),
        };
        let (key, value) = (shown(self.key(py))?, shown(self.value(py))?);
        Ok(format!("Record(offset={}, timestamp={}, key={key}, value={value})", self.offset, self.timestamp))
    }
}
