//! The partition as the broker sees it: an append-only run of batches with offsets, over segments.
//!
//! ```text
//! append    check, place, write, enter into indexes and producer state     read      a slice of one segment, never past the limit
//! lookup    by timestamp, by epoch, earliest, latest                       flush     group commit, high watermark, close
//! trim      truncate, DeleteRecords, retention, roll                       recover   what opening finds and repairs
//! offsets, epochs, producers, snapshot: the state, each with its own rules          marker    how far it was durable when the disk failed
//! ending    where recovery must stop           replay    what good batches mean to producers and epochs
//! witness   whose leader epoch is right            observer  who is told what happened
//! compact   a pass of compaction, and its result put in place      listing   what files there are
//! segments  the list, and in which of them a look-up by time begins
//! slow      work under the lock that waits for the disk, and telling the observer what can be read now
//! fold      the last record of each key, for coordinators that begin      delete    out of sight, and gone later
//! ```
//!
//! One lock guards the state. Appends hold it for a write to the page cache; reads hold it to learn which segment and how far, and do
//! their I/O without it. Checks of a batch, syncs and calls to the observer happen outside. Nothing here starts a thread or looks at a
//! clock but through [`crate::env`].
//!
//! An idle or empty partition is cheap: its directory is made at the first append, closed segments keep no descriptor.

mod aborted;
mod append;
mod compact;
pub mod config;
mod delete;
mod ending;
mod epochs;
mod flush;
mod fold;
mod listing;
mod lookup;
mod marker;
mod observer;
pub mod offsets;
mod open;
mod producers;
mod read;
mod recover;
mod replay;
mod segments;
mod slow;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod trim;
mod verifications;
mod witness;
mod write_out;

use std::any::Any;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::{Mutex, RwLock};

use crate::commit::Host;
use crate::env::{Disk, File};
use crate::error::StorageError;
use crate::health::{Health, with_reserve};
use crate::{Offset, Offsets, PartitionConfig, TopicId};
use compact::CleaningState;
pub use compact::{Compaction, MapSize};
pub use delete::Deletion;
pub use fold::{Folded, FoldedRecord};
use observer::ObserverSlot;
pub use observer::PartitionObserver;
pub(crate) use read::visit_batch;
pub(crate) use snapshot::is_snapshot as is_producer_snapshot;
use state::State;

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
    /// Compacted below this offset.
    pub cleaned: Option<Offset>,
}

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    pub segments_scanned: usize,
    pub bytes_scanned: u64,
    /// Bytes cut off a torn tail.
    pub bytes_cut: u64,
    pub indexes_rebuilt: usize,
    /// What opening took, and how much of it the disk took to sync.
    pub took_ms: i64,
    pub sync_ms: i64,
    /// What was found damaged or torn, with file and position.
    pub damage: Vec<String>,
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

impl VerificationGuard {
    /// For whoever must keep it as a number meanwhile.
    pub fn number(self) -> u64 {
        self.0
    }

    pub fn from_number(number: u64) -> VerificationGuard {
        VerificationGuard(number)
    }
}

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
        AppendOptions { zstd_allowed: true, guard: None, size_limited: true }
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
    /// As it was when the lock was let go: whoever waits for it to cover the batch need not ask again.
    pub high_watermark: Offset,
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
    /// How far this file may be read: what lies behind the slice is asked for next.
    pub end: u64,
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

/// What is remembered of a producer that wrote here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStatus {
    pub producer_id: i64,
    pub epoch: i16,
    /// -1: no batch of this epoch is known.
    pub last_sequence: i32,
    pub last_timestamp_ms: i64,
    /// Of its last marker; -1 without one.
    pub coordinator_epoch: i32,
    /// First offset of its open transaction.
    pub transaction_start: Option<Offset>,
}

/// See the module. Shared by `Arc`; all methods take `&self`.
pub struct Partition {
    this: Weak<Partition>,
    host: Arc<Host>,
    identity: Identity,
    /// `topic-partition`, for messages.
    name: String,
    path: PathBuf,
    /// Of the data directory it lies in; None where that was not opened as one.
    health: Option<Arc<Health>>,
    /// Its records may use the reserve.
    is_metadata: bool,
    config: ArcSwap<PartitionConfig>,
    observer: ArcSwapOption<ObserverSlot>,
    attached: OnceLock<Box<dyn Any + Send + Sync>>,
    /// Held by who syncs. Taken before the state.
    syncing: Mutex<()>,
    /// Held by whoever takes segments away or puts others in their place. Taken before `state`.
    trim: Mutex<()>,
    cleaning: CleaningState,
    /// How many hold the state, or are about to, while they wait for the disk.
    slow: AtomicUsize,
    state: RwLock<State>,
}

impl Drop for Partition {
    fn drop(&mut self) {
        self.host.count_unsynced(self.state.get_mut().unsynced_bytes, 0);
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Partition({})", self.name)
    }
}

impl Partition {
    fn disk(&self) -> &dyn Disk {
        self.host.env().disk().as_ref()
    }

    fn now_ms(&self) -> i64 {
        self.host.env().clock().now_ms()
    }

    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    pub fn config(&self) -> Arc<PartitionConfig> {
        self.config.load_full()
    }

    /// Counts from the next append, roll or retention run on.
    pub fn set_config(&self, config: Arc<PartitionConfig>) {
        self.config.store(config);
    }

    /// Something of the caller's own that goes with the partition (its waiting requests, say). False when there is one already.
    pub fn attach(&self, value: Box<dyn Any + Send + Sync>) -> bool {
        self.attached.set(value).is_ok()
    }

    pub fn attached<T: 'static>(&self) -> Option<&T> {
        self.attached.get().and_then(|value| value.downcast_ref())
    }

    pub fn offsets(&self) -> Offsets {
        self.state.read().offsets()
    }

    pub fn leader_epoch(&self) -> i32 {
        self.state.read().leader_epoch
    }

    /// Takes over as leader in `epoch`: it begins at the log end (Kafka's `Partition.makeLeader`). When that cannot be written down the
    /// next append tries again, and is refused if it cannot be either.
    pub fn set_leader_epoch(&self, epoch: i32) -> Result<(), StorageError> {
        let mut state = self.state.write();
        state.check_online(&self.path)?;
        state.leader_epoch = state.leader_epoch.max(epoch);
        let log_end = state.log_end.offset;
        self.begin_epoch(&mut state, epoch, log_end)
    }

    /// True when a transactional batch of this producer must first be verified with its coordinator: no transaction of it is open here.
    pub fn needs_verification(&self, producer_id: i64, producer_epoch: i16) -> bool {
        !self.state.read().producers.in_transaction(producer_id, producer_epoch)
    }

    /// True when this producer has written in a newer epoch: whatever it sends in this one is refused.
    pub fn is_zombie(&self, producer_id: i64, producer_epoch: i16) -> bool {
        self.state.read().producers.is_zombie(producer_id, producer_epoch)
    }

    /// Begins a verification; None when none is needed. Once the coordinator agreed the guard goes into [`AppendOptions::guard`]; it is
    /// void once the transaction ends.
    pub fn start_verification(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        first_sequence: i32,
    ) -> Option<VerificationGuard> {
        let now_ms = self.now_ms();
        self.state.write().producers.start_verification(producer_id, producer_epoch, first_sequence, false, now_ms)
    }

    /// The same for a client that gets a new epoch with every transaction (KIP-890, transaction version 2): when nothing is known of its
    /// producer it must begin with sequence 0.
    pub fn start_verification_v2(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        first_sequence: i32,
    ) -> Option<VerificationGuard> {
        let now_ms = self.now_ms();
        self.state.write().producers.start_verification(producer_id, producer_epoch, first_sequence, true, now_ms)
    }

    /// Every producer that is remembered, in ascending order of their ids (DescribeProducers).
    pub fn producers(&self) -> Vec<ProducerStatus> {
        let state = self.state.read();
        let described = |(producer_id, producer): (i64, &producers::Producer)| ProducerStatus {
            producer_id,
            epoch: producer.epoch,
            last_sequence: producer.last_sequence(),
            last_timestamp_ms: producer.last_timestamp_ms,
            coordinator_epoch: producer.coordinator_epoch,
            transaction_start: producer.transaction_start,
        };
        state.producers.sorted().into_iter().map(described).collect()
    }

    /// Forgets idle producers; how many.
    pub fn expire_producers(&self, now_ms: i64) -> usize {
        let expiration_ms = self.config.load().producer_id_expiration_ms;
        self.state.write().producers.expire(now_ms, expiration_ms)
    }

    /// Closes descriptors of segments nobody used since the last call. Those that are not synced yet keep theirs: an error of writing them
    /// back is told to who has them open.
    pub fn release_idle_files(&self) {
        let segments: Vec<_> = {
            let state = self.state.read();
            let is_synced = state.durable.offset >= state.log_end.offset;
            let synced = |base: Offset| is_synced || base < state.durable.segment;
            state.segments.iter().filter(|segment| synced(segment.base_offset())).cloned().collect()
        };
        for segment in segments {
            segment.release_if_idle();
        }
    }

    /// Bytes of all segments (DescribeLogDirs).
    pub fn size_bytes(&self) -> u64 {
        self.state.read().bytes()
    }

    pub fn status(&self) -> PartitionStatus {
        let state = self.state.read();
        PartitionStatus {
            offsets: state.offsets(),
            leader_epoch: state.leader_epoch,
            segments: state.segments.len(),
            bytes: state.bytes(),
            producers: state.producers.len(),
            open_transactions: state.producers.open_transactions(),
            offline: state.offline.is_some(),
        }
    }

    /// Takes the partition out of service for good and says so. How far it was durable is on the disk before anybody is told, whoever
    /// asks: the lock is held until then. If that cannot be had the whole data directory goes. The lock must not be held.
    fn go_offline(&self, reason: &StorageError) {
        let marked = {
            let mut state = self.state.write();
            if state.offline.is_some() {
                return;
            }
            self.mark_offline(&mut state, reason)
        };
        self.went_offline(reason, marked);
    }

    /// The first half, with the lock held: the second must follow without.
    fn mark_offline(&self, state: &mut State, reason: &StorageError) -> Result<(), StorageError> {
        state.offline = Some(Arc::new(reason.clone()));
        self.recount_unsynced(state);
        let durable = state.durable.offset;
        let write = || self.host.with_descriptors(|| marker::write(self.disk(), &self.path, durable));
        match &self.health {
            // In a directory that is offline already nothing is trusted anyway.
            _ if !state.made || self.health.as_ref().is_some_and(|health| health.offline().is_some()) => Ok(()),
            Some(health) => health.disk_failed(write),
            None => write(),
        }
    }

    fn went_offline(&self, reason: &StorageError, marked: Result<(), StorageError>) {
        self.host.count_failure();
        tracing::error!(partition = %self.name, %reason, "partition is offline");
        if let Err(error) = &marked {
            tracing::error!(partition = %self.name, %error, "how far it was on the disk could not be noted");
        }
        self.tell_offline(reason);
        if let (Err(error), Some(health)) = (marked, &self.health) {
            health.go_offline(&error);
        }
    }

    /// Its data directory is offline.
    pub fn take_offline(&self, reason: &StorageError) {
        {
            let mut state = self.state.write();
            if state.offline.is_some() {
                return;
            }
            state.offline = Some(Arc::new(reason.clone()));
            self.recount_unsynced(&mut state);
        }
        self.tell_offline(reason);
    }

    /// Does `work`, with the reserve of the data directory if there is no room without.
    pub(crate) fn with_reserve<T>(&self, work: impl FnMut() -> Result<T, StorageError>) -> Result<T, StorageError> {
        with_reserve(self.health.as_ref(), work)
    }
}
