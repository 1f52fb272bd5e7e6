//! `.snapshot`: the producers of a partition as they were at the offset in the name. Big-endian:
//!
//! ```text
//! version i16 (1)   crc u32 (CRC32C of all that follows)   count i32
//! then entries of 46 bytes: producer id i64, epoch i16, last sequence i32, last offset i64, offset delta i32, timestamp i64,
//!                           coordinator epoch i32, first offset of the open transaction i64 (-1: none)
//! ```
//!
//! Kafka writes one entry per producer, its last batch; after a restart it answers only that one as a duplicate. We write up to five
//! entries per producer, oldest first, so that all five are known again. Kafka reads such a file too: for it the last entry of a
//! producer counts, and only that one names the open transaction.

use std::collections::VecDeque;

use super::producers::{BATCHES_KEPT, Producer, Producers, WrittenBatch};
use crate::batch::NO_SEQUENCE;

const VERSION: i16 = 1;
const HEAD_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;
/// The checksum covers what follows it.
const CHECKSUMMED_FROM: usize = 6;
/// The most that is read: a million producers with five batches each.
pub const BYTES_MAX: u64 = (HEAD_BYTES + 5_000_000 * ENTRY_BYTES) as u64;

pub fn encode(producers: &Producers) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_BYTES];
    let mut count = 0i32;
    for (id, producer) in producers.sorted() {
        // A producer known by a marker alone has no batch but an epoch to keep.
        let none = WrittenBatch {
            last_sequence: NO_SEQUENCE,
            last_offset: -1,
            offset_delta: 0,
            timestamp_ms: producer.last_timestamp_ms,
        };
        let last = producer.batches.len().saturating_sub(1);
        let empty = producer.batches.is_empty().then_some(&none);
        for (index, batch) in producer.batches.iter().chain(empty).enumerate() {
            let is_last = index == last;
            bytes.extend(id.to_be_bytes());
            bytes.extend(producer.epoch.to_be_bytes());
            bytes.extend(batch.last_sequence.to_be_bytes());
            bytes.extend(batch.last_offset.to_be_bytes());
            bytes.extend(batch.offset_delta.to_be_bytes());
            let timestamp_ms = if is_last { producer.last_timestamp_ms } else { batch.timestamp_ms };
            bytes.extend(timestamp_ms.to_be_bytes());
            bytes.extend(producer.coordinator_epoch.to_be_bytes());
            bytes.extend(producer.transaction_start.filter(|_| is_last).unwrap_or(-1).to_be_bytes());
            count += 1;
        }
    }
    bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
    bytes[6..10].copy_from_slice(&count.to_be_bytes());
    let crc = crc_fast::crc32_iscsi(&bytes[CHECKSUMMED_FROM..]);
    bytes[2..6].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Whether that is what [`encode`] writes.
pub(crate) fn is_snapshot(bytes: &[u8]) -> bool {
    decode(bytes).is_some()
}

/// None when the bytes are damaged; then an older snapshot and more of the log are read.
pub fn decode(bytes: &[u8]) -> Option<Producers> {
    let mut reader = Reader { bytes };
    if i16::from_be_bytes(reader.take()?) != VERSION
        || u32::from_be_bytes(reader.take()?) != crc_fast::crc32_iscsi(bytes.get(CHECKSUMMED_FROM..)?)
    {
        return None;
    }
    let count = usize::try_from(i32::from_be_bytes(reader.take()?)).ok()?;
    if reader.bytes.len() != count.checked_mul(ENTRY_BYTES)? {
        return None;
    }
    let mut producers = Producers::default();
    let mut current: Option<(i64, Producer)> = None;
    for _ in 0..count {
        let id = i64::from_be_bytes(reader.take()?);
        let epoch = i16::from_be_bytes(reader.take()?);
        let batch = WrittenBatch {
            last_sequence: i32::from_be_bytes(reader.take()?),
            last_offset: i64::from_be_bytes(reader.take()?),
            offset_delta: i32::from_be_bytes(reader.take()?),
            timestamp_ms: i64::from_be_bytes(reader.take()?),
        };
        let coordinator_epoch = i32::from_be_bytes(reader.take()?);
        let transaction_start = Some(i64::from_be_bytes(reader.take()?)).filter(|offset| *offset >= 0);
        let (_, producer) = match &mut current {
            Some(current) if current.0 == id && current.1.epoch == epoch => current,
            current => {
                if let Some((id, producer)) = current.take() {
                    producers.restore(id, producer);
                }
                let producer = Producer {
                    epoch,
                    batches: VecDeque::new(),
                    coordinator_epoch,
                    last_timestamp_ms: -1,
                    transaction_start: None,
                };
                current.insert((id, producer))
            }
        };
        producer.last_timestamp_ms = batch.timestamp_ms;
        producer.coordinator_epoch = coordinator_epoch;
        producer.transaction_start = transaction_start;
        if batch.last_sequence != NO_SEQUENCE {
            if producer.batches.len() == BATCHES_KEPT {
                producer.batches.pop_front();
            }
            producer.batches.push_back(batch);
        }
    }
    if let Some((id, producer)) = current {
        producers.restore(id, producer);
    }
    Some(producers)
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (value, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*value)
    }
}
