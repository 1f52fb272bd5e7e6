//! One opening of everything, what its callers were told, and what they do.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_log::batch::builder::{BatchBuilder, BatchShape};
use ottla_log::batch::{Compression, Marker, NewRecord, header};
use ottla_log::commit::Host;
use ottla_log::compaction::Unhurried;
use ottla_log::directory::DataDirectory;
use ottla_log::metadata_log::MetadataLog;
use ottla_log::partition::{AppendOptions, MapSize, Origin, ReadUpTo};
use ottla_log::{AppendError, Durability, Partition, StorageError};

pub const T0: i64 = 1_700_000_000_000;

/// What callers were told.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// By topic: values that were covered by a durable offset while the partition was online.
    pub durable: BTreeMap<String, BTreeMap<i64, String>>,
    /// By topic: everything that was ever handed in at an offset.
    pub tried: BTreeMap<String, BTreeMap<i64, Vec<String>>>,
    /// By topic: log starts that DeleteRecords acknowledged and a checkpoint noted.
    pub log_starts: BTreeMap<String, i64>,
    /// By topic: the last batch acknowledged as durable: sequence, offset.
    pub last_batch: BTreeMap<String, (i32, i64, String)>,
    /// By topic: where a truncation that went well cut.
    pub metadata: Vec<String>,
    pub deleted: bool,
    pub refused: Vec<String>,
    pub stopped_cleanly: bool,
    pub directory_failed: bool,
}

/// One opening of everything.
pub struct Life {
    pub host: Arc<Host>,
    pub directory: DataDirectory,
    pub metadata: MetadataLog,
    pub partitions: BTreeMap<&'static str, Arc<Partition>>,
    pub sequences: BTreeMap<&'static str, i32>,
    pub written: usize,
}

/// `t` and `u` wait for the disk, `o` does not; `c` is compacted.
pub const TOPICS: [&str; 4] = ["t", "u", "o", "c"];
const KEYS: usize = 3;

impl Life {
    pub fn note(
        &self,
        told: &mut Told,
        what: &str,
        topic: &'static str,
        work: impl Fn(&Partition) -> Result<(), StorageError>,
    ) {
        if let Err(error) = work(&self.partitions[topic]) {
            told.refused.push(format!("{what} {topic}: {error}"));
        }
    }

    pub fn append(&mut self, told: &mut Told, topic: &'static str, word: &str) {
        let value = format!("{word} {}", self.written);
        self.written += 1;
        let partition = &self.partitions[topic];
        let sequence =
            *self.sequences.entry(topic).or_insert_with(|| told.last_batch.get(topic).map_or(0, |last| last.0 + 1));
        let offset = partition.offsets().log_end;
        told.tried.entry(topic.to_owned()).or_default().entry(offset).or_default().push(value.clone());
        match send(partition, sequence, &value, false) {
            Ok(_) => {
                self.sequences.insert(topic, sequence + 1);
                if partition.offsets().durable > offset {
                    told.last_batch.insert(topic.to_owned(), (sequence, offset, value));
                }
                self.acknowledge(told, topic);
            }
            Err(error) => told.refused.push(format!("append {topic}: {error}")),
        }
    }

    /// As somebody without sequences.
    pub fn go_on(&mut self, told: &mut Told, topic: &'static str) {
        let value = format!("goes on {}", self.written);
        self.written += 1;
        let partition = &self.partitions[topic];
        let key = key_of(&value);
        let record =
            NewRecord { timestamp_ms: T0, key: Some(key.as_bytes()), value: Some(value.as_bytes()), headers: &[] };
        match partition.append_records(&[record], Compression::None) {
            Ok(appended) => {
                told.tried.entry(topic.to_owned()).or_default().entry(appended.base_offset).or_default().push(value);
            }
            Err(error) => told.refused.push(format!("append {topic}: {error}")),
        }
    }

    pub fn transaction(&mut self, told: &mut Told, topic: &'static str) {
        let partition = &self.partitions[topic];
        let offset = partition.offsets().log_end;
        let tried = told.tried.entry(topic.to_owned()).or_default();
        tried.entry(offset).or_default().push("aborted".to_owned());
        let first = self.sequences.get("transaction").copied().unwrap_or(0);
        let done = send(partition, first, "aborted", true).and_then(|_| {
            self.sequences.insert("transaction", first + 1);
            partition.append_marker(2, 0, Marker::Abort, 0, 0)
        });
        if let Err(error) = done {
            told.refused.push(format!("append {topic}: {error}"));
        }
    }

    /// What is durable and online now has been promised.
    pub fn acknowledge(&self, told: &mut Told, topic: &'static str) {
        let partition = &self.partitions[topic];
        if partition.status().offline {
            return;
        }
        let offsets = partition.offsets();
        if offsets.durable < offsets.log_end && partition.config().durability == Durability::Fsync {
            assert!(offsets.high_watermark <= offsets.durable);
        }
        let durable = told.durable.entry(topic.to_owned()).or_default();
        for (offset, value) in records(partition) {
            if offset < offsets.durable {
                durable.insert(offset, value);
            }
        }
        durable.retain(|offset, _| *offset >= offsets.log_start);
    }

    pub fn compact(&self, told: &mut Told) {
        let map_size = MapSize { bytes_max: 4096, load_factor: 0.9, hash_key: [5; 16] };
        if let Err(error) = self.partitions["c"].compact(map_size, &mut Unhurried) {
            told.refused.push(format!("compact c: {error}"));
        }
    }

    pub fn truncate(&mut self, told: &mut Told, topic: &'static str) {
        let partition = &self.partitions[topic];
        // More than a segment of it.
        let back = 9;
        let target = (partition.offsets().log_end - back).max(0);
        let cut = partition.truncate_to(target);
        // Whether it went well or not, nobody was promised what lies behind.
        if let Some(durable) = told.durable.get_mut(topic) {
            durable.retain(|offset, _| *offset < target);
        }
        told.last_batch.remove(topic);
        match cut {
            Ok(()) => {
                let sequence = self.sequences.entry(topic).or_insert(0);
                *sequence = (*sequence - back as i32).max(0);
            }
            Err(error) => told.refused.push(format!("truncate {topic}: {error}")),
        }
    }
}

/// Of a value, which ends in a number.
pub fn key_of(value: &str) -> String {
    let number: usize = value.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    (number % KEYS).to_string()
}

/// Offset, and whether it was there already.
pub fn send(
    partition: &Partition,
    sequence: i32,
    value: &str,
    transactional: bool,
) -> Result<(i64, bool), AppendError> {
    let producer_id = if transactional { 2 } else { 1 };
    let mut builder = BatchBuilder::new(BatchShape {
        compression: Compression::None,
        level: -1,
        attributes: if transactional { header::TRANSACTIONAL_BIT } else { 0 },
        producer_id,
        producer_epoch: 0,
        base_sequence: sequence,
    });
    let key = key_of(value);
    builder.push(&NewRecord {
        timestamp_ms: T0,
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        headers: &[],
    });
    let mut batch = builder.finish().unwrap();
    let guard = if transactional { partition.start_verification(producer_id, 0, sequence) } else { None };
    let options = AppendOptions { guard, ..AppendOptions::default() };
    let appended = partition.append(&mut batch, Origin::Client, options)?;
    Ok((appended.base_offset, appended.duplicate))
}

pub fn records(partition: &Partition) -> BTreeMap<i64, String> {
    let mut found = BTreeMap::new();
    let mut at = partition.offsets().log_start;
    loop {
        let next = partition.for_each_record(at, 1 << 20, ReadUpTo::LogEnd, |record| {
            if !record.is_control {
                found.insert(record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap());
            }
        });
        match next {
            Ok(next) if next > at => at = next,
            // A disk that fails under a reader; what was found was there.
            Ok(_) | Err(_) => return found,
        }
    }
}
