//! `__cluster_metadata-0`.

use std::path::Path;
use std::sync::Arc;

use crate::Offset;
use crate::commit::Host;
use crate::error::{AppendError, ReadError, StorageError};
use crate::partition::Partition;

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
    pub timestamp_ms: i64,
    pub values: Vec<Vec<u8>>,
}

#[derive(Debug)]
pub struct MetadataLog {}

#[allow(clippy::unimplemented, unused_variables)]
impl MetadataLog {
    /// Opens the log under `data_dir`, begins a new leader epoch and appends its LeaderChange record.
    pub fn open(
        host: &Arc<Host>,
        data_dir: &Path,
        node_id: i32,
        clean: bool,
    ) -> Result<MetadataLog, AppendError> {
        unimplemented!()
    }
    pub fn partition(&self) -> &Arc<Partition> {
        unimplemented!()
    }
    pub fn leader_epoch(&self) -> i32 {
        unimplemented!()
    }
    /// One batch, whole or not at all; the last offset.
    pub fn append(&self, values: &[&[u8]], timestamp_ms: i64) -> Result<Offset, AppendError> {
        unimplemented!()
    }
    pub fn sync(&self) -> Result<(), StorageError> {
        unimplemented!()
    }
    /// Committed records from `start` on, control records skipped, and the offset to go on from.
    pub fn read(
        &self,
        start: Offset,
        bytes_max: u32,
    ) -> Result<(Vec<MetadataRecord>, Offset), ReadError> {
        unimplemented!()
    }
    pub fn latest_snapshot(&self) -> Result<Option<Snapshot>, StorageError> {
        unimplemented!()
    }
    /// Writes `<end offset>-<epoch>.checkpoint` and drops the log before it.
    pub fn write_snapshot(
        &self,
        end_offset: Offset,
        epoch: i32,
        values: &[&[u8]],
        timestamp_ms: i64,
    ) -> Result<(), StorageError> {
        unimplemented!()
    }
    pub fn close(&self) -> Result<(), StorageError> {
        unimplemented!()
    }
}
