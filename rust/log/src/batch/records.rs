//! The records of a batch, walked in place. Each, after its varint length: attributes i8 (unused), timestamp delta, offset delta, key,
//! value, header count, headers (key, value); every number but the first a zigzag varint, every length -1 for null.

use super::header::BatchHeader;
use super::varint::{self, Window};
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

    /// As they lie there, for [`Headers::new`].
    pub fn header_bytes(&self) -> &'a [u8] {
        self.headers
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

    #[inline(always)]
    fn parse(&mut self) -> Result<RecordView<'a>, Malformed> {
        if let Some((record, end)) = parse_plain(self.bytes, self.at) {
            self.at = end;
            return Ok(record);
        }
        self.parse_any()
    }

    #[cold]
    fn parse_any(&mut self) -> Result<RecordView<'a>, Malformed> {
        let length = varint::read_i32(self.bytes, &mut self.at).ok_or(Malformed::Cut)?;
        let bytes_of_record = usize::try_from(length).map_err(|_| Malformed::Length(length))?;
        let rest = &self.bytes[self.at..];
        let bytes = rest.get(..bytes_of_record).ok_or(Malformed::TooLong { length, left: rest.len() })?;
        self.at += bytes_of_record;
        parse_body(bytes).ok_or(Malformed::Fields { length })
    }
}

/// A record as most are: no headers, and lengths and deltas of two bytes at most. Where it ends is told with it. None: it is another kind,
/// or is malformed, or lies at the very end; [`Records::parse_any`] knows.
#[inline(always)]
fn parse_plain(bytes: &[u8], at: usize) -> Option<(RecordView<'_>, usize)> {
    let mut begin = Window::at(bytes, at)?;
    let length = plain_length(begin.short()?)?;
    let body = begin.finish()?;
    let end = body + length;
    let mut fields = Window::at(bytes, body)?;
    fields.skip_byte();
    let timestamp_delta = i64::from(varint::unfold(fields.short()?));
    let offset_delta = varint::unfold(fields.short()?);
    let key_length = fields.short()?;
    let (key, after_key) = plain_bytes(bytes, key_length, fields.finish()?)?;
    let mut rest = Window::at(bytes, after_key)?;
    let value_length = rest.short()?;
    let (value, after_value) = plain_bytes(bytes, value_length, rest.finish()?)?;
    // No headers, and nothing behind their count.
    if after_value + 1 != end || *bytes.get(after_value)? != 0 {
        return None;
    }
    Some((RecordView { timestamp_delta, offset_delta, key, value, header_count: 0, headers: &[] }, end))
}

/// Zigzag makes an even number of a length.
#[inline(always)]
fn plain_length(folded: u32) -> Option<usize> {
    (folded & 1 == 0).then_some(folded as usize >> 1)
}

/// So many bytes at `at`, and where they end; every negative length is null, as in Kafka.
#[inline(always)]
fn plain_bytes(bytes: &[u8], folded: u32, at: usize) -> Option<(Option<&[u8]>, usize)> {
    match plain_length(folded) {
        None => Some((None, at)),
        Some(length) => Some((Some(bytes.get(at..at + length)?), at + length)),
    }
}

/// Why records cannot be read. Put into words only when somebody asks: a walk is made of every record that comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a record is cut")]
    Cut,
    #[error("a record has length {0}")]
    Length(i32),
    #[error("a record of {length} bytes has only {left} left")]
    TooLong { length: i32, left: usize },
    #[error("the fields of a record of {length} bytes do not fill it exactly")]
    Fields { length: i32 },
    #[error("{0} bytes are left after the last record")]
    LeftOver(usize),
}

impl From<Malformed> for String {
    fn from(what: Malformed) -> String {
        what.to_string()
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
    type Item = Result<RecordView<'a>, Malformed>;

    /// In line, so that a walk that looks at two fields makes no more of a record than those.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left <= 0 {
            if self.left == 0 && self.at != self.bytes.len() {
                self.left = -1;
                return Some(Err(Malformed::LeftOver(self.bytes.len() - self.at)));
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

impl<'a> Headers<'a> {
    /// Of a record that was walked before: `count` of them.
    pub fn new(bytes: &'a [u8], count: usize) -> Headers<'a> {
        Headers { left: i32::try_from(count).unwrap_or(0), bytes, at: 0 }
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What matters of a record, where it ended, or why it did not.
    type Told<'a> = Result<(i64, i32, Option<&'a [u8]>, Option<&'a [u8]>, usize, usize), Malformed>;

    fn told<'a>(record: Result<RecordView<'a>, Malformed>, end: usize) -> Told<'a> {
        let RecordView { timestamp_delta, offset_delta, key, value, .. } = record?;
        Ok((timestamp_delta, offset_delta, key, value, record?.header_count(), end))
    }

    fn record(delta: i64, offset: i32, key: Option<&[u8]>, value: Option<&[u8]>, headers: i32) -> Vec<u8> {
        let mut body = vec![0];
        varint::write_i64(&mut body, delta);
        varint::write_i32(&mut body, offset);
        for bytes in [key, value] {
            varint::write_i32(&mut body, bytes.map_or(-1, |bytes| bytes.len() as i32));
            body.extend_from_slice(bytes.unwrap_or_default());
        }
        varint::write_i32(&mut body, headers);
        for _ in 0..headers {
            varint::write_i32(&mut body, 1);
            body.push(b'h');
            varint::write_i32(&mut body, -1);
        }
        let mut record = Vec::new();
        varint::write_i32(&mut record, body.len() as i32);
        record.extend(body);
        record
    }

    prop_compose! {
        fn any_record()(
            delta in prop_oneof![-70..9000i64, any::<i64>()],
            offset in prop_oneof![-70..9000i32, any::<i32>()],
            key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80)),
            value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9000)),
            headers in prop_oneof![Just(0), 0..3i32],
        ) -> Vec<u8> {
            record(delta, offset, key.as_deref(), value.as_deref(), headers)
        }
    }

    proptest! {
        /// The short way through a record tells what the long one does, of records whole or broken.
        #[test]
        fn both_ways_tell_the_same(
            records in proptest::collection::vec(any_record(), 1..4),
            changes in proptest::collection::vec((0..40usize, any::<u8>()), 0..3),
            cut in 0..10usize,
        ) {
            let mut bytes = records.concat();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len() - cut.min(bytes.len()));
            let (mut short, mut long) = (Records::new(&bytes, 9), Records::new(&bytes, 9));
            for _ in 0..records.len() {
                let (one, other) = (short.parse(), long.parse_any());
                prop_assert_eq!(told(one, short.at), told(other, long.at));
                if one.is_err() {
                    break;
                }
            }
        }
    }

    /// Most records do go the short way.
    #[test]
    fn usual_records_are_plain() {
        for bytes in [record(0, 0, None, Some(&[1; 100]), 0), record(8191, 8191, Some(b"key"), Some(&[1; 8000]), 0)] {
            let followed = [&bytes[..], &bytes[..]].concat();
            assert!(parse_plain(&followed, 0).is_some_and(|(_, end)| end == bytes.len()));
        }
        let with_header = record(0, 0, None, None, 1).repeat(2);
        assert!(parse_plain(&with_header, 0).is_none());
    }
}
