//! `__cluster_metadata-0`: the log of what the cluster is, and its snapshots. Values are opaque here.
//!
//! A partition like any other, in Kafka's KRaft layout: every start begins a new leader epoch, whose first batch is a LeaderChange
//! control record; a change is one batch. Beside the segments lie snapshots, `<end offset>-<epoch>.checkpoint`: a SnapshotHeader
//! control batch, batches of values with offsets from 0, a SnapshotFooter control batch. A snapshot is written beside, synced and
//! renamed; then the log before it, and older snapshots, may go. One without its footer is not there.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::builder::{self, BatchBuilder, BatchShape};
use crate::batch::control::{self, ControlType};
use crate::batch::header::{self, CONTROL_BIT};
use crate::batch::{BatchHeader, Compression, NewRecord};
use crate::commit::Host;
use crate::env::{Disk, OpenMode, read_file};
use crate::error::{AppendError, IoContext, ReadError, StorageError};
use crate::partition::{Identity, OpenHint, Partition, ReadUpTo, visit_batch};
use crate::segment::names;
use crate::{Offset, PartitionConfig, TopicId};

pub const TOPIC: &str = "__cluster_metadata";
/// Kafka's `Uuid.METADATA_TOPIC_ID`.
pub const TOPIC_ID: TopicId = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

const SNAPSHOT_SUFFIX: &str = ".checkpoint";
const PART_SUFFIX: &str = ".checkpoint.part";
const OFFSET_DIGITS: usize = 20;
const EPOCH_DIGITS: usize = 10;
/// Values of a snapshot are put together to batches of about this size.
const SNAPSHOT_BATCH_BYTES: usize = 512 * 1024;
const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataRecord {
    pub offset: Offset,
    pub leader_epoch: i32,
    pub timestamp_ms: i64,
    pub value: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Exclusive: the first offset that is not in the snapshot.
    pub end_offset: Offset,
    pub epoch: i32,
    /// Append time of the last record contained.
    pub timestamp_ms: i64,
    pub values: Vec<Vec<u8>>,
}

/// See the module.
#[derive(Debug)]
pub struct MetadataLog {
    host: Arc<Host>,
    partition: Arc<Partition>,
}

impl MetadataLog {
    /// Opens the log under `data_dir`, begins a new leader epoch and appends its LeaderChange record.
    pub fn open(host: &Arc<Host>, data_dir: &Path, node_id: i32, clean: bool) -> Result<MetadataLog, AppendError> {
        let path = data_dir.join(names::partition_directory(TOPIC, 0));
        let disk = host.env().disk().as_ref();
        let snapshots = list_snapshots(disk, &path)?;
        let identity = Identity { topic: TOPIC.into(), topic_id: TOPIC_ID, partition: 0 };
        // No retention of its own: what a snapshot holds may go.
        let config =
            Arc::new(PartitionConfig { retention_ms: None, retention_bytes: None, ..PartitionConfig::default() });
        let newest = snapshots.last().copied();
        // What a snapshot holds lies before the log start; if the log lost more than that, it goes on behind the snapshot, empty
        // (Kafka's `truncateToLatestSnapshot`). After a crash all of the log is scanned: it is short.
        let log_start = newest.map_or(0, |(end_offset, _)| end_offset);
        let hint = OpenHint { clean, recovery_point: 0, log_start, cleaned: None };
        let (partition, _) = Partition::open(host, path, identity, config, 0, hint)?;
        let epoch = partition.leader_epoch().max(newest.map_or(0, |(_, epoch)| epoch)) + 1;
        partition.set_leader_epoch(epoch)?;
        let timestamp_ms = host.env().clock().now_ms();
        partition.append_control(ControlType::LeaderChange, &control::leader_change_value(node_id), timestamp_ms)?;
        Ok(MetadataLog { host: host.clone(), partition })
    }

    pub fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    /// Grows at every start.
    pub fn leader_epoch(&self) -> i32 {
        self.partition.leader_epoch()
    }

    /// One batch, whole or not at all; the last offset.
    pub fn append(&self, values: &[&[u8]], timestamp_ms: i64) -> Result<Offset, AppendError> {
        let records: Vec<NewRecord<'_>> = values
            .iter()
            .map(|value| NewRecord { timestamp_ms, key: None, value: Some(value), headers: &[] })
            .collect();
        Ok(self.partition.append_records(&records, Compression::None)?.last_offset)
    }

    /// Returns once everything appended is durable.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.partition.flush()
    }

    /// Committed records from `start` on, control records skipped, and the offset to go on from (`start` itself: nothing more yet).
    pub fn read(&self, start: Offset, bytes_max: u32) -> Result<(Vec<MetadataRecord>, Offset), ReadError> {
        let mut records = Vec::new();
        let next = self.partition.for_each_record(start, bytes_max, ReadUpTo::HighWatermark, |record| {
            if !record.is_control {
                records.push(MetadataRecord {
                    offset: record.offset,
                    leader_epoch: record.leader_epoch,
                    timestamp_ms: record.timestamp_ms,
                    value: record.value.unwrap_or_default().to_vec(),
                });
            }
        })?;
        Ok((records, next))
    }

    /// The newest snapshot that is whole.
    pub fn latest_snapshot(&self) -> Result<Option<Snapshot>, StorageError> {
        let disk = self.host.env().disk().as_ref();
        for (end_offset, epoch) in list_snapshots(disk, self.partition.path())?.into_iter().rev() {
            let path = snapshot_path(self.partition.path(), end_offset, epoch);
            let bytes = read_file(disk, &path, SNAPSHOT_BYTES_MAX).at("read", &path)?;
            match decode_snapshot(&bytes) {
                Ok((timestamp_ms, values)) => return Ok(Some(Snapshot { end_offset, epoch, timestamp_ms, values })),
                Err(what) => {
                    tracing::error!(path = %path.display(), %what, "snapshot is damaged; an older one is used")
                }
            }
        }
        Ok(None)
    }

    /// Writes the state as it is before `end_offset`, then drops the log and the snapshots it replaces. `timestamp_ms` is the append
    /// time of the last record contained.
    pub fn write_snapshot(
        &self,
        end_offset: Offset,
        epoch: i32,
        values: &[&[u8]],
        timestamp_ms: i64,
    ) -> Result<(), StorageError> {
        let directory = self.partition.path();
        let disk = self.host.env().disk().as_ref();
        let path = snapshot_path(directory, end_offset, epoch);
        if end_offset > self.partition.offsets().high_watermark {
            return Err(StorageError::invalid(&path, "a snapshot holds committed records only"));
        }
        let now_ms = self.host.env().clock().now_ms();
        self.partition.with_reserve(|| {
            let part = part_path(directory, end_offset, epoch);
            let file = disk.open(&part, OpenMode::Truncate).at("create", &part)?;
            let mut position = 0u64;
            for batch in SnapshotBatches::new(epoch, values, timestamp_ms, now_ms) {
                file.write_at(&mut [IoSlice::new(&batch)], position).at("write", &part)?;
                position += batch.len() as u64;
            }
            file.sync_data().at("sync", &part)?;
            disk.rename(&part, &path).at("rename", &part)?;
            disk.sync_dir(directory).at("sync", directory)
        })?;

        match self.partition.delete_records_before(end_offset) {
            Ok(_) => {}
            Err(ReadError::Storage(error)) => return Err(error),
            Err(error) => return Err(StorageError::invalid(&path, error)),
        }
        self.partition.enforce_retention(self.host.env().clock().now_ms())?;
        for (old_end, old_epoch) in list_snapshots(disk, directory)? {
            if (old_end, old_epoch) < (end_offset, epoch) {
                let old = snapshot_path(directory, old_end, old_epoch);
                disk.remove_file(&old).at("remove", &old)?;
            }
        }
        Ok(())
    }

    pub fn close(&self) -> Result<(), StorageError> {
        self.partition.close()
    }
}

fn snapshot_name(end_offset: Offset, epoch: i32) -> String {
    format!("{end_offset:0OFFSET_DIGITS$}-{epoch:0EPOCH_DIGITS$}")
}

fn snapshot_path(directory: &Path, end_offset: Offset, epoch: i32) -> PathBuf {
    directory.join(format!("{}{SNAPSHOT_SUFFIX}", snapshot_name(end_offset, epoch)))
}

fn part_path(directory: &Path, end_offset: Offset, epoch: i32) -> PathBuf {
    directory.join(format!("{}{PART_SUFFIX}", snapshot_name(end_offset, epoch)))
}

fn parse_snapshot_name(name: &str) -> Option<(Offset, i32)> {
    let (offset, epoch) = name.strip_suffix(SNAPSHOT_SUFFIX)?.split_once('-')?;
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(offset, OFFSET_DIGITS) && digits(epoch, EPOCH_DIGITS))
        .then(|| Some((offset.parse().ok()?, epoch.parse().ok()?)))?
}

/// Snapshots in ascending order; unfinished ones are removed.
fn list_snapshots(disk: &dyn Disk, directory: &Path) -> Result<Vec<(Offset, i32)>, StorageError> {
    let entries = match disk.list(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StorageError::io("list", directory, error)),
    };
    let mut snapshots = Vec::new();
    for entry in entries {
        if entry.name.ends_with(PART_SUFFIX) {
            let path = directory.join(&entry.name);
            disk.remove_file(&path).at("remove", &path)?;
        } else if let Some(snapshot) = parse_snapshot_name(&entry.name) {
            snapshots.push(snapshot);
        }
    }
    snapshots.sort_unstable();
    Ok(snapshots)
}

/// The batches of a snapshot, one after another: header, values, footer.
struct SnapshotBatches<'v> {
    epoch: i32,
    values: &'v [&'v [u8]],
    contained_ms: i64,
    now_ms: i64,
    next_offset: Offset,
    part: Part,
}

enum Part {
    Header,
    Values,
    Done,
}

impl<'v> SnapshotBatches<'v> {
    fn new(epoch: i32, values: &'v [&'v [u8]], contained_ms: i64, now_ms: i64) -> SnapshotBatches<'v> {
        SnapshotBatches { epoch, values, contained_ms, now_ms, next_offset: 0, part: Part::Header }
    }

    fn place(&mut self, mut batch: Vec<u8>, records: usize) -> Vec<u8> {
        header::place(&mut batch, self.next_offset, self.epoch);
        self.next_offset += records as Offset;
        batch
    }

    fn control(&mut self, kind: ControlType, value: &[u8]) -> Option<Vec<u8>> {
        let shape = BatchShape { attributes: CONTROL_BIT, ..BatchShape::plain(Compression::None, -1) };
        let key = control::key(kind);
        let record = NewRecord { timestamp_ms: self.now_ms, key: Some(&key), value: Some(value), headers: &[] };
        let batch = builder::build(shape, &[record])?;
        Some(self.place(batch, 1))
    }
}

impl Iterator for SnapshotBatches<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        match self.part {
            Part::Header => {
                self.part = Part::Values;
                self.control(ControlType::SnapshotHeader, &control::snapshot_header_value(self.contained_ms))
            }
            Part::Values if !self.values.is_empty() => {
                let mut builder = BatchBuilder::new(BatchShape::plain(Compression::None, -1));
                let mut taken = 0;
                while taken < self.values.len()
                    && (taken == 0 || builder.bytes() + self.values[taken].len() <= SNAPSHOT_BATCH_BYTES)
                {
                    builder.push(&NewRecord {
                        timestamp_ms: self.now_ms,
                        key: None,
                        value: Some(self.values[taken]),
                        headers: &[],
                    });
                    taken += 1;
                }
                self.values = &self.values[taken..];
                let batch = builder.finish()?;
                Some(self.place(batch, taken))
            }
            Part::Values => {
                self.part = Part::Done;
                self.control(ControlType::SnapshotFooter, &control::snapshot_footer_value())
            }
            Part::Done => None,
        }
    }
}

/// Timestamp and values of a whole snapshot; words, when it is not one.
fn decode_snapshot(bytes: &[u8]) -> Result<(i64, Vec<Vec<u8>>), String> {
    let mut values = Vec::new();
    let mut timestamp_ms = None;
    let mut footer = false;
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let header = BatchHeader::read(rest).ok_or("a batch header is cut")?;
        let total = header.total_bytes().ok_or("a batch length is wrong")? as usize;
        let batch = rest.get(..total).ok_or("a batch is cut")?;
        if footer {
            return Err("there are batches behind the footer".into());
        }
        visit_batch(&header, batch, SNAPSHOT_BYTES_MAX as usize, 0, &mut |record| {
            if !record.is_control {
                values.push(record.value.unwrap_or_default().to_vec());
                return;
            }
            match control::kind_of(record.key) {
                Some(ControlType::SnapshotHeader) => timestamp_ms = control::read_snapshot_header(record.value),
                Some(ControlType::SnapshotFooter) => footer = true,
                // KRaftVersion and Voters records of Kafka's own snapshots.
                _ => {}
            }
        })?;
        if timestamp_ms.is_none() {
            return Err("it does not begin with a snapshot header".into());
        }
        at += total;
    }
    match timestamp_ms {
        Some(timestamp_ms) if footer => Ok((timestamp_ms, values)),
        _ => Err("the footer is missing".into()),
    }
}
