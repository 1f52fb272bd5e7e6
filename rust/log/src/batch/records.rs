//! The records of a batch, walked in place. Each, after its varint length: attributes i8 (unused), timestamp delta, offset delta, key,
//! value, header count, headers (key, value); every number but the first a zigzag varint, every length -1 for null.

use super::header::BatchHeader;
use super::varint;
use crate::Offset;

/// One record; key, value and headers lie in the batch (or in what it was decompressed into).
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    header_count: i32,
    headers: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// In the order they were written; keys may repeat.
    pub fn headers(&self) -> Headers<'a> {
        Headers { left: self.header_count, bytes: self.headers, at: 0 }
    }

    pub fn header_count(&self) -> usize {
        usize::try_from(self.header_count).unwrap_or(0)
    }
}

/// Walks records until the declared count is reached. What is malformed is said in words, once; then the walk is over.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    left: i32,
}

impl<'a> Records<'a> {
    /// `bytes` are the records, decompressed; `count` is what the header says.
    pub fn new(bytes: &'a [u8], count: i32) -> Records<'a> {
        Records { bytes, at: 0, left: count }
    }

    /// Where the next record begins.
    pub fn position(&self) -> usize {
        self.at
    }

    fn parse(&mut self) -> Result<RecordView<'a>, String> {
        let cut = || "a record is cut".to_owned();
        let length = varint::read_i32(self.bytes, &mut self.at).ok_or_else(cut)?;
        let length = usize::try_from(length).map_err(|_| format!("a record has length {length}"))?;
        let rest = &self.bytes[self.at..];
        let bytes =
            rest.get(..length).ok_or_else(|| format!("a record of {length} bytes has only {} left", rest.len()))?;
        self.at += length;
        let record = parse_body(bytes)
            .ok_or_else(|| format!("the fields of a record of {length} bytes do not fill it exactly"))?;
        Ok(record)
    }
}

/// A length that is -1 for null.
#[inline]
fn nullable<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Option<&'a [u8]>> {
    let length = varint::read_i32(bytes, at)?;
    if length < 0 {
        // Kafka reads every negative length as null.
        return Some(None);
    }
    let value = bytes.get(*at..at.checked_add(length as usize)?)?;
    *at += length as usize;
    Some(Some(value))
}

#[inline]
fn parse_body(bytes: &[u8]) -> Option<RecordView<'_>> {
    let mut at = 1;
    bytes.first()?;
    let timestamp_delta = varint::read_i64(bytes, &mut at)?;
    let offset_delta = varint::read_i32(bytes, &mut at)?;
    let key = nullable(bytes, &mut at)?;
    let value = nullable(bytes, &mut at)?;
    let header_count = varint::read_i32(bytes, &mut at)?;
    let headers = &bytes[at..];
    if header_count < 0 || header_count as usize > headers.len() {
        return None;
    }
    let mut walked = 0;
    for _ in 0..header_count {
        nullable(headers, &mut walked)??;
        nullable(headers, &mut walked)?;
    }
    (walked == headers.len()).then_some(RecordView { timestamp_delta, offset_delta, key, value, header_count, headers })
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            if self.left == 0 && self.at != self.bytes.len() {
                self.left = -1;
                return Some(Err(format!("{} bytes are left after the last record", self.bytes.len() - self.at)));
            }
            return None;
        }
        self.left -= 1;
        let record = self.parse();
        if record.is_err() {
            self.left = -1;
        }
        Some(record)
    }
}

/// Headers of one record.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    left: i32,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        // The walk that made the record has been over these bytes: both reads succeed.
        Some((nullable(self.bytes, &mut self.at)??, nullable(self.bytes, &mut self.at)?))
    }
}

/// A record with everything its batch says about it, as replay and embedded reads see it.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    pub offset: Offset,
    pub timestamp_ms: i64,
    pub leader_epoch: i32,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub is_control: bool,
    pub is_transactional: bool,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    view: RecordView<'a>,
}

impl<'a> RecordRef<'a> {
    pub fn new(header: &BatchHeader, view: RecordView<'a>) -> RecordRef<'a> {
        let timestamp_ms = if header.is_log_append_time() {
            header.max_timestamp_ms
        } else {
            header.base_timestamp_ms.wrapping_add(view.timestamp_delta)
        };
        RecordRef {
            offset: header.base_offset.wrapping_add(i64::from(view.offset_delta)),
            timestamp_ms,
            leader_epoch: header.leader_epoch,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            is_control: header.is_control(),
            is_transactional: header.is_transactional(),
            key: view.key,
            value: view.value,
            view,
        }
    }

    pub fn headers(&self) -> Headers<'a> {
        self.view.headers()
    }
}
