//! A segment: a run of batches in one `.log` file, named by the offset it begins at, and the index files beside it.
//!
//! Only the last segment of a partition is written. `size` is what counts as its content, and all that is in the file once a write has
//! returned: what a failed one leaves is cut off. Readers share a segment by `Arc` and may go on reading after it was removed. The log file
//! is opened when first touched and closed when idle.

mod indexes;
pub mod names;
pub(crate) mod old;
mod reader;
mod repair;
pub mod scan;
mod writer;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::Offset;
use crate::batch::BatchHeader;
use crate::batch::header::HEADER_BYTES;
use crate::env::patience::{may_wait, would_wait};
use crate::env::{Disk, File, OpenMode, read_exact_at};
use crate::error::{IoContext, StorageError};
use crate::index::offset::OffsetIndex;
use crate::index::time::{TimeEntry, TimeIndex};
use crate::index::txn::{self, AbortedEntry};
pub(crate) use indexes::Indexes;
pub use repair::rebuilds;

/// Bytes read at once when walking from an index entry to a batch: as a rule the whole way.
const WALK_BYTES: usize = 4096 + HEADER_BYTES;

#[derive(Debug)]
pub struct Segment {
    base_offset: Offset,
    log_path: PathBuf,
    directory: PathBuf,
    size: AtomicU32,
    /// Closed while idle.
    log: Mutex<Option<Arc<dyn File>>>,
    indexes: Mutex<Indexes>,
    /// Its files may be gone: an error of opening them means "no longer here".
    removed: AtomicBool,
    /// Its descriptor must stay: no file has its name yet.
    pinned: AtomicBool,
    /// Read or written since the last [`Segment::release_if_idle`].
    used: AtomicBool,
    /// Appended to since the last sync.
    unsynced: AtomicBool,
    /// Among those of [`crate::open_files::OpenFiles`].
    listed: AtomicBool,
    /// Wall clock at creation, or of the file's last write when found: age for `segment.ms` and retention where records tell none.
    created_ms: i64,
}

/// A batch found in a segment.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub position: u32,
    pub header: BatchHeader,
    pub bytes: u32,
}

impl Segment {
    /// A new segment to be written. On an error no file of it is left: an empty segment in the middle of a log would hide what is
    /// appended to the one before.
    pub fn create(
        disk: &dyn Disk,
        directory: &Path,
        base_offset: Offset,
        now_ms: i64,
    ) -> Result<Segment, StorageError> {
        let segment = Segment::writable(directory, base_offset, 0, now_ms);
        let Err(error) = segment.create_files(disk) else { return Ok(segment) };
        for suffix in [names::LOG, names::OFFSET_INDEX, names::TIME_INDEX] {
            let path = names::file(directory, base_offset, suffix);
            match disk.remove_file(&path) {
                Err(left) if left.kind() != io::ErrorKind::NotFound => {
                    let what = format!("it is empty and should not be there: {error}; it could not be removed: {left}");
                    return Err(StorageError::corrupt(&path, 0, what));
                }
                _ => {}
            }
        }
        Err(error)
    }

    /// Kafka makes all three at once; an index that is missing would be a sign of damage to it.
    fn create_files(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let log = disk.open(&self.log_path, OpenMode::Truncate).at("create", &self.log_path)?;
        *self.log.lock() = Some(log);
        let mut indexes = self.indexes.lock();
        let path = indexes.offset.file().path().to_path_buf();
        indexes.offset.file().flush(disk, false).at("create", &path)?;
        let path = indexes.time.file().path().to_path_buf();
        indexes.time.file().flush(disk, false).at("create", &path)
    }

    /// A segment whose indexes are yet to be filled: new, or about to be scanned.
    pub fn writable(directory: &Path, base_offset: Offset, size: u32, created_ms: i64) -> Segment {
        Segment {
            base_offset,
            log_path: names::file(directory, base_offset, names::LOG),
            directory: directory.to_path_buf(),
            size: AtomicU32::new(size),
            log: Mutex::new(None),
            indexes: Mutex::new(Indexes::fresh(directory, base_offset, "")),
            removed: AtomicBool::new(false),
            pinned: AtomicBool::new(false),
            used: AtomicBool::new(true),
            unsynced: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            created_ms,
        }
    }

    /// What compaction made: its files have other names yet, so that it lives by its descriptor and by the indexes in memory until
    /// [`Segment::settle`].
    pub(crate) fn replacement(
        directory: &Path,
        base_offset: Offset,
        size: u32,
        created_ms: i64,
        log: Arc<dyn File>,
        mut indexes: Indexes,
    ) -> Segment {
        let segment = Segment::writable(directory, base_offset, size, created_ms);
        indexes.moved_to(directory, base_offset);
        *segment.log.lock() = Some(log);
        *segment.indexes.lock() = indexes;
        segment.pinned.store(true, Ordering::Release);
        segment
    }

    /// The files of a replacement have their names.
    pub(crate) fn settle(&self) {
        self.retire();
        self.pinned.store(false, Ordering::Release);
        // Opened again by who needs it, and closed again when idle.
        *self.log.lock() = None;
    }

    /// A segment that will not be written again, its files as listed.
    pub fn closed(
        directory: &Path,
        base_offset: Offset,
        size: u32,
        modified_ms: i64,
        offset_index_bytes: u64,
        time_index_bytes: u64,
    ) -> Segment {
        let segment = Segment::writable(directory, base_offset, size, modified_ms);
        {
            let mut indexes = segment.indexes.lock();
            indexes.offset = OffsetIndex::closed(
                base_offset,
                names::file(directory, base_offset, names::OFFSET_INDEX),
                offset_index_bytes,
            );
            indexes.time = TimeIndex::closed(
                base_offset,
                names::file(directory, base_offset, names::TIME_INDEX),
                time_index_bytes,
            );
            indexes.txn = None;
            indexes.txn_checked = false;
            indexes.is_closed = true;
            indexes.max = None;
        }
        segment.used.store(false, Ordering::Relaxed);
        segment
    }

    /// The last segment of a log that was closed cleanly, ready to be written on. None when its indexes do not fit it.
    pub fn reopen(
        disk: &dyn Disk,
        directory: &Path,
        base_offset: Offset,
        size: u32,
        modified_ms: i64,
    ) -> io::Result<Option<Segment>> {
        let segment = Segment::writable(directory, base_offset, size, modified_ms);
        let offset =
            OffsetIndex::load(disk, base_offset, names::file(directory, base_offset, names::OFFSET_INDEX), size)?;
        let time = TimeIndex::load(disk, base_offset, names::file(directory, base_offset, names::TIME_INDEX))?;
        let (Some(offset), Some(mut time)) = (offset, time) else { return Ok(None) };
        let max = time.last(disk)?;
        {
            let mut indexes = segment.indexes.lock();
            indexes.offset = offset;
            indexes.time = time;
            indexes.txn = None;
            indexes.txn_checked = false;
            indexes.max = Some(max);
        }
        Ok(Some(segment))
    }

    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    pub fn size(&self) -> u32 {
        self.size.load(Ordering::Acquire)
    }

    pub fn log_path(&self) -> &Path {
        &self.log_path
    }

    pub fn created_ms(&self) -> i64 {
        self.created_ms
    }

    pub fn log(&self, disk: &dyn Disk) -> Result<Arc<dyn File>, StorageError> {
        self.used.store(true, Ordering::Relaxed);
        if let Some(file) = self.log.lock().as_ref() {
            return Ok(file.clone());
        }
        // Without the lock: a slow disk holds up nobody who needs no file. Of two that open it at once the first one is kept.
        let file = disk.open(&self.log_path, OpenMode::Write).at("open", &self.log_path)?;
        Ok(self.log.lock().get_or_insert(file).clone())
    }

    /// The indexes, which somebody may hold who waits for the disk.
    fn indexes(&self) -> io::Result<MutexGuard<'_, Indexes>> {
        if may_wait() { Ok(self.indexes.lock()) } else { self.indexes.try_lock().ok_or_else(would_wait) }
    }

    /// True once the segment was taken out of its partition: errors of opening its files say nothing about the disk.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// True when it was not among those with open files; it is now.
    pub(crate) fn enter_list(&self) -> bool {
        !self.listed.load(Ordering::Relaxed) && !self.listed.swap(true, Ordering::Relaxed)
    }

    /// Closes the descriptors of a segment nobody touched since the last call; if it `must` be, of any that nobody is looking something up
    /// in, perhaps on the disk: for that nobody waits here. False: they stay.
    pub(crate) fn close_files(&self, must: bool) -> bool {
        self.indexes.try_lock().is_some_and(|indexes| self.close_all(indexes, must))
    }

    fn close_all(&self, mut indexes: MutexGuard<'_, Indexes>, must: bool) -> bool {
        if self.pinned.load(Ordering::Acquire) {
            return false;
        }
        if !must && (self.used.swap(false, Ordering::Relaxed) || self.unsynced.load(Ordering::Relaxed)) {
            return false;
        }
        self.listed.store(false, Ordering::Relaxed);
        *self.log.lock() = None;
        indexes.offset.file().release();
        indexes.time.file().release();
        indexes.release_aborted();
        true
    }

    /// Closes the descriptors of a segment nobody touched since the last call.
    pub fn release_if_idle(&self) {
        self.close_files(false);
    }

    /// Nobody needs this segment for now: opening a partition looks into all that may be torn.
    pub fn release(&self) {
        self.close_all(self.indexes.lock(), true);
    }

    /// Bytes of offset and time index.
    pub(crate) fn index_bytes(&self) -> (u64, u64) {
        let mut indexes = self.indexes.lock();
        (indexes.offset.file().bytes() as u64, indexes.time.file().bytes() as u64)
    }

    fn txn_path(&self) -> PathBuf {
        names::file(&self.directory, self.base_offset, names::TXN_INDEX)
    }

    /// The whole partition goes.
    pub fn mark_removed(&self) {
        self.removed.store(true, Ordering::Release);
    }

    /// Renames the files to `.deleted`; the new names, for removing them later.
    pub fn mark_deleted(&self, disk: &dyn Disk) -> Result<Vec<PathBuf>, StorageError> {
        self.removed.store(true, Ordering::Release);
        let mut renamed = Vec::new();
        for suffix in [names::LOG, names::OFFSET_INDEX, names::TIME_INDEX, names::TXN_INDEX] {
            let path = names::file(&self.directory, self.base_offset, suffix);
            let mut name = path.clone().into_os_string();
            name.push(names::DELETED_SUFFIX);
            let target = PathBuf::from(name);
            match disk.rename(&path, &target) {
                Ok(()) => renamed.push(target),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StorageError::io("rename", &path, error)),
            }
        }
        Ok(renamed)
    }
}

fn load_txn<'i>(
    indexes: &'i mut Indexes,
    disk: &dyn Disk,
    path: &Path,
) -> Result<&'i mut Vec<AbortedEntry>, StorageError> {
    if indexes.txn.is_none() {
        let wrong = || StorageError::corrupt(path, 0, "is no index of aborted transactions");
        let entries = txn::read(disk, path).at("read", path)?.ok_or_else(wrong)?;
        indexes.txn_written = entries.len();
        indexes.txn = Some(entries);
    }
    Ok(indexes.txn.get_or_insert_default())
}

fn flush_txn(indexes: &mut Indexes, disk: &dyn Disk, path: &Path, sync: bool) -> Result<(), StorageError> {
    let Some(entries) = &indexes.txn else { return Ok(()) };
    if indexes.txn_written < entries.len() {
        txn::append(disk, path, indexes.txn_written, &entries[indexes.txn_written..]).at("append to", path)?;
        indexes.txn_written = entries.len();
    }
    if sync && !entries.is_empty() {
        disk.open(path, OpenMode::Write).at("open", path)?.sync_data().at("sync", path)?;
    }
    Ok(())
}
