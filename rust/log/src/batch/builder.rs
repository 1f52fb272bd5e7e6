//! Makes batches: from plain records, and again from a batch that must change its codec.

use super::compression::{self, Compression};
use super::header::{self, BatchHeader, HEADER_BYTES};
use super::records::RecordView;
use super::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NewRecord, varint};

/// What goes into the header besides the records.
#[derive(Clone, Copy, Debug)]
pub struct BatchShape {
    pub compression: Compression,
    pub level: i32,
    /// Codec bits excepted; see [`header`].
    pub attributes: i16,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
}

impl BatchShape {
    /// A batch of no producer.
    pub fn plain(compression: Compression, level: i32) -> BatchShape {
        BatchShape {
            compression,
            level,
            attributes: 0,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
        }
    }
}

/// Collects records, then seals them into one batch with base offset 0.
#[derive(Debug)]
pub struct BatchBuilder {
    shape: BatchShape,
    /// Room for the header, then the records.
    bytes: Vec<u8>,
    count: i32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

impl BatchBuilder {
    pub fn new(shape: BatchShape) -> BatchBuilder {
        BatchBuilder { shape, bytes: vec![0; HEADER_BYTES], count: 0, base_timestamp_ms: 0, max_timestamp_ms: i64::MIN }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far, not compressed.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn push(&mut self, record: &NewRecord<'_>) {
        let headers = record.headers.iter().map(|(key, value)| (key.as_bytes(), *value));
        self.push_parts(record.timestamp_ms, record.key, record.value, record.headers.len(), headers);
    }

    /// The same record again, as it lies in another batch.
    pub(super) fn push_view(&mut self, timestamp_ms: i64, view: &RecordView<'_>) {
        self.push_parts(timestamp_ms, view.key, view.value, view.header_count(), view.headers());
    }

    fn push_parts<'h>(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        header_count: usize,
        headers: impl Iterator<Item = (&'h [u8], Option<&'h [u8]>)> + Clone,
    ) {
        if self.count == 0 {
            self.base_timestamp_ms = timestamp_ms;
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        let timestamp_delta = timestamp_ms.wrapping_sub(self.base_timestamp_ms);
        write_record(&mut self.bytes, timestamp_delta, self.count, key, value, header_count, headers);
        self.count += 1;
    }

    /// The batch, sealed. None without records, or when it would be longer than a length field can say.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        if self.count == 0 || self.bytes.len() > i32::MAX as usize {
            return None;
        }
        if self.shape.compression != Compression::None {
            let mut packed = vec![0; HEADER_BYTES];
            compression::compress(self.shape.compression, self.shape.level, &self.bytes[HEADER_BYTES..], &mut packed);
            self.bytes = packed;
        }
        let header = BatchHeader {
            base_offset: 0,
            length: i32::try_from(self.bytes.len() - header::FRAMING_BYTES).ok()?,
            leader_epoch: -1,
            magic: header::MAGIC,
            crc: 0,
            attributes: self.shape.attributes | self.shape.compression as i16,
            last_offset_delta: self.count - 1,
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
            producer_id: self.shape.producer_id,
            producer_epoch: self.shape.producer_epoch,
            base_sequence: self.shape.base_sequence,
            record_count: self.count,
        };
        header.write(&mut self.bytes);
        header::seal(&mut self.bytes);
        Some(self.bytes)
    }
}

/// A record of a batch again, at another distance from its base timestamp.
pub(crate) fn write_view(to: &mut Vec<u8>, timestamp_delta: i64, view: &RecordView<'_>) {
    write_record(to, timestamp_delta, view.offset_delta, view.key, view.value, view.header_count(), view.headers());
}

fn write_record<'h>(
    to: &mut Vec<u8>,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    header_count: usize,
    headers: impl Iterator<Item = (&'h [u8], Option<&'h [u8]>)> + Clone,
) {
    let field = |value: Option<&[u8]>| value.map_or(1, |value| varint::length_i32(value.len() as i32) + value.len());
    let length = 1
        + varint::length_i64(timestamp_delta)
        + varint::length_i32(offset_delta)
        + field(key)
        + field(value)
        + varint::length_i32(header_count as i32)
        + headers.clone().map(|(key, value)| field(Some(key)) + field(value)).sum::<usize>();
    varint::write_i32(to, length as i32);
    to.push(0);
    varint::write_i64(to, timestamp_delta);
    varint::write_i32(to, offset_delta);
    write_field(to, key);
    write_field(to, value);
    varint::write_i32(to, header_count as i32);
    for (key, value) in headers {
        write_field(to, Some(key));
        write_field(to, value);
    }
}

fn write_field(to: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => varint::write_i32(to, -1),
        Some(value) => {
            varint::write_i32(to, value.len() as i32);
            to.extend_from_slice(value);
        }
    }
}

/// One batch of plain records; None without records.
pub fn build(shape: BatchShape, records: &[NewRecord<'_>]) -> Option<Vec<u8>> {
    let mut builder = BatchBuilder::new(shape);
    for record in records {
        builder.push(record);
    }
    builder.finish()
}
