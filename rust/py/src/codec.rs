//! `ottla._core.Codec`: Kafka's bytes to the classes of `ottla.messages` and back.
//!
//! The codec itself is `ottla_protocol::codec`; here it is bound to Python objects ([`sink`], [`source`]) and to the
//! framing of records in the internal topics ([`records`]). A message's classes are imported when it is first used
//! ([`binding`]). Everything that does not fit, bytes or values, is an `ottla.errors.CodecError`.

mod binding;
mod error;
mod records;
mod sink;
mod source;

use binding::Bindings;
use ottla_protocol::codec::{Budget, decode, encode};
use ottla_protocol::header;
use ottla_protocol::schema::{self, Api, Message};
use ottla_protocol::wire::{Reader, Writer};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sink::PySink;
use source::PySource;

/// The codec as one object, handed down to those who may not import `_core`. It holds nothing but the classes it has bound.
#[pyclass(frozen, module = "ottla._core")]
pub struct Codec {
    bindings: Bindings,
}

impl Codec {
    /// The request in `body`, which begins behind the header.
    pub fn decode_request_to_py(&self, py: Python<'_>, key: i16, version: i16, body: &[u8]) -> PyResult<Py<PyAny>> {
        self.decode(py, api(key)?.request, version, &mut Reader::new(body)).map(Bound::unbind)
    }

    /// Appends the body of a response to `out`; after an error `out` may end anywhere in it.
    pub fn encode_response_from_py(
        &self,
        py: Python<'_>,
        key: i16,
        version: i16,
        response: &Bound<'_, PyAny>,
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        self.encode(py, api(key)?.response, version, response, out)
    }

    /// Decodes the message that begins where `reader` stands.
    fn decode<'py>(
        &self,
        py: Python<'py>,
        message: &'static Message,
        version: i16,
        reader: &mut Reader<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut sink = PySink::new(py, self.bindings.of(py, message)?);
        let budget = Budget::for_frame(reader.remaining());
        decode(message, version, reader, budget, &mut sink).map_err(|fault| error::decoding(py, fault))
    }

    /// Appends a message to `out`.
    fn encode(
        &self,
        py: Python<'_>,
        message: &'static Message,
        version: i16,
        value: &Bound<'_, PyAny>,
        out: &mut Vec<u8>,
    ) -> PyResult<()> {
        let source = PySource::new(py, self.bindings.of(py, message)?);
        encode(message, version, value, &source, &mut Writer::new(out)).map_err(|fault| error::encoding(py, fault))
    }

    fn encode_to_bytes<'py>(
        &self,
        py: Python<'py>,
        message: &'static Message,
        version: i16,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut out = Vec::with_capacity(128);
        self.encode(py, message, version, value, &mut out)?;
        Ok(PyBytes::new(py, &out))
    }
}

fn api(key: i16) -> PyResult<&'static Api> {
    schema::api(key).ok_or_else(|| error::raise(format!("unknown API key {key}")))
}

fn named(name: &str) -> PyResult<&'static Message> {
    schema::by_name(name).ok_or_else(|| error::raise(format!("unknown message {name}")))
}

#[pymethods]
impl Codec {
    #[new]
    fn new() -> Self {
        Self { bindings: Bindings::new() }
    }

    fn decode_request<'py>(
        &self,
        py: Python<'py>,
        api_key: i16,
        version: i16,
        body: &[u8],
    ) -> PyResult<Bound<'py, PyAny>> {
        self.decode(py, api(api_key)?.request, version, &mut Reader::new(body))
    }

    fn encode_response<'py>(
        &self,
        py: Python<'py>,
        api_key: i16,
        version: i16,
        response: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.encode_to_bytes(py, api(api_key)?.response, version, response)
    }

    fn encode_request<'py>(
        &self,
        py: Python<'py>,
        api_key: i16,
        version: i16,
        request: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.encode_to_bytes(py, api(api_key)?.request, version, request)
    }

    fn decode_response<'py>(
        &self,
        py: Python<'py>,
        api_key: i16,
        version: i16,
        body: &[u8],
    ) -> PyResult<Bound<'py, PyAny>> {
        self.decode(py, api(api_key)?.response, version, &mut Reader::new(body))
    }

    #[pyo3(signature = (api_key, version, correlation_id, client_id=None))]
    fn encode_request_header<'py>(
        &self,
        py: Python<'py>,
        api_key: i16,
        version: i16,
        correlation_id: i32,
        client_id: Option<&str>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        api(api_key)?;
        let mut out = Vec::with_capacity(64);
        header::write_request_header(&mut Writer::new(&mut out), api_key, version, correlation_id, client_id)
            .map_err(|fault| error::raise(format!("client id: {fault}")))?;
        Ok(PyBytes::new(py, &out))
    }

    fn decode_response_header<'py>(
        &self,
        py: Python<'py>,
        api_key: i16,
        version: i16,
        frame: &[u8],
    ) -> PyResult<(i32, Bound<'py, PyBytes>)> {
        let mut reader = Reader::new(frame);
        let correlation_id = header::read_response_header(&mut reader, api_key, version)
            .map_err(|fault| error::raise(format!("response header: {fault}")))?;
        Ok((correlation_id, PyBytes::new(py, reader.rest())))
    }

    fn encode_struct<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        version: i16,
        obj: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.encode_to_bytes(py, named(name)?, version, obj)
    }

    fn decode_struct<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        version: i16,
        body: &[u8],
    ) -> PyResult<Bound<'py, PyAny>> {
        self.decode(py, named(name)?, version, &mut Reader::new(body))
    }

    fn encode_metadata_record<'py>(
        &self,
        py: Python<'py>,
        record: &Bound<'py, PyAny>,
        version: i16,
    ) -> PyResult<Bound<'py, PyBytes>> {
        records::encode_metadata(self, py, record, version)
    }

    fn decode_metadata_record<'py>(&self, py: Python<'py>, value: &[u8]) -> PyResult<Option<Bound<'py, PyAny>>> {
        records::decode_metadata(self, py, value)
    }

    #[pyo3(signature = (key, value, version=None))]
    fn encode_coordinator_record<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        value: Option<&Bound<'py, PyAny>>,
        version: Option<i16>,
    ) -> PyResult<(Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>)> {
        records::encode_coordinator(self, py, key, value, version)
    }

    #[pyo3(signature = (topic_kind, key, value))]
    fn decode_coordinator_record<'py>(
        &self,
        py: Python<'py>,
        topic_kind: &str,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> PyResult<Option<records::Decoded<'py>>> {
        records::decode_coordinator(self, py, topic_kind, key, value)
    }
}
