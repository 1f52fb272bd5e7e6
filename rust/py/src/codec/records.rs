//! The framing of records in the internal topics.
//!
//! ```text
//! __cluster_metadata value      uvarint frame version (1) | uvarint record type | uvarint version | record
//! coordinator key               int16 record type | key
//! coordinator value             int16 version | value; no value at all is a tombstone
//! ```
//! Kafka: `MetadataRecordSerde`, `CoordinatorRecordSerde`. Record types this project does not know are None: a later
//! version wrote them.

use super::source::PySource;
use super::{Codec, error, named};
use ottla_protocol::codec::{encode, encode_newest};
use ottla_protocol::schema::{self, CoordinatorRecord, Message, kafka};
use ottla_protocol::wire::{Error, Reader, Writer};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Key and value of a record.
pub type Decoded<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyAny>>);

/// The only version of the frame around a metadata record.
const FRAME_VERSION: u32 = 1;

fn framing(fault: Error) -> PyErr {
    error::raise(format!("record: {fault}"))
}

/// The message an object is an instance of.
fn message_of(object: &Bound<'_, PyAny>) -> PyResult<&'static Message> {
    named(object.get_type().name()?.to_str()?)
}

pub fn encode_metadata<'py>(
    codec: &Codec,
    py: Python<'py>,
    record: &Bound<'py, PyAny>,
    version: i16,
) -> PyResult<Bound<'py, PyBytes>> {
    let message = message_of(record)?;
    let known = u32::try_from(message.key).ok().filter(|_| is_metadata(message));
    let (Some(key), Ok(wire_version)) = (known, u32::try_from(version)) else {
        return Err(error::raise(format!("{} version {version} is no metadata record", message.name)));
    };
    let mut out = Vec::with_capacity(128);
    let mut writer = Writer::new(&mut out);
    writer.uvarint(FRAME_VERSION);
    writer.uvarint(key);
    writer.uvarint(wire_version);
    codec.encode(py, message, version, record, &mut out)?;
    Ok(PyBytes::new(py, &out))
}

fn is_metadata(message: &'static Message) -> bool {
    schema::metadata_record(message.key).is_some_and(|known| std::ptr::eq(known, message))
}

pub fn decode_metadata<'py>(codec: &Codec, py: Python<'py>, value: &[u8]) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut reader = Reader::new(value);
    let frame_version = reader.uvarint("frame version").map_err(framing)?;
    if frame_version != FRAME_VERSION {
        return Err(error::raise(format!("record: frame version {frame_version}, known is {FRAME_VERSION}")));
    }
    let key = reader.uvarint("record type").map_err(framing)?;
    let version = reader.uvarint("record version").map_err(framing)?;
    let Some(message) = i16::try_from(key).ok().and_then(schema::metadata_record) else {
        return Ok(None);
    };
    let version =
        i16::try_from(version).map_err(|_| error::raise(format!("{} has no version {version}", message.name)))?;
    let record = codec.decode(py, message, version, &mut reader)?;
    reader.finish(message.name).map_err(framing)?;
    Ok(Some(record))
}

pub fn encode_coordinator<'py>(
    codec: &Codec,
    py: Python<'py>,
    key: &Bound<'py, PyAny>,
    value: Option<&Bound<'py, PyAny>>,
    version: Option<i16>,
) -> PyResult<(Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>)> {
    let message = message_of(key)?;
    let record = record_of_key(message)?;
    let mut out = Vec::with_capacity(128);
    Writer::new(&mut out).i16(record.kind);
    codec.encode(py, message, message.versions.high, key, &mut out)?;
    let key = PyBytes::new(py, &out);
    let Some(value) = value else {
        return Ok((key, None));
    };
    out.clear();
    let source = PySource::new(py, codec.bindings.of(py, record.value)?);
    let mut writer = Writer::new(&mut out);
    match version {
        Some(version) => {
            writer.i16(version);
            encode(record.value, version, value, &source, &mut writer)
        }
        None => {
            // The version goes in front of the value that decides it.
            writer.i16(0);
            encode_newest(record.value, value, &source, &mut out).map(|version| {
                if let Some(place) = out.first_chunk_mut::<2>() {
                    *place = version.to_be_bytes();
                }
            })
        }
    }
    .map_err(|fault| error::encoding(py, fault))?;
    Ok((key, Some(PyBytes::new(py, &out))))
}

fn record_of_key(message: &'static Message) -> PyResult<&'static CoordinatorRecord> {
    let all = kafka::GROUP_RECORDS.iter().chain(kafka::TRANSACTION_RECORDS);
    let mut found = all.filter(|record| std::ptr::eq(record.key, message));
    found.next().ok_or_else(|| error::raise(format!("{} is no key of a coordinator's record", message.name)))
}

pub fn decode_coordinator<'py>(
    codec: &Codec,
    py: Python<'py>,
    topic_kind: &str,
    key: &[u8],
    value: Option<&[u8]>,
) -> PyResult<Option<Decoded<'py>>> {
    let find = match topic_kind {
        "group" => schema::group_record,
        "transaction" => schema::transaction_record,
        other => {
            return Err(error::raise(format!("no coordinator has the topic kind {other:?}")));
        }
    };
    let mut reader = Reader::new(key);
    let Some(record) = find(reader.i16("record type").map_err(framing)?) else {
        return Ok(None);
    };
    let key = codec.decode(py, record.key, record.key.versions.high, &mut reader)?;
    let Some(value) = value else {
        return Ok(Some((key, None)));
    };
    let mut reader = Reader::new(value);
    let version = reader.i16("record version").map_err(framing)?;
    let value = codec.decode(py, record.value, version, &mut reader)?;
    Ok(Some((key, Some(value))))
}
