//! This broker's replica of one partition: the log partition, opened when first needed, and those who wait for it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use ottla_log::commit::Host;
use ottla_log::partition::{AppendOptions, Appended, Deletion, OpenHint, Origin, PartitionObserver, VerificationGuard};
use ottla_log::{Identity, Offsets, Partition, PartitionConfig, ReadError, StorageError};
use parking_lot::Mutex;
use tracing::{error, info};

pub use crate::batch_peek::BatchPeek;
use crate::error_code::ErrorCode;
use crate::held_up::HeldUp;
pub use crate::isolation::Isolation;
use crate::readers::Readers;
pub use crate::refusal::Refusal;
use crate::reply::FileRegion;
use crate::waiting::Waiters;

/// Produce below this version may not carry zstd (KIP-110).
const FIRST_WITH_ZSTD: i16 = 7;
/// From this version of Produce on a transactional producer gets a new epoch with every transaction (KIP-890).
pub const FIRST_OF_TRANSACTIONS_2: i16 = 12;

/// What a fetch gets from a partition.
pub struct ReadResult {
    pub offsets: Offsets,
    pub region: Option<FileRegion>,
    /// (producer id, first offset) of the aborted transactions in the region; only for read_committed.
    pub aborted: Option<Vec<(i64, i64)>>,
}

/// What the log tells of a partition, kept where the data plane looks.
struct Watch {
    waiters: Arc<Waiters>,
    is_offline: AtomicBool,
    held_up: HeldUp,
}

impl PartitionObserver for Watch {
    fn readable_advanced(&self, _partition: &Arc<Partition>, offsets: Offsets) {
        self.waiters.advanced_to(offsets.high_watermark);
    }

    fn start_moved(&self, _partition: &Arc<Partition>, _offsets: Offsets) {
        self.waiters.start_moved();
    }

    fn slowness_changed(&self, is_slow: bool) {
        if is_slow { self.held_up.begin() } else { self.held_up.end() }
    }

    fn went_offline(&self, partition: &Arc<Partition>, reason: &StorageError) {
        let identity = partition.identity();
        error!("partition {}-{} is offline: {reason}", identity.topic, identity.partition);
        self.is_offline.store(true, Ordering::Release);
        self.waiters.wake_all();
    }
}

/// Whether who asks may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    None,
    Any,
}

/// Where a partition lies and what is known of it before it is opened.
pub struct Place {
    pub host: Arc<Host>,
    /// Those of its data directory.
    pub readers: Arc<Readers>,
    pub path: PathBuf,
    pub hint: OpenHint,
    /// Something was there when the engine started.
    pub has_files: bool,
}

/// One partition on this broker.
pub struct Replica {
    identity: Identity,
    place: Place,
    pub(crate) config: ArcSwap<PartitionConfig>,
    leader_epoch: AtomicI32,
    /// Opened at first use. A failed opening stays failed until the engine is opened again, unless there was no descriptor for it.
    partition: OnceLock<Result<Arc<Partition>, StorageError>>,
    /// Held by who opens it.
    opening: Mutex<()>,
    watch: Arc<Watch>,
    is_deleted: AtomicBool,
    /// Whether the partition has taken a batch since the engine was opened, so that its files are there.
    pub(crate) has_appended: AtomicBool,
}

/// Does what waits for the disk where it keeps no other connection of this thread waiting: on a thread of the network
/// the others move to another one first.
pub(crate) fn off_the_network<T>(work: impl FnOnce() -> T) -> T {
    match tokio::runtime::Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

impl Replica {
    #[must_use]
    pub fn new(identity: Identity, place: Place, config: Arc<PartitionConfig>, leader_epoch: i32) -> Self {
        let watch = Watch {
            waiters: Arc::default(),
            is_offline: AtomicBool::new(false),
            held_up: HeldUp::new(Arc::clone(&place.readers.crowd)),
        };
        Self {
            identity,
            place,
            config: ArcSwap::new(config),
            leader_epoch: AtomicI32::new(leader_epoch),
            partition: OnceLock::new(),
            opening: Mutex::new(()),
            watch: Arc::new(watch),
            is_deleted: AtomicBool::new(false),
            has_appended: AtomicBool::new(false),
        }
    }

    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.identity.topic
    }

    #[must_use]
    pub fn index(&self) -> i32 {
        self.identity.partition
    }

    #[must_use]
    pub fn has_files(&self) -> bool {
        self.place.has_files
    }

    /// Its directory, made or not.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    #[must_use]
    pub fn waiters(&self) -> &Arc<Waiters> {
        &self.watch.waiters
    }

    #[must_use]
    pub fn readers(&self) -> &Arc<Readers> {
        &self.place.readers
    }

    /// Nobody has needed it yet: its files must be looked at first.
    #[must_use]
    pub fn must_be_opened(&self) -> bool {
        self.partition.get().is_none()
    }

    /// Whether somebody waits for the disk with it in hand: whoever asks it for anything would too.
    #[must_use]
    pub fn held_up(&self) -> &HeldUp {
        &self.watch.held_up
    }

    /// The high watermark that shows the next record; one that any advance reaches, where telling it would have to wait.
    #[must_use]
    pub fn next_readable(&self) -> i64 {
        match self.opened() {
            Some(partition) if !partition.is_slow() => partition.offsets().high_watermark + 1,
            _ => 0,
        }
    }

    /// The log partition, if it has been opened.
    #[must_use]
    pub fn opened(&self) -> Option<&Arc<Partition>> {
        self.partition.get()?.as_ref().ok()
    }

    /// The log partition, opened now if it was not.
    ///
    /// # Errors
    /// It cannot be opened, or could not when it was first tried.
    pub fn partition(&self) -> Result<&Arc<Partition>, StorageError> {
        match self.partition.get() {
            Some(Ok(partition)) if partition.is_slow() => {
                off_the_network(|| partition.wait_until_quick());
                Ok(partition)
            }
            Some(opened) => opened.as_ref().map_err(Clone::clone),
            // Also for those who wait while another thread opens it.
            None => off_the_network(|| self.open_once()),
        }
    }

    fn open_once(&self) -> Result<&Arc<Partition>, StorageError> {
        let mut opened_here = false;
        let opening = self.opening.lock();
        let opened = match self.partition.get() {
            Some(opened) => opened,
            None => {
                let _hold = self.watch.held_up.hold();
                let opened = self.place.host.with_descriptors(|| self.open());
                if let Err(failure) = &opened {
                    error!("cannot open {}-{}: {failure}", self.identity.topic, self.identity.partition);
                    if failure.is_no_descriptor() {
                        return Err(failure.clone());
                    }
                    self.watch.is_offline.store(true, Ordering::Release);
                }
                opened_here = true;
                self.partition.get_or_init(|| opened)
            }
        };
        drop(opening);
        if let (true, Ok(partition)) = (opened_here, opened) {
            self.catch_up(partition);
        }
        opened.as_ref().map_err(Clone::clone)
    }

    /// A publication that came while the partition was being opened found nothing to tell.
    fn catch_up(&self, partition: &Partition) {
        loop {
            let (config, epoch) = (self.config.load_full(), self.leader_epoch.load(Ordering::Acquire));
            partition.set_config(Arc::clone(&config));
            if epoch > partition.leader_epoch()
                && let Err(failure) = partition.set_leader_epoch(epoch)
            {
                // The next append tries again, and is refused if it cannot be written.
                error!("{}-{} has not noted epoch {epoch}: {failure}", self.identity.topic, self.identity.partition);
                return;
            }
            if Arc::ptr_eq(&self.config.load_full(), &config) && self.leader_epoch.load(Ordering::Acquire) == epoch {
                return;
            }
        }
    }

    fn open(&self) -> Result<Arc<Partition>, StorageError> {
        let (host, path) = (&self.place.host, self.place.path.clone());
        let epoch = self.leader_epoch.load(Ordering::Acquire);
        let (partition, report) =
            Partition::open(host, path, self.identity.clone(), self.config.load_full(), epoch, self.place.hint)?;
        if report.bytes_scanned > 0 || report.bytes_cut > 0 || report.indexes_rebuilt > 0 {
            info!(
                "recovered {}-{} in {} ms, {} of them for syncs: scanned {} bytes in {} segments, cut {} bytes, rebuilt {} indexes",
                self.identity.topic,
                self.identity.partition,
                report.took_ms,
                report.sync_ms,
                report.bytes_scanned,
                report.segments_scanned,
                report.bytes_cut,
                report.indexes_rebuilt
            );
        }
        partition.set_observer(Arc::clone(&self.watch) as Arc<dyn PartitionObserver>);
        Ok(partition)
    }

    /// Its data directory failed.
    pub fn take_offline(&self, reason: &StorageError) {
        self.watch.is_offline.store(true, Ordering::Release);
        if let Some(partition) = self.opened() {
            partition.take_offline(reason);
        }
        self.watch.waiters.wake_all();
    }

    /// The log partition, unless its topic was deleted.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION when it was, KAFKA_STORAGE_ERROR when it cannot be opened.
    pub fn live(&self) -> Result<&Arc<Partition>, ErrorCode> {
        if self.is_deleted.load(Ordering::Acquire) {
            return Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        self.partition().map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)
    }

    /// Why waiting for this partition is vain, if it is.
    #[must_use]
    pub fn failure(&self) -> Option<ErrorCode> {
        if self.is_deleted.load(Ordering::Acquire) {
            return Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        self.watch.is_offline.load(Ordering::Acquire).then_some(ErrorCode::KAFKA_STORAGE_ERROR)
    }

    /// Settings and leadership as published; takes effect with the next operation.
    ///
    /// # Errors
    /// The new leader epoch cannot be written down.
    pub fn update(&self, config: Arc<PartitionConfig>, leader_epoch: i32) -> Result<(), StorageError> {
        self.config.store(Arc::clone(&config));
        let before = self.leader_epoch.swap(leader_epoch, Ordering::AcqRel);
        let Some(partition) = self.opened() else {
            return Ok(());
        };
        partition.set_config(config);
        if leader_epoch > before {
            partition.set_leader_epoch(leader_epoch)?;
        }
        Ok(())
    }

    /// Stops serving; what is to be done to the files.
    pub fn delete(&self) -> Option<Deletion> {
        self.is_deleted.store(true, Ordering::Release);
        self.watch.waiters.wake_all();
        // What was not opened is not opened any more: an append that is on its way would make a directory in the place of a successor's.
        let opening = self.opening.lock();
        let is_opened = self.partition.get().is_some();
        let partition =
            self.partition.get_or_init(|| Err(StorageError::Closed { path: self.place.path.clone() })).as_ref();
        drop(opening);
        match partition {
            Ok(partition) => Some(Deletion::Opened(Arc::clone(partition))),
            Err(failure) if is_opened => {
                error!("cannot delete the files of {}-{}: {failure}", self.identity.topic, self.identity.partition);
                None
            }
            Err(_) => self.place.has_files.then(|| Deletion::Unopened {
                path: self.place.path.clone(),
                delay_ms: self.config.load().file_delete_delay_ms,
            }),
        }
    }

    /// End of what consumers may read; 0 while the partition cannot be opened.
    #[must_use]
    pub fn high_watermark(&self) -> i64 {
        self.partition().map_or(0, |partition| partition.offsets().high_watermark)
    }

    /// # Errors
    /// The partition is deleted or offline.
    pub fn offsets(&self) -> Result<Offsets, ErrorCode> {
        Ok(self.live()?.offsets())
    }

    /// Whether the producer of a batch has written in a newer epoch.
    #[must_use]
    pub fn is_zombie(&self, peek: &BatchPeek) -> bool {
        self.live().is_ok_and(|partition| partition.is_zombie(peek.producer_id, peek.producer_epoch))
    }

    /// Whether a transactional batch of this producer, in a Produce of this version, must be asked for first.
    #[must_use]
    pub fn start_verification(&self, peek: &BatchPeek, version: i16) -> Option<VerificationGuard> {
        let partition = self.live().ok()?;
        if version >= FIRST_OF_TRANSACTIONS_2 {
            partition.start_verification_v2(peek.producer_id, peek.producer_epoch, peek.base_sequence)
        } else {
            partition.start_verification(peek.producer_id, peek.producer_epoch, peek.base_sequence)
        }
    }

    /// Checks and appends the `records` of a Produce request, patching offsets and epoch in place.
    ///
    /// # Errors
    /// The refusal, as the client is to read it.
    pub fn append_from_client(
        &self,
        records: &mut [u8],
        version: i16,
        guard: Option<VerificationGuard>,
    ) -> Result<Appended, Refusal> {
        let partition = self.live().map_err(|code| Refusal::of(code, "the partition is not available"))?;
        let zstd_allowed = version >= FIRST_WITH_ZSTD;
        let options = AppendOptions { zstd_allowed, guard, size_limited: true };
        let is_of_request = !zstd_allowed && BatchPeek::of(records).is_some_and(|peek| peek.is_zstd_or_unknown);
        let mut append = || partition.append(records, Origin::Client, options);
        let appended = if self.has_appended.load(Ordering::Relaxed) {
            append()
        } else {
            // Makes the files and syncs the names of them.
            let first = off_the_network(append);
            self.has_appended.store(first.is_ok(), Ordering::Relaxed);
            first
        };
        appended.map_err(|failure| Refusal::from_append(partition, &failure, is_of_request))
    }

    /// Reads from an offset on, within the isolation's bound. `Ok(None)`: the disk would have to be waited for.
    ///
    /// # Errors
    /// The offset is out of range, or the partition is deleted or offline.
    pub fn read(
        &self,
        fetch_offset: i64,
        bytes_max: usize,
        isolation: Isolation,
        whole_first_batch: bool,
        patience: Patience,
    ) -> Result<Option<ReadResult>, ErrorCode> {
        let partition = self.live()?;
        let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        let bound = isolation.bound();
        let read = match patience {
            Patience::None => partition.read_without_waiting(fetch_offset, bytes_max, bound, whole_first_batch),
            Patience::Any => partition.read(fetch_offset, bytes_max, bound, whole_first_batch),
        };
        let read = match read {
            Ok(read) => read,
            Err(ReadError::WouldWait) => return Ok(None),
            Err(ReadError::OffsetOutOfRange { .. }) => return Err(ErrorCode::OFFSET_OUT_OF_RANGE),
            Err(ReadError::Storage(failure)) => {
                error!("cannot read {}-{}: {failure}", self.identity.topic, self.identity.partition);
                return Err(ErrorCode::KAFKA_STORAGE_ERROR);
            }
        };
        // A part of a first batch is no progress to anybody, and the Java consumer throws at it: Kafka sends nothing in its
        // place, without the aborted transactions either (`ReplicaManager.checkFetchDataInfo`).
        if read.slice.as_ref().is_some_and(|slice| slice.length < read.first_batch_bytes) {
            return Ok(Some(ReadResult { offsets: read.offsets, region: None, aborted: None }));
        }
        let aborted = (isolation == Isolation::ReadCommitted)
            .then(|| read.aborted.iter().map(|aborted| (aborted.producer_id, aborted.first_offset)).collect());
        let region = read.slice.map(|slice| FileRegion {
            file: slice.file,
            position: slice.position,
            bytes: usize::try_from(slice.length).unwrap_or(0),
            end: slice.end,
            readers: Arc::clone(&self.place.readers),
        });
        Ok(Some(ReadResult { offsets: read.offsets, region, aborted }))
    }
}
