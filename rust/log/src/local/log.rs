//! The open log: the partition, the threads beside it, and its end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::cursors::{Cursor, CursorError, Cursors};
use super::directory::LocalDirectory;
use super::page::{self, Publisher};
use super::progress::{Move, Progress, Subscription, Watch};
use super::scan::{Batches, Piece, Source};
use crate::cleaner::{Cleaner, CleanerConfig};
use crate::compaction::Pace;
use crate::error::{AppendError, ReadError, StorageError};
use crate::maintenance::{Maintenance, MaintenanceConfig, PartitionSource};
use crate::partition::{AppendOptions, Appended, MapSize, OffsetAt, Origin, PartitionStatus, ReadUpTo};
use crate::{Identity, Offset, Offsets, Partition, PartitionConfig, TopicId};

/// Memory for the keys of one compaction.
const MAP_BYTES: u64 = 64 << 20;
const MAP_LOAD_FACTOR: f64 = 0.9;

/// What metrics and people are told.
#[derive(Clone, Debug)]
pub struct LocalStatus {
    pub partition: PartitionStatus,
    pub unsynced_bytes: u64,
    pub was_clean: bool,
    pub cursors: Vec<(String, Offset)>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The record at the offset is as safe as the durability promises: with `fsync`, on the disk.
    Settled(Offset),
    /// It may be read, too: no transaction that a broker's client began before it is still open.
    Readable(Offset),
}

impl Wait {
    pub(super) fn has_come(self, offsets: &Offsets) -> bool {
        match self {
            Wait::Settled(offset) => offsets.high_watermark > offset,
            Wait::Readable(offset) => offsets.last_stable > offset,
        }
    }
}

/// What the threads see.
struct Inner {
    /// None once closed: that lets go of the directory's lock, whoever still holds the rest.
    directory: Mutex<Option<Arc<LocalDirectory>>>,
    partition: Arc<Partition>,
    cursors: Cursors,
    progress: Arc<Progress>,
    publisher: Arc<Publisher>,
}

impl Inner {
    fn directory(&self) -> Option<Arc<LocalDirectory>> {
        self.directory.lock().clone()
    }

    /// Before records go, the cursors in them are brought to safety; if that fails nothing may go.
    fn cursors_are_safe(&self) -> bool {
        let Some(directory) = self.directory() else { return false };
        match self.cursors.save_if_moved(&directory.directory, &self.partition) {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(partition = ?self.partition, %error, "cursors are not on the disk: nothing is deleted or compacted");
                false
            }
        }
    }
}

impl PartitionSource for Inner {
    fn partitions(&self) -> Vec<Arc<Partition>> {
        let metadata = self.directory().map(|directory| directory.metadata.partition().clone());
        std::iter::once(self.partition.clone()).chain(metadata).collect()
    }

    /// Asked for before retention.
    fn with_idle(&self) -> Vec<Arc<Partition>> {
        let mut partitions = self.partitions();
        if !self.cursors_are_safe() {
            partitions.retain(|partition| !Arc::ptr_eq(partition, &self.partition));
        }
        partitions
    }

    /// Asked for before compaction.
    fn compacted(&self) -> Vec<Arc<Partition>> {
        if self.partition.config().cleanup_policy.compact && self.cursors_are_safe() {
            vec![self.partition.clone()]
        } else {
            Vec::new()
        }
    }

    fn checkpoint(&self, partitions: &[Arc<Partition>]) {
        let Some(directory) = self.directory() else { return };
        if let Err(error) = directory.directory.checkpoint(partitions) {
            tracing::error!(partition = ?self.partition, %error, "checkpoints were not written");
        }
        // So that an opening after a crash has little to look through.
        if let Err(error) = self.cursors.note(&directory.directory, &self.partition) {
            tracing::error!(partition = ?self.partition, %error, "the file of cursors was not written");
        }
        // Retention and compaction came before.
        self.publisher.publish(&self.partition);
    }
}

/// See the module. Shared by reference between threads.
pub struct LocalLog {
    inner: Arc<Inner>,
    maintenance: Mutex<Option<Maintenance>>,
    cleaner: Mutex<Option<Cleaner>>,
    hash_key: [u8; 16],
    was_clean: bool,
    is_closed: AtomicBool,
    /// Who closes it too returns once it is closed.
    closing: Mutex<()>,
}

impl LocalLog {
    pub(super) fn open(
        directory: Arc<LocalDirectory>,
        topic: &str,
        topic_id: TopicId,
        leader_epoch: i32,
        config: PartitionConfig,
        hash_key: [u8; 16],
    ) -> Result<LocalLog, AppendError> {
        let identity = Identity { topic: topic.into(), topic_id, partition: 0 };
        let path = directory.directory.partition_path(topic, 0);
        let hint = directory.directory.hint(topic, 0);
        let page = page::path(directory.directory.path(), topic);
        let incarnation = u64::from_be_bytes(hash_key[..8].try_into().unwrap_or_default());
        let publisher =
            Arc::new(Publisher::open(directory.host.env().disk(), page, topic_id, incarnation, directory.was_clean())?);
        let (partition, _) = Partition::open(&directory.host, path, identity, Arc::new(config), leader_epoch, hint)?;
        let cursors = Cursors::load(&directory.directory, &partition)?;
        let progress = Arc::<Progress>::default();
        partition.set_observer(Arc::new(Watch { progress: progress.clone(), publisher: publisher.clone() }));
        // Readers in other processes find aborted transactions of a broker's clients in the files.
        partition.flush_indexes()?;
        publisher.publish(&partition);
        let (host, was_clean) = (directory.host.clone(), directory.was_clean());
        let lost = Arc::downgrade(&partition);
        directory.directory.health().set_observer(Box::new(move |reason| {
            if let Some(partition) = lost.upgrade() {
                partition.take_offline(reason);
            }
        }));
        let inner = Arc::new(Inner { directory: Mutex::new(Some(directory)), partition, cursors, progress, publisher });
        let source = inner.clone() as Arc<dyn PartitionSource>;
        let cleaner = inner.partition.config().cleanup_policy.compact.then(|| {
            let config = CleanerConfig { hash_key, map_bytes_max: MAP_BYTES, ..CleanerConfig::default() };
            Cleaner::start(&host, &source, &config)
        });
        let maintenance = Maintenance::start(&host, source, MaintenanceConfig::default());
        Ok(LocalLog {
            inner,
            maintenance: Mutex::new(Some(maintenance)),
            cleaner: Mutex::new(cleaner),
            hash_key,
            was_clean,
            is_closed: AtomicBool::new(false),
            closing: Mutex::new(()),
        })
    }

    pub fn partition(&self) -> &Arc<Partition> {
        &self.inner.partition
    }

    pub fn offsets(&self) -> Offsets {
        self.inner.partition.offsets()
    }

    pub fn now_ms(&self) -> i64 {
        self.inner.partition.host().env().clock().now_ms()
    }

    fn check_open(&self) -> Result<(), StorageError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(StorageError::Closed { path: self.inner.partition.path().to_path_buf() });
        }
        Ok(())
    }

    fn directory(&self) -> Result<Arc<LocalDirectory>, StorageError> {
        self.check_open()?;
        let closed = || StorageError::Closed { path: self.inner.partition.path().to_path_buf() };
        self.inner.directory().ok_or_else(closed)
    }

    /// The disk does not keep up: who appends waits first, whatever the durability.
    pub fn is_over(&self) -> bool {
        self.inner.partition.host().is_over()
    }

    /// Waits until appenders need not; false when that took too long.
    pub fn wait_for_room(&self, timeout: Duration) -> Result<bool, StorageError> {
        self.check_open()?;
        let host = self.inner.partition.host();
        Ok(!host.is_over() || host.wait_for_room(timeout))
    }

    /// Appends one built batch, whole or not at all, and with it the cursors that its last record names. Does not wait for room.
    pub fn append(&self, batch: &mut [u8], cursors: &[(String, Offset)]) -> Result<Appended, AppendError> {
        self.check_open()?;
        let options = AppendOptions { size_limited: false, ..AppendOptions::default() };
        let partition = &self.inner.partition;
        let mut append = || partition.append(batch, Origin::Coordinator, options);
        if cursors.is_empty() { append() } else { self.inner.cursors.append_with(partition, cursors, append) }
    }

    pub fn wait_for(&self, what: Wait, timeout: Duration) -> Move {
        self.inner.progress.wait_for(what, || Some(self.offsets()), timeout)
    }

    /// `hook` is called whenever there may be more to read, or never will be.
    pub fn subscribe(&self, hook: impl Fn() + Send + 'static) -> Subscription {
        Subscription::new(&self.inner.progress, hook)
    }

    /// Why nothing will move any more.
    pub fn ended(&self) -> Option<StorageError> {
        self.inner.progress.ended()
    }

    pub fn batches(&self, start: Offset) -> Batches {
        let (partition, publisher) = (self.inner.partition.clone(), self.inner.publisher.clone());
        let cuts = AtomicU64::new(publisher.page().cuts);
        Batches::new(Arc::new(Own { partition, publisher, cuts }), start, ReadUpTo::LastStable)
    }

    /// Everything appended so far is on the disk when this returns.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.check_open()?;
        self.inner.partition.flush()
    }

    pub fn lookup_timestamp(&self, timestamp_ms: i64) -> Result<Option<OffsetAt>, StorageError> {
        self.check_open()?;
        self.inner.partition.lookup_timestamp(timestamp_ms)
    }

    /// Cuts the log at `offset`, which must be the begin of a batch or the log end. Where compaction has left nothing right before it the log
    /// ends lower, where what is left does. `cursors` says where those are to stand that would be left behind: nothing is cut while one is
    /// missing.
    pub fn truncate(&self, offset: Offset, cursors: &[(String, Offset)]) -> Result<(), TruncateError> {
        let directory = self.directory()?;
        let offsets = self.offsets();
        if offset < offsets.log_start || offset > offsets.log_end {
            let (log_start, log_end) = (offsets.log_start, offsets.log_end);
            return Err(ReadError::OffsetOutOfRange { requested: offset, log_start, log_end }.into());
        }
        if offset == offsets.log_end {
            return if cursors.is_empty() { Ok(()) } else { Ok(self.commit(cursors)?) };
        }
        let read = self.inner.partition.read(offset, 1, ReadUpTo::LogEnd, true)?;
        if read.slice.is_some() && read.first_offset < offset {
            return Err(TruncateError::InsideBatch(read.first_offset));
        }
        let (inner, directory) = (&self.inner, &directory.directory);
        // Compaction may have left nothing right before it.
        let end = inner.partition.if_truncated(offset)?.map_or(offset, |after| after.end);
        if cursors.iter().any(|(_, position)| (end + 1..=offset).contains(position)) {
            return Err(TruncateError::EndsBefore(end));
        }
        inner.cursors.truncate(directory, &inner.partition, end, cursors, || {
            let cut = || directory.truncate(&inner.partition, offset);
            let cut = inner.publisher.cutting(&inner.partition, end, cut);
            inner.progress.disturb();
            cut
        })
    }

    /// Nobody reads below `offset` any more; segments that lie below go at once. The log start as it is then, on the disk.
    pub fn delete_before(&self, offset: Offset) -> Result<Offset, ReadError> {
        let directory = self.directory()?;
        // Until the cursors of all that goes are on the disk, of what is appended meanwhile too.
        while self.inner.cursors.save_if_moved(&directory.directory, &self.inner.partition)? < offset {
            let Offsets { log_start, log_end, .. } = self.offsets();
            if offset > log_end {
                return Err(ReadError::OffsetOutOfRange { requested: offset, log_start, log_end });
            }
        }
        self.inner.partition.delete_records_before(offset)?;
        self.inner.publisher.publish(&self.inner.partition);
        directory.directory.checkpoint(std::slice::from_ref(&self.inner.partition))?;
        self.inner.partition.enforce_retention(self.now_ms())?;
        self.inner.publisher.publish(&self.inner.partition);
        Ok(self.offsets().log_start)
    }

    /// Ends the segment being written and compacts all before it: of each key the last record stays. Records read and kept; fewer when the
    /// pace says stop.
    pub fn compact(&self, pace: &mut dyn Pace) -> Result<(u64, u64), StorageError> {
        let directory = self.directory()?;
        // In this order: what is appended meanwhile lies behind what is compacted.
        self.inner.partition.roll()?;
        self.inner.partition.flush()?;
        self.inner.cursors.save_if_moved(&directory.directory, &self.inner.partition)?;
        let size = MapSize { bytes_max: MAP_BYTES, load_factor: MAP_LOAD_FACTOR, hash_key: self.hash_key };
        let (mut read, mut kept) = (0, 0);
        // A map that could not hold all keys ends a pass early.
        while let Some(done) = self.inner.partition.compact(size, pace)? {
            read += done.stats.records_read;
            kept += done.stats.records_kept;
            if done.cleaned >= done.plan.until {
                break;
            }
        }
        directory.directory.checkpoint(std::slice::from_ref(&self.inner.partition))?;
        self.inner.publisher.publish(&self.inner.partition);
        Ok((read, kept))
    }

    /// Notes what an opening after a crash would have to look through again. Housekeeping does so now and then.
    pub fn checkpoint(&self) {
        self.inner.checkpoint(&self.inner.partitions());
    }

    pub fn cursor(&self, name: &str) -> Option<Cursor> {
        self.inner.cursors.get(name)
    }

    /// Moves cursors of this log; they are on the disk when this returns.
    pub fn commit(&self, cursors: &[(String, Offset)]) -> Result<(), CursorError> {
        let directory = self.directory()?;
        self.inner.cursors.commit(&directory.directory, &self.inner.partition, cursors)
    }

    /// Forgets a cursor; false if there is none.
    pub fn forget(&self, name: &str) -> Result<bool, CursorError> {
        let directory = self.directory()?;
        self.inner.cursors.forget(&directory.directory, &self.inner.partition, name)
    }

    pub fn status(&self) -> LocalStatus {
        LocalStatus {
            partition: self.inner.partition.status(),
            unsynced_bytes: self.inner.partition.unsynced_bytes(),
            was_clean: self.was_clean,
            cursors: self.inner.cursors.list(),
        }
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Wakes who waits, syncs, writes what a clean stop leaves, and lets go of the directory. Idempotent. After an error the directory is
    /// let go all the same, without the mark of a clean stop.
    pub fn close(&self) -> Result<(), StorageError> {
        let _one = self.closing.lock();
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let partition = &self.inner.partition;
        if let Some(cleaner) = self.cleaner.lock().take() {
            cleaner.stop();
        }
        if let Some(maintenance) = self.maintenance.lock().take() {
            maintenance.stop();
        }
        let Some(directory) = self.inner.directory() else { return Ok(()) };
        let flushed = partition.flush();
        let mut closed = flushed.and_then(|()| self.inner.cursors.note(&directory.directory, partition));
        closed = closed.and(partition.close());
        self.inner.publisher.close();
        self.inner.progress.end(StorageError::Closed { path: partition.path().to_path_buf() });
        closed = closed.and(directory.metadata.close());
        directory.host.stop();
        if closed.is_ok() && !directory.leaves_unchecked {
            closed = directory.directory.close(&[partition.clone(), directory.metadata.partition().clone()]);
        }
        self.inner.directory.lock().take();
        closed
    }
}

/// One's own log as a reader goes through it: what is truncated under it is not put together with what comes in its place.
#[derive(Debug)]
struct Own {
    partition: Arc<Partition>,
    publisher: Arc<Publisher>,
    /// Truncations so far that it was not behind of.
    cuts: AtomicU64,
}

impl Own {
    /// How often the log was truncated.
    fn check(&self, start: Offset) -> Result<u64, ReadError> {
        let page = self.publisher.page();
        match page.lowest_cut_since(self.cuts.load(Ordering::Acquire)).filter(|cut| *cut < start) {
            Some(cut) => {
                let what = format!("the log was truncated to offset {cut}, and {start} was to be read next");
                Err(StorageError::Overtaken { path: self.partition.path().to_path_buf(), what }.into())
            }
            None => {
                self.cuts.store(page.cuts, Ordering::Release);
                Ok(page.cuts)
            }
        }
    }
}

impl Source for Own {
    fn read(&self, start: Offset, bytes_max: u32, up_to: ReadUpTo) -> Result<Piece, ReadError> {
        loop {
            let before = self.check(start)?;
            let read = Source::read(self.partition.as_ref(), start, bytes_max, up_to);
            // A cut is told before it is made: what was read without one is whole.
            if self.check(start)? == before {
                return read;
            }
        }
    }

    fn offsets(&self) -> Offsets {
        self.partition.offsets()
    }

    fn path(&self) -> &Path {
        self.partition.path()
    }

    fn unpacked_bytes_max(&self) -> usize {
        Source::unpacked_bytes_max(self.partition.as_ref())
    }
}

/// Why a log was not cut.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TruncateError {
    /// The batch that begins there reaches past the offset: it can only be kept or go as a whole.
    #[error("the offset lies inside the batch that begins at {0}")]
    InsideBatch(Offset),
    /// Nothing is kept right before the offset: the log would end there, before a cursor that is to stand at the offset.
    #[error("the log would end at {0}")]
    EndsBefore(Offset),
    /// Where these stand nobody has said, and they lie beyond the cut or moved with what goes.
    #[error("cursors would be left behind: {0:?}")]
    Cursors(Vec<(String, Offset)>),
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

#[cfg(test)]
mod tests;
