//! Fold: what a coordinator's topic says, without what has been overwritten since.
//!
//! A coordinator's state is a fold over its log in which the last record of a key counts: that is what makes compaction of its topic
//! right. The same choice is made here while the log is read, so that five million commits of fifty thousand keys come up as fifty
//! thousand records:
//!
//! ```text
//! plain record               takes the place of what its key had; a tombstone removes it, and what open transactions had for the key
//! record of a transaction    waits, the last one for each producer and key
//! commit marker              what its producer has waiting takes the place of what has a lower offset (a plain record written
//!                            meanwhile stays, as in Kafka: `OffsetMetadataManager.replayEndTransactionMarker`)
//! abort marker               what its producer has waiting goes
//! end                        what is left, and what still waits, by offset
//! ```
//!
//! In memory are one piece of the log, the live keys and what open transactions wrote: no more than the coordinator will hold itself.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Partition, ReadUpTo};
use crate::Offset;
use crate::batch::control::{Marker, read_end_marker};
use crate::batch::records::RecordRef;
use crate::batch::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID};
use crate::error::ReadError;

/// A record that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldedRecord {
    pub offset: Offset,
    pub key: Arc<[u8]>,
    pub value: Vec<u8>,
    /// [`NO_PRODUCER_ID`] unless its transaction is still open.
    pub producer_id: i64,
    pub producer_epoch: i16,
}

/// What counts of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// In the order of their offsets.
    pub records: Vec<FoldedRecord>,
    /// Everything before was read.
    pub end_offset: Offset,
    /// How many records that was.
    pub records_read: u64,
    /// Records without a key, which mean nothing.
    pub without_key: u64,
}

struct Value {
    offset: Offset,
    /// Of its producer, while its transaction is open.
    epoch: i16,
    value: Vec<u8>,
}

type Values = HashMap<Arc<[u8]>, Value>;

#[derive(Default)]
struct Fold {
    last: Values,
    /// What the open transaction of each producer wrote.
    open: HashMap<i64, Values>,
    /// Producers whose open transactions wrote a key.
    writers: HashMap<Arc<[u8]>, Vec<i64>>,
    records_read: u64,
    without_key: u64,
}

/// Overwrites what a key had, in its place.
fn put(map: &mut Values, key: &[u8], record: &RecordRef<'_>, value: &[u8]) {
    match map.get_mut(key) {
        Some(held) => {
            (held.offset, held.epoch) = (record.offset, record.producer_epoch);
            held.value.clear();
            held.value.extend_from_slice(value);
        }
        None => {
            let value = Value { offset: record.offset, epoch: record.producer_epoch, value: value.to_vec() };
            map.insert(key.into(), value);
        }
    }
}

impl Fold {
    fn take(&mut self, record: &RecordRef<'_>) {
        if record.is_control {
            if let Some((marker, _)) = read_end_marker(record.key, record.value) {
                self.end(record.producer_id, marker);
            }
            return;
        }
        self.records_read += 1;
        let Some(key) = record.key else {
            self.without_key += 1;
            return;
        };
        match record.value {
            None => self.remove(key),
            Some(value) if record.is_transactional => self.wait(record, key, value),
            Some(value) => put(&mut self.last, key, record, value),
        }
    }

    fn remove(&mut self, key: &[u8]) {
        self.last.remove(key);
        for producer in self.writers.remove(key).unwrap_or_default() {
            if let Some(values) = self.open.get_mut(&producer) {
                values.remove(key);
            }
        }
    }

    fn wait(&mut self, record: &RecordRef<'_>, key: &[u8], value: &[u8]) {
        let producer = record.producer_id;
        let values = self.open.entry(producer).or_default();
        if !values.contains_key(key) {
            self.writers.entry(key.into()).or_default().push(producer);
        }
        put(values, key, record, value);
    }

    fn end(&mut self, producer: i64, marker: Marker) {
        for (key, waiting) in self.open.remove(&producer).unwrap_or_default() {
            if let Some(writers) = self.writers.get_mut(&key) {
                writers.retain(|writer| *writer != producer);
                if writers.is_empty() {
                    self.writers.remove(&key);
                }
            }
            let is_newer = self.last.get(&key).is_none_or(|held| held.offset < waiting.offset);
            if marker == Marker::Commit && is_newer {
                self.last.insert(key, waiting);
            }
        }
    }

    fn finish(self, end_offset: Offset) -> Folded {
        let plain = self.last.into_iter().map(|(key, Value { offset, value, .. })| FoldedRecord {
            offset,
            key,
            value,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
        });
        let waiting = self.open.into_iter().flat_map(|(producer_id, values)| {
            let record = move |(key, Value { offset, epoch, value }): (Arc<[u8]>, Value)| FoldedRecord {
                offset,
                key,
                value,
                producer_id,
                producer_epoch: epoch,
            };
            values.into_iter().map(record)
        });
        let mut records: Vec<FoldedRecord> = plain.chain(waiting).collect();
        records.sort_unstable_by_key(|record| record.offset);
        Folded { records, end_offset, records_read: self.records_read, without_key: self.without_key }
    }
}

impl Partition {
    /// The records that count, of those committed; the log is read in pieces of `bytes_max`. See the module.
    pub fn fold(&self, bytes_max: u32) -> Result<Folded, ReadError> {
        let mut fold = Fold::default();
        let mut at = self.offsets().log_start;
        loop {
            let next = self.for_each_record(at, bytes_max, ReadUpTo::HighWatermark, |record| fold.take(record))?;
            if next == at {
                return Ok(fold.finish(at));
            }
            at = next;
        }
    }
}
