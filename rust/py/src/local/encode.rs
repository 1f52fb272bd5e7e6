//! Python's values into batches.

use ottla_log::batch::builder::{BatchBuilder, BatchShape};
use ottla_log::batch::{Compression, NewRecord};
use ottla_log::local::CURSOR_HEADER;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PyString, PyTuple};

use super::record::Record;
use super::refusal;

/// More than the fields of a record take beside key, value and headers.
const RECORD_OVERHEAD_BYTES: usize = 64;
/// What a batch holds before the next one is begun. Below `max.message.bytes` as Kafka has it, so that every client takes it.
const BATCH_BYTES: usize = 960 << 10;

/// What batches are made of.
#[derive(Clone, Copy)]
pub struct Shape {
    pub compression: Compression,
    pub level: i32,
    pub segment_bytes: usize,
}

impl Shape {
    /// Compressed or not: a batch that does not shrink must fit too.
    fn batch_bytes(&self) -> usize {
        BATCH_BYTES.min(self.segment_bytes / 2)
    }

    pub fn builder(&self) -> BatchBuilder {
        BatchBuilder::new(BatchShape::plain(self.compression, self.level))
    }

    /// True when `need` more bytes belong into the next batch.
    pub fn is_full(&self, builder: &BatchBuilder, need: usize) -> bool {
        !builder.is_empty() && builder.bytes() + need > self.batch_bytes()
    }

    /// # Errors
    /// `RecordTooLarge`: no segment has room for it.
    pub fn check_fits(&self, bytes: usize) -> PyResult<()> {
        if bytes > self.segment_bytes {
            return Err(refusal::too_large(format!(
                "{bytes} bytes do not fit in a segment of {} bytes; nothing was appended: open with a larger segment_bytes, or split them",
                self.segment_bytes
            )));
        }
        Ok(())
    }
}

/// Bytes that Python holds, or a copy of what it holds in another form.
pub enum Field<'py> {
    Null,
    Held(Bound<'py, PyBytes>),
    Copied(Vec<u8>),
}

impl<'py> Field<'py> {
    /// Anything with the buffer protocol; None is null.
    pub fn of(what: &str, value: &Bound<'py, PyAny>) -> PyResult<Field<'py>> {
        if let Ok(bytes) = value.cast::<PyBytes>() {
            return Ok(Field::Held(bytes.clone()));
        }
        if value.is_none() {
            return Ok(Field::Null);
        }
        if let Ok(buffer) = PyBuffer::<u8>::get(value) {
            return buffer.to_vec(value.py()).map(Field::Copied);
        }
        let Ok(view) = PyMemoryView::from(value) else {
            let kind = value.get_type().name()?;
            let hint = if value.is_instance_of::<PyString>() { ": encode it first" } else { "" };
            let message =
                format!("a {what} is bytes, anything else with the buffer protocol, or None; not {kind}{hint}");
            return Err(PyTypeError::new_err(message));
        };
        view.call_method0("tobytes")?.cast_into::<PyBytes>().map(Field::Held).map_err(Into::into)
    }

    pub fn given(what: &str, value: Option<&Bound<'py, PyAny>>) -> PyResult<Field<'py>> {
        value.map_or(Ok(Field::Null), |value| Field::of(what, value))
    }

    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Field::Null => None,
            Field::Held(bytes) => Some(bytes.as_bytes()),
            Field::Copied(bytes) => Some(bytes),
        }
    }
}

pub type Header<'py> = (String, Field<'py>);

/// A mapping, or pairs; keys may repeat there.
pub fn headers_of<'py>(given: Option<&Bound<'py, PyAny>>) -> PyResult<Vec<Header<'py>>> {
    let Some(given) = given.filter(|given| !given.is_none()) else { return Ok(Vec::new()) };
    let pairs = if given.hasattr("items")? { given.call_method0("items")? } else { given.clone() };
    let mut headers = Vec::new();
    for pair in pairs.try_iter()? {
        let (key, value): (Bound<'py, PyAny>, Bound<'py, PyAny>) = pair?
            .extract()
            .map_err(|_| PyTypeError::new_err("headers are a dict, or pairs of a str and bytes or None"))?;
        let key: String = key.extract().map_err(|_| PyTypeError::new_err("the key of a header is a str"))?;
        if key == CURSOR_HEADER {
            return Err(refusal::invalid(format!("the header {CURSOR_HEADER} is the log's own: give cursors=")));
        }
        headers.push((key, Field::of("header", &value)?));
    }
    Ok(headers)
}

/// What a record is to be, with its bytes where Python has them.
pub struct Draft<'py> {
    pub key: Field<'py>,
    pub value: Field<'py>,
    pub headers: Vec<Header<'py>>,
    pub timestamp_ms: Option<i64>,
}

impl<'py> Draft<'py> {
    /// One item of `append_many`: a value; (key, value), with headers and timestamp behind them; or a record of another log.
    pub fn of(item: &Bound<'py, PyAny>) -> PyResult<Draft<'py>> {
        let plain = |value| Draft { key: Field::Null, value, headers: Vec::new(), timestamp_ms: None };
        if let Ok(bytes) = item.cast::<PyBytes>() {
            return Ok(plain(Field::Held(bytes.clone())));
        }
        if let Ok(fields) = item.cast::<PyTuple>() {
            if !(2..=4).contains(&fields.len()) {
                let message = "a record is a value, or a tuple (key, value), (key, value, headers) or (key, value, headers, timestamp)";
                return Err(PyTypeError::new_err(message));
            }
            let headers = if fields.len() > 2 { headers_of(Some(&fields.get_item(2)?))? } else { Vec::new() };
            let timestamp_ms = if fields.len() > 3 { timestamp_of(&fields.get_item(3)?)? } else { None };
            return Ok(Draft {
                key: Field::of("key", &fields.get_item(0)?)?,
                value: Field::of("value", &fields.get_item(1)?)?,
                headers,
                timestamp_ms,
            });
        }
        if let Ok(record) = item.cast::<Record>() {
            let record = record.get();
            let copied = |bytes: Option<&[u8]>| bytes.map_or(Field::Null, |bytes| Field::Copied(bytes.to_vec()));
            let headers = record.plain_headers();
            return Ok(Draft {
                key: copied(record.key_bytes()),
                value: copied(record.value_bytes()),
                headers: headers
                    .map(|(key, value)| (String::from_utf8_lossy(key).into_owned(), copied(value)))
                    .collect(),
                timestamp_ms: Some(record.timestamp_ms()),
            });
        }
        Field::of("value", item).map(plain)
    }

    /// At most so many bytes go into a batch for it.
    pub fn need_bytes(&self) -> usize {
        let of = |field: &Field<'_>| field.bytes().map_or(0, <[u8]>::len);
        let headers: usize = self.headers.iter().map(|(key, value)| 10 + key.len() + of(value)).sum();
        RECORD_OVERHEAD_BYTES + of(&self.key) + of(&self.value) + headers
    }

    pub fn push(&self, builder: &mut BatchBuilder, now_ms: i64, cursors: &[(String, i64)]) {
        let timestamp_ms = self.timestamp_ms.unwrap_or(now_ms);
        let (key, value) = (self.key.bytes(), self.value.bytes());
        if self.headers.is_empty() && cursors.is_empty() {
            builder.push(&NewRecord { timestamp_ms, key, value, headers: &[] });
            return;
        }
        let texts: Vec<String> = cursors.iter().map(|(name, position)| format!("{name}={position}")).collect();
        let own = self.headers.iter().map(|(key, value)| (key.as_str(), value.bytes()));
        let carried = texts.iter().map(|text| (CURSOR_HEADER, Some(text.as_bytes())));
        let headers: Vec<(&str, Option<&[u8]>)> = own.chain(carried).collect();
        builder.push(&NewRecord { timestamp_ms, key, value, headers: &headers });
    }
}

/// Milliseconds since 1970; None: the time of the append.
pub fn timestamp_of(given: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    if given.is_none() {
        return Ok(None);
    }
    let timestamp_ms: i64 = given
        .extract()
        .map_err(|_| PyTypeError::new_err("a timestamp is an int, milliseconds since 1970 (UTC), or None for now"))?;
    if timestamp_ms < 0 {
        return Err(refusal::invalid(format!("timestamp {timestamp_ms} is before 1970")));
    }
    Ok(Some(timestamp_ms))
}
