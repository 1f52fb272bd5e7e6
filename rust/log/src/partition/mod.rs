//! The partition as the broker sees it.

pub mod config;
pub mod offsets;

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use crate::batch::{Compression, Marker, NewRecord};
use crate::commit::Host;
use crate::env::File;
use crate::error::{AppendError, ReadError, StorageError};
use crate::{Offset, Offsets, PartitionConfig, TopicId};

/// Which partition this is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub topic: Arc<str>,
    pub topic_id: TopicId,
    pub partition: i32,
}

/// What the data directory knows about a partition before it is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenHint {
    /// The last stop was clean: nothing needs scanning.
    pub clean: bool,
    /// Everything below was synced.
    pub recovery_point: Offset,
    /// The log start offset DeleteRecords or retention last moved to.
    pub log_start: Offset,
}

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    pub segments_scanned: usize,
    pub bytes_scanned: u64,
    /// Bytes cut off a torn tail.
    pub bytes_cut: u64,
    pub indexes_rebuilt: usize,
}

/// Where a batch comes from; decides what is allowed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A Produce request: offsets start at 0, no control batches, sequences checked.
    Client,
    /// A coordinator of this broker: sequences are not checked, control batches allowed.
    Coordinator,
}

/// Proof that a transaction was asked for before its first batch; see [`Partition::start_verification`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationGuard(u64);

#[derive(Clone, Copy, Debug)]
pub struct AppendOptions {
    /// Produce below version 7 may not carry zstd (KIP-110).
    pub zstd_allowed: bool,
    pub guard: Option<VerificationGuard>,
    /// False for internal topics, whose batches obey no `max.message.bytes`.
    pub size_limited: bool,
}

impl Default for AppendOptions {
    fn default() -> AppendOptions {
        AppendOptions {
            zstd_allowed: true,
            guard: None,
            size_limited: true,
        }
    }
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// -1 unless the topic's timestamps are LogAppendTime.
    pub log_append_time_ms: i64,
    pub log_start_offset: Offset,
    /// The batch was there already (idempotence); the offsets are those of the first time.
    pub duplicate: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadUpTo {
    LogEnd,
    HighWatermark,
    LastStable,
}

/// A range of bytes of one segment file: whole batches, but for the last, which may be cut.
#[derive(Clone, Debug)]
pub struct Slice {
    pub file: Arc<dyn File>,
    pub position: u64,
    pub length: u32,
}

/// A transaction a read_committed consumer must skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: i64,
    pub first_offset: Offset,
}

#[derive(Clone, Debug)]
pub struct Read {
    /// None: nothing to read yet at this offset.
    pub slice: Option<Slice>,
    /// Base offset of the first batch in the slice (not after the offset asked for).
    pub first_offset: Offset,
    /// Length of the first batch; the slice is shorter when it did not fit and `min_one` was false.
    pub first_batch_bytes: u32,
    pub offsets: Offsets,
    /// Filled for [`ReadUpTo::LastStable`].
    pub aborted: Vec<AbortedTransaction>,
}

/// An answer of ListOffsets. (-1, -1, None) when there is no such record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAt {
    pub offset: Offset,
    pub timestamp_ms: i64,
    pub leader_epoch: Option<i32>,
}

/// An answer of OffsetForLeaderEpoch; (-1, -1) when the epoch is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    pub epoch: i32,
    pub end_offset: Offset,
}

/// Told what happened to a partition. Called without any lock of the partition held; must not block.
pub trait PartitionObserver: Send + Sync {
    /// More may be read: the high watermark or the last stable offset moved.
    fn readable_advanced(&self, partition: &Arc<Partition>, offsets: Offsets);
    /// The disk failed; every later operation fails with [`StorageError::Offline`].
    fn went_offline(&self, partition: &Arc<Partition>, reason: &StorageError);
}

#[derive(Clone, Debug)]
pub struct PartitionStatus {
    pub offsets: Offsets,
    pub leader_epoch: i32,
    pub segments: usize,
    pub bytes: u64,
    pub producers: usize,
    pub open_transactions: usize,
    pub offline: bool,
}

#[derive(Debug)]
pub struct Partition {}

#[allow(clippy::unimplemented, unused_variables, clippy::too_many_arguments)]
impl Partition {
    /// Opens what lies in `path`; an absent directory is an empty partition and is made at the first append.
    pub fn open(
        host: &Arc<Host>,
        path: PathBuf,
        identity: Identity,
        config: Arc<PartitionConfig>,
        leader_epoch: i32,
        hint: OpenHint,
    ) -> Result<(Arc<Partition>, RecoveryReport), StorageError> {
        unimplemented!()
    }
    pub fn identity(&self) -> &Identity {
        unimplemented!()
    }
    pub fn path(&self) -> PathBuf {
        unimplemented!()
    }
    pub fn config(&self) -> Arc<PartitionConfig> {
        unimplemented!()
    }
    pub fn set_config(&self, config: Arc<PartitionConfig>) {
        unimplemented!()
    }
    /// One observer per partition; the last one set counts.
    pub fn set_observer(&self, observer: Arc<dyn PartitionObserver>) {
        unimplemented!()
    }
    /// Something of the server's own that goes with the partition (its waiting requests); set once.
    pub fn attach(&self, value: Box<dyn Any + Send + Sync>) -> bool {
        unimplemented!()
    }
    pub fn attached<T: 'static>(&self) -> Option<&T> {
        unimplemented!()
    }

    /// Checks one batch, patches offset and epoch in place and appends it. `frame` is the `records` field of one partition in a Produce request.
    pub fn append(
        &self,
        frame: &mut [u8],
        origin: Origin,
        options: AppendOptions,
    ) -> Result<Appended, AppendError> {
        unimplemented!()
    }
    /// Builds one batch from plain records and appends it (coordinators, metadata, embedded log).
    pub fn append_records(
        &self,
        records: &[NewRecord<'_>],
        compression: Compression,
    ) -> Result<Appended, AppendError> {
        unimplemented!()
    }
    /// Ends a producer's transaction on this partition with a control batch.
    pub fn append_marker(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        marker: Marker,
        coordinator_epoch: i32,
        transaction_version: i16,
    ) -> Result<Appended, AppendError> {
        unimplemented!()
    }

    pub fn offsets(&self) -> Offsets {
        unimplemented!()
    }
    pub fn leader_epoch(&self) -> i32 {
        unimplemented!()
    }
    /// Takes over as leader in `epoch`: it begins at the log end.
    pub fn set_leader_epoch(&self, epoch: i32) -> Result<(), StorageError> {
        unimplemented!()
    }

    /// True when a transactional batch of this producer must first be verified with the coordinator: no transaction of it is open here.
    pub fn needs_verification(&self, producer_id: i64, producer_epoch: i16) -> bool {
        unimplemented!()
    }
    /// Begins a verification; None when none is needed. The guard goes into [`AppendOptions::guard`] once the coordinator agreed.
    pub fn start_verification(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        first_sequence: i32,
    ) -> Option<VerificationGuard> {
        unimplemented!()
    }

    pub fn read(
        &self,
        start: Offset,
        bytes_max: u32,
        up_to: ReadUpTo,
        min_one: bool,
    ) -> Result<Read, ReadError> {
        unimplemented!()
    }

    pub fn earliest(&self) -> OffsetAt {
        unimplemented!()
    }
    pub fn latest(&self, up_to: ReadUpTo) -> OffsetAt {
        unimplemented!()
    }
    /// The first record whose timestamp is not below `timestamp_ms`.
    pub fn lookup_timestamp(&self, timestamp_ms: i64) -> Result<Option<OffsetAt>, StorageError> {
        unimplemented!()
    }
    /// The first record with the greatest timestamp.
    pub fn max_timestamp(&self) -> Result<Option<OffsetAt>, StorageError> {
        unimplemented!()
    }
    pub fn end_offset_for_epoch(&self, epoch: i32) -> EpochEnd {
        unimplemented!()
    }

    /// DeleteRecords: moves the log start; -1 means the high watermark. Returns the new log start.
    pub fn delete_records_before(&self, offset: Offset) -> Result<Offset, ReadError> {
        unimplemented!()
    }
    pub fn truncate_to(&self, offset: Offset) -> Result<(), StorageError> {
        unimplemented!()
    }
    /// Syncs everything appended so far.
    pub fn flush(&self) -> Result<(), StorageError> {
        unimplemented!()
    }
    /// Flushes, writes the producer snapshot; nothing may be appended after.
    pub fn close(&self) -> Result<(), StorageError> {
        unimplemented!()
    }
    /// Deletes what retention lets go; the number of segments.
    pub fn enforce_retention(&self, now_ms: i64) -> Result<usize, StorageError> {
        unimplemented!()
    }
    /// Closes the partition and renames its directory to Kafka's `-delete` name; the files go after `file.delete.delay.ms`.
    pub fn delete(&self) -> Result<(), StorageError> {
        unimplemented!()
    }
    pub fn status(&self) -> PartitionStatus {
        unimplemented!()
    }
    /// Bytes of all segments (DescribeLogDirs).
    pub fn size_bytes(&self) -> u64 {
        unimplemented!()
    }
}
