//! Everything a batch must pass before it is appended, in the order Apache Kafka checks it: `ProduceRequest.validateRecords`, then
//! `UnifiedLog.analyzeAndValidateRecords`, then `LogValidator`. Nothing here knows the partition's state; producers' epochs and
//! sequences are checked under its lock.
//!
//! On purpose different from Kafka: offsets inside a batch must be 0..n-1 whether it is compressed or not (Kafka lets an uncompressed
//! batch with other deltas pass and serves them); a batch may unpack to a bounded size only (MESSAGE_TOO_LARGE, upon which a Java
//! producer splits it); packed bytes that no codec reads give INVALID_RECORD (Kafka: UNKNOWN_SERVER_ERROR).

use super::builder::{BatchBuilder, BatchShape};
use super::compression::{self, Compression, DecompressError};
use super::header::{self, BatchHeader, FRAMING_BYTES, HEADER_BYTES};
use super::records::{Malformed, RecordView, Records};
use super::{NO_TIMESTAMP, control};
use crate::error::{AppendError, RecordError};
use crate::partition::Origin;
use crate::partition::config::{CompressionSetting, PartitionConfig, TimestampType};

/// Bytes up to and with the magic: what Kafka wants to see before it calls bytes a batch.
const MAGIC_END: usize = 17;
/// The smallest a length field may be in any format Kafka ever had.
const LENGTH_MIN: i32 = 14;
/// Record errors told to the client one by one.
const RECORD_ERRORS_MAX: usize = 1000;

/// What the checks depend on besides the batch.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// `topic-partition`, for messages.
    pub name: &'a str,
    pub config: &'a PartitionConfig,
    pub origin: Origin,
    /// Produce below version 7 may not carry zstd (KIP-110).
    pub zstd_allowed: bool,
    pub size_limited: bool,
    pub now_ms: i64,
}

/// A batch that may be appended.
#[derive(Debug)]
pub struct Checked {
    /// As it will be stored, but for base offset and leader epoch.
    pub header: BatchHeader,
    /// Bytes of the frame that are the batch; what followed was an incomplete one and is dropped, as in Kafka.
    pub bytes: usize,
    /// The batch made anew, when its codec had to change.
    pub rewritten: Option<Vec<u8>>,
    /// The marker and coordinator epoch of an end-of-transaction batch.
    pub marker: Option<(control::Marker, i32)>,
    /// The topic's timestamps are LogAppendTime: what was stamped, else -1.
    pub log_append_time_ms: i64,
}

/// Checks the one batch in `frame`; stamps it (max timestamp, timestamp type, checksum) where it lies, or makes it anew.
pub fn validate(frame: &mut [u8], rules: &Rules<'_>) -> Result<Checked, AppendError> {
    let (mut header, bytes) = one_batch(frame, rules)?;
    let batch = &mut frame[..bytes];
    let compression = check_header(&header, batch, rules)?;
    let target = match rules.config.compression {
        CompressionSetting::Always(target) if !header.is_control() => target,
        _ => compression,
    };
    let walk = compression::with_scratch(|scratch| -> Result<Walk, AppendError> {
        let records = if compression == Compression::None {
            &batch[HEADER_BYTES..]
        } else {
            unpack(compression, &batch[HEADER_BYTES..], rules, scratch)?;
            scratch.as_slice()
        };
        let mut walk = walk(&header, records, rules)?;
        if target != compression {
            walk.rewritten = Some(rewrite(&header, records, target, rules)?);
        }
        Ok(walk)
    })?;
    let log_append_time = rules.config.timestamp_type == TimestampType::LogAppendTime;
    let max_timestamp_ms = if log_append_time { rules.now_ms } else { walk.max_timestamp_ms };
    let mut checked = Checked {
        header,
        bytes,
        rewritten: walk.rewritten,
        marker: walk.marker,
        log_append_time_ms: if log_append_time { rules.now_ms } else { NO_TIMESTAMP },
    };
    let stored = match &mut checked.rewritten {
        Some(rewritten) => {
            header = BatchHeader::read(rewritten).ok_or_else(|| AppendError::invalid("Record batch is empty"))?;
            rewritten.as_mut_slice()
        }
        None => batch,
    };
    if log_append_time != header.is_log_append_time() || max_timestamp_ms != header.max_timestamp_ms {
        header.attributes = if log_append_time {
            header.attributes | header::LOG_APPEND_TIME_BIT
        } else {
            header.attributes & !header::LOG_APPEND_TIME_BIT
        };
        header.max_timestamp_ms = max_timestamp_ms;
        header.crc = header::restamp(stored, header.attributes, max_timestamp_ms);
    }
    checked.header = header;
    check_size(stored.len(), rules)?;
    if stored.len() > rules.config.segment_bytes as usize {
        return Err(AppendError::RecordListTooLarge(format!(
            "Message batch size is {} bytes in append to partition {}, which exceeds the maximum configured segment size of {}.",
            stored.len(),
            rules.name,
            rules.config.segment_bytes
        )));
    }
    Ok(checked)
}

/// Length of the batch that begins `bytes`, if a whole one does. Kafka's `ByteBufferLogInputStream`.
fn framed(bytes: &[u8], name: &str) -> Result<Option<usize>, AppendError> {
    if bytes.len() < FRAMING_BYTES {
        return Ok(None);
    }
    let length = i32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    if length < LENGTH_MIN {
        return Err(AppendError::CorruptMessage(format!(
            "Record size {length} is less than the minimum record overhead (14) in {name}"
        )));
    }
    if bytes.len() < MAGIC_END {
        return Ok(None);
    }
    let magic = bytes[MAGIC_END - 1] as i8;
    if !(0..=header::MAGIC).contains(&magic) {
        return Err(AppendError::CorruptMessage(format!("Invalid magic found in record: {magic} in {name}")));
    }
    let total = length as usize + FRAMING_BYTES;
    Ok((total <= bytes.len()).then_some(total))
}

/// The frame holds one batch, of magic 2, no more and no less.
fn one_batch(frame: &[u8], rules: &Rules<'_>) -> Result<(BatchHeader, usize), AppendError> {
    let name = rules.name;
    let bytes = framed(frame, name)?.ok_or_else(|| {
        AppendError::NotOneBatch(format!("Produce requests must have at least one record batch per partition ({name})"))
    })?;
    let magic = frame[MAGIC_END - 1] as i8;
    if magic != header::MAGIC {
        return Err(AppendError::NotOneBatch(format!(
            "Produce requests are only allowed to contain record batches with magic version 2, not {magic} ({name})"
        )));
    }
    if framed(&frame[bytes..], name)?.is_some() {
        return Err(AppendError::NotOneBatch(format!(
            "Produce requests are only allowed to contain exactly one record batch per partition ({name})"
        )));
    }
    let header = BatchHeader::read(&frame[..bytes]).ok_or_else(|| {
        AppendError::CorruptMessage(format!("Record is corrupt: {bytes} bytes are fewer than a batch header in {name}"))
    })?;
    Ok((header, bytes))
}

fn check_size(bytes: usize, rules: &Rules<'_>) -> Result<(), AppendError> {
    if rules.size_limited && bytes > rules.config.message_bytes_max as usize {
        return Err(AppendError::MessageTooLarge(format!(
            "The record batch size in the append to {} is {bytes} bytes which exceeds the maximum configured value of {}.",
            rules.name, rules.config.message_bytes_max
        )));
    }
    Ok(())
}

fn check_header(header: &BatchHeader, batch: &[u8], rules: &Rules<'_>) -> Result<Compression, AppendError> {
    let name = rules.name;
    let compression = header.compression().ok_or_else(|| {
        AppendError::UnsupportedCompressionType(format!(
            "Unknown compression type id {} in {name}",
            header.attributes & 7
        ))
    })?;
    if compression == Compression::Zstd && !rules.zstd_allowed {
        return Err(AppendError::UnsupportedCompressionType(format!(
            "Produce requests below version 7 are not allowed to use ZStandard compression ({name})"
        )));
    }
    let client = rules.origin == Origin::Client;
    if client && header.base_offset != 0 {
        return Err(AppendError::invalid(format!(
            "The baseOffset of the record batch in the append to {name} should be 0, but it is {}",
            header.base_offset
        )));
    }
    check_size(batch.len(), rules)?;
    let computed = header::checksum(batch);
    if computed != header.crc {
        return Err(AppendError::CorruptMessage(format!(
            "Record is corrupt (stored crc = {}, computed crc = {computed}) in topic partition {name}.",
            header.crc
        )));
    }
    if header.last_offset_delta < 0 {
        return Err(AppendError::invalid(format!(
            "Batch has an invalid offset range: [{}, {}] in topic partition {name}",
            header.base_offset,
            header.last_offset()
        )));
    }
    if header.record_count <= 0 {
        return Err(AppendError::invalid(format!(
            "Invalid reported count for record batch: {} in topic partition {name}",
            header.record_count
        )));
    }
    if header.last_offset_delta != header.record_count - 1 {
        return Err(AppendError::invalid(format!(
            "Inconsistent batch offset range [{}, {}] and count of records {} in topic partition {name}",
            header.base_offset,
            header.last_offset(),
            header.record_count
        )));
    }
    if client && header.is_control() {
        return Err(AppendError::invalid(format!(
            "Clients are not allowed to write control records in topic partition {name}"
        )));
    }
    if client && header.has_producer() && header.base_sequence < 0 {
        return Err(AppendError::invalid(format!(
            "Invalid sequence number {} in record batch with producerId {} in topic partition {name}",
            header.base_sequence, header.producer_id
        )));
    }
    Ok(compression)
}

fn unpack(
    compression: Compression,
    packed: &[u8],
    rules: &Rules<'_>,
    scratch: &mut Vec<u8>,
) -> Result<(), AppendError> {
    let bytes_max = rules.config.decompressed_bytes_max as usize;
    compression::decompress(compression, packed, bytes_max, scratch).map_err(|error| match error {
        DecompressError::TooLarge(_) => AppendError::MessageTooLarge(format!(
            "The record batch in the append to {} {error} ({})",
            rules.name,
            compression.name()
        )),
        DecompressError::Corrupt(_) => {
            AppendError::invalid(format!("The {} data in the append to {} {error}", compression.name(), rules.name))
        }
    })
}

#[derive(Debug)]
struct Walk {
    max_timestamp_ms: i64,
    marker: Option<(control::Marker, i32)>,
    rewritten: Option<Vec<u8>>,
}

/// Every record, without allocation unless one is refused. Millions of them come in each second: what is as it should be passes with four
/// comparisons, and only what is not is judged.
fn walk(header: &BatchHeader, records: &[u8], rules: &Rules<'_>) -> Result<Walk, AppendError> {
    let judge = Judge::new(header, rules);
    let has_own_times = !header.is_log_append_time();
    let (oldest_ms, newest_ms) = if judge.create_time { judge.times_ms } else { (i64::MIN, i64::MAX) };
    let mut max_timestamp_ms = NO_TIMESTAMP;
    let mut errors = Errors::default();
    for (index, record) in (0i32..).zip(Records::new(records, header.record_count)) {
        let record = record.map_err(|what| malformed(what, rules))?;
        let timestamp_ms = judge.timestamp_ms(&record);
        let is_plain = has_own_times
            && record.offset_delta == index
            && (oldest_ms..=newest_ms).contains(&timestamp_ms)
            && (!judge.compacted || record.key.is_some());
        if !is_plain {
            judge.judge(index, &record, &mut errors);
        }
        max_timestamp_ms = max_timestamp_ms.max(timestamp_ms);
    }
    errors.finish()?;
    let marker = if header.is_control() { marker(header, records) } else { None };
    Ok(Walk { max_timestamp_ms, marker, rewritten: None })
}

fn marker(header: &BatchHeader, records: &[u8]) -> Option<(control::Marker, i32)> {
    let first = Records::new(records, header.record_count).next()?.ok()?;
    control::read_end_marker(first.key, first.value)
}

#[cold]
fn malformed(what: Malformed, rules: &Rules<'_>) -> AppendError {
    AppendError::invalid(format!("Found invalid record structure in {}: {what}", rules.name))
}

/// What a record must be, in the order Apache Kafka asks.
struct Judge<'a> {
    header: &'a BatchHeader,
    name: &'a str,
    create_time: bool,
    compacted: bool,
    /// The oldest and the newest a record may be.
    times_ms: (i64, i64),
}

impl<'a> Judge<'a> {
    fn new(header: &'a BatchHeader, rules: &Rules<'a>) -> Self {
        let config = rules.config;
        Self {
            header,
            name: rules.name,
            create_time: config.timestamp_type == TimestampType::CreateTime,
            compacted: config.cleanup_policy.compact && !header.is_control(),
            times_ms: (
                rules.now_ms.saturating_sub(config.timestamp_before_max_ms),
                rules.now_ms.saturating_add(config.timestamp_after_max_ms),
            ),
        }
    }

    #[inline(always)]
    fn timestamp_ms(&self, record: &RecordView<'_>) -> i64 {
        if self.header.is_log_append_time() {
            self.header.max_timestamp_ms
        } else {
            self.header.base_timestamp_ms.wrapping_add(record.timestamp_delta)
        }
    }

    #[cold]
    fn judge(&self, index: i32, record: &RecordView<'_>, errors: &mut Errors) {
        let (name, timestamp_ms, (oldest_ms, newest_ms)) = (self.name, self.timestamp_ms(record), self.times_ms);
        if self.compacted && record.key.is_none() {
            errors.record(index, || {
                format!("Compacted topic cannot accept message without key in topic partition {name}.")
            });
        } else if self.create_time && timestamp_ms != NO_TIMESTAMP {
            if !(oldest_ms..=newest_ms).contains(&timestamp_ms) {
                errors.timestamp(index, || {
                    format!(
                        "Timestamp {timestamp_ms} of message with offset {} is out of range. The timestamp should be within [{oldest_ms}, {newest_ms}]",
                        record.offset_delta
                    )
                });
            }
        } else if self.header.is_log_append_time() {
            errors.timestamp(index, || {
                format!("Invalid timestamp type in message with offset {}. Producer should not set timestamp type to LogAppendTime.", record.offset_delta)
            });
        }
        if record.offset_delta != index {
            errors.record(index, || {
                format!(
                    "Inner record with offset {} inside the record batch does not have incremental offsets, expected offset is {index} in topic partition {name}.",
                    record.offset_delta
                )
            });
        }
    }
}

/// Refused records; an invalid timestamp among them names the whole refusal, as in Kafka.
#[derive(Debug, Default)]
struct Errors {
    records: Vec<RecordError>,
    total: usize,
    any_timestamp: bool,
}

impl Errors {
    fn record(&mut self, batch_index: i32, message: impl FnOnce() -> String) {
        self.total += 1;
        if self.records.len() < RECORD_ERRORS_MAX {
            self.records.push(RecordError { batch_index, message: message() });
        }
    }

    fn timestamp(&mut self, batch_index: i32, message: impl FnOnce() -> String) {
        self.any_timestamp = true;
        self.record(batch_index, message);
    }

    fn finish(self) -> Result<(), AppendError> {
        if self.records.is_empty() {
            return Ok(());
        }
        if self.any_timestamp {
            let message = "One or more records have been rejected due to invalid timestamp".to_owned();
            return Err(AppendError::InvalidTimestamp { message, records: self.records });
        }
        let shown: Vec<String> = self
            .records
            .iter()
            .take(3)
            .map(|error| format!("RecordError(batchIndex={}, message='{}')", error.batch_index, error.message))
            .collect();
        let message = format!(
            "One or more records have been rejected due to {} record errors in total, and only showing the first three errors at most: [{}]",
            self.total,
            shown.join(", ")
        );
        Err(AppendError::InvalidRecord { message, records: self.records })
    }
}

/// The same records in a batch of another codec.
fn rewrite(
    header: &BatchHeader,
    records: &[u8],
    target: Compression,
    rules: &Rules<'_>,
) -> Result<Vec<u8>, AppendError> {
    let mut builder = BatchBuilder::new(BatchShape {
        compression: target,
        level: rules.config.level_of(target),
        attributes: header.attributes & header::TRANSACTIONAL_BIT,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
    });
    for record in Records::new(records, header.record_count) {
        let record = record.map_err(AppendError::invalid)?;
        builder.push_view(header.base_timestamp_ms.wrapping_add(record.timestamp_delta), &record);
    }
    builder.finish().ok_or_else(|| {
        AppendError::MessageTooLarge(format!("The record batch in the append to {} is too large", rules.name))
    })
}
