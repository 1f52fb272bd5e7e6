//! A segment: a run of batches in one `.log` file, named by the offset it begins at, and the index files beside it.
//!
//! Only the last segment of a partition is written. `size` is what counts as its content; bytes behind it in the file are a write that
//! failed, and the next write goes over them. Readers share a segment by `Arc` and may go on reading after it was removed. The log file
//! is opened when first touched and closed when idle.

pub mod names;
pub mod scan;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::Offset;
use crate::batch::BatchHeader;
use crate::batch::header::HEADER_BYTES;
use crate::env::{Disk, File, OpenMode, read_exact_at};
use crate::error::{IoContext, StorageError};
use crate::index::offset::OffsetIndex;
use crate::index::time::{TimeEntry, TimeIndex};
use crate::index::txn::{self, AbortedEntry};

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
    /// Read or written since the last [`Segment::release_if_idle`].
    used: AtomicBool,
    /// Wall clock at creation, or of the file's last write when found: age for `segment.ms` and retention where records tell none.
    created_ms: i64,
}

#[derive(Debug)]
struct Indexes {
    offset: OffsetIndex,
    time: TimeIndex,
    /// None: not read yet.
    txn: Option<Vec<AbortedEntry>>,
    /// How many of them the file has.
    txn_written: usize,
    /// None: not read yet. Some(None): no record has a timestamp.
    max: Option<Option<TimeEntry>>,
    /// Timestamp of the first batch, for `segment.ms`. None: not read yet or nothing there.
    first_timestamp_ms: Option<i64>,
    bytes_since_entry: u32,
}

/// A batch found in a segment.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub position: u32,
    pub header: BatchHeader,
    pub bytes: u32,
}

impl Segment {
    /// A new segment to be written.
    pub fn create(
        disk: &dyn Disk,
        directory: &Path,
        base_offset: Offset,
        now_ms: i64,
    ) -> Result<Segment, StorageError> {
        let log_path = names::file(directory, base_offset, names::LOG);
        let log = disk.open(&log_path, OpenMode::Truncate).at("create", &log_path)?;
        let segment = Segment::writable(directory, base_offset, 0, now_ms);
        *segment.log.lock() = Some(log);
        // Kafka makes all three at once; an index that is missing would be a sign of damage to it.
        let mut indexes = segment.indexes.lock();
        let path = indexes.offset.file().path().to_path_buf();
        indexes.offset.file().flush(disk, false).at("create", &path)?;
        let path = indexes.time.file().path().to_path_buf();
        indexes.time.file().flush(disk, false).at("create", &path)?;
        drop(indexes);
        Ok(segment)
    }

    /// A segment whose indexes are yet to be filled: new, or about to be scanned.
    pub fn writable(directory: &Path, base_offset: Offset, size: u32, created_ms: i64) -> Segment {
        Segment {
            base_offset,
            log_path: names::file(directory, base_offset, names::LOG),
            directory: directory.to_path_buf(),
            size: AtomicU32::new(size),
            log: Mutex::new(None),
            indexes: Mutex::new(Indexes {
                offset: OffsetIndex::fresh(base_offset, names::file(directory, base_offset, names::OFFSET_INDEX)),
                time: TimeIndex::fresh(base_offset, names::file(directory, base_offset, names::TIME_INDEX)),
                txn: Some(Vec::new()),
                txn_written: 0,
                max: Some(None),
                first_timestamp_ms: None,
                bytes_since_entry: 0,
            }),
            removed: AtomicBool::new(false),
            used: AtomicBool::new(true),
            created_ms,
        }
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
        let mut log = self.log.lock();
        if let Some(file) = log.as_ref() {
            return Ok(file.clone());
        }
        let file = disk.open(&self.log_path, OpenMode::Write).at("open", &self.log_path)?;
        *log = Some(file.clone());
        Ok(file)
    }

    /// True once the segment was taken out of its partition: errors of opening its files say nothing about the disk.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Closes the descriptors of a segment nobody touched since the last call.
    pub fn release_if_idle(&self) {
        if !self.used.swap(false, Ordering::Relaxed) {
            *self.log.lock() = None;
            let mut indexes = self.indexes.lock();
            indexes.offset.file().release();
            indexes.time.file().release();
        }
    }

    /// Can a batch ending at `last_offset` and `bytes` long go in here?
    pub fn has_room(&self, last_offset: Offset, bytes: usize, segment_bytes: u32, index_bytes: u32) -> bool {
        let size = self.size() as usize;
        let mut indexes = self.indexes.lock();
        let index_room = indexes.offset.file().bytes() + crate::index::offset::ENTRY_BYTES <= index_bytes as usize
            && indexes.time.file().bytes() + 2 * crate::index::time::ENTRY_BYTES <= index_bytes as usize;
        (size == 0 || size + bytes <= segment_bytes as usize) && indexes.offset.can_hold(last_offset) && index_room
    }

    /// Writes a whole batch behind the last one. On an error nothing has changed but bytes behind `size`.
    pub fn append(
        &self,
        disk: &dyn Disk,
        header: &BatchHeader,
        batch: &[u8],
        index_interval_bytes: u32,
    ) -> Result<u32, StorageError> {
        let position = self.size();
        let log = self.log(disk)?;
        log.write_at(&mut [IoSlice::new(batch)], u64::from(position)).at("append to", &self.log_path)?;
        self.note_batch(header, position, batch.len() as u32, index_interval_bytes);
        self.size.store(position + batch.len() as u32, Ordering::Release);
        Ok(position)
    }

    /// Enters a batch into the indexes; also how they are rebuilt.
    pub fn note_batch(&self, header: &BatchHeader, position: u32, bytes: u32, index_interval_bytes: u32) {
        let mut indexes = self.indexes.lock();
        let indexes = &mut *indexes;
        let last_offset = header.last_offset();
        let max = indexes.max.get_or_insert(None);
        if header.max_timestamp_ms > max.map_or(-1, |max| max.timestamp_ms) {
            *max = Some(TimeEntry { timestamp_ms: header.max_timestamp_ms, offset: last_offset });
        }
        if position == 0 {
            indexes.first_timestamp_ms = Some(header.max_timestamp_ms);
        }
        if indexes.bytes_since_entry > index_interval_bytes {
            indexes.offset.push(last_offset, position);
            if let Some(max) = *max {
                indexes.time.push(max);
            }
            indexes.bytes_since_entry = 0;
        }
        indexes.bytes_since_entry = indexes.bytes_since_entry.saturating_add(bytes);
    }

    /// Notes the end of an aborted transaction. Memory has it at once; the file as soon as the disk takes it: the marker is in the log
    /// already, from which the file is rebuilt.
    pub fn note_aborted(&self, disk: &dyn Disk, entry: AbortedEntry) -> Result<(), StorageError> {
        let path = self.txn_path();
        let mut indexes = self.indexes.lock();
        load_txn(&mut indexes, disk, &path)?.push(entry);
        if let Err(error) = flush_txn(&mut indexes, disk, &path) {
            tracing::warn!(%error, "an aborted transaction is not in its index file yet");
        }
        Ok(())
    }

    /// Replaces the aborted transactions by what a scan found.
    pub fn set_aborted(&self, disk: &dyn Disk, entries: Vec<AbortedEntry>) -> Result<(), StorageError> {
        let path = self.txn_path();
        txn::write(disk, &path, &entries).at("write", &path)?;
        let mut indexes = self.indexes.lock();
        indexes.txn_written = entries.len();
        indexes.txn = Some(entries);
        Ok(())
    }

    /// Hands the aborted transactions of this segment to `look` one by one, until it says false.
    pub fn aborted(&self, disk: &dyn Disk, look: impl FnMut(&AbortedEntry) -> bool) -> Result<bool, StorageError> {
        let path = self.txn_path();
        let mut indexes = self.indexes.lock();
        let entries = load_txn(&mut indexes, disk, &path)?;
        Ok(entries.iter().all(look))
    }

    fn txn_path(&self) -> PathBuf {
        names::file(&self.directory, self.base_offset, names::TXN_INDEX)
    }

    /// The batch that holds `target`, or the first behind it; None when every batch below `limit` ends before it.
    pub fn find(&self, disk: &dyn Disk, target: Offset, limit: u32) -> Result<Option<Found>, StorageError> {
        let from = {
            let mut indexes = self.indexes.lock();
            indexes.offset.lookup(disk, target).at("search the index of", &self.log_path)?
        };
        self.walk(disk, from, limit, |found| found.header.last_offset() >= target)
    }

    /// Walks batch headers from `position` until `wanted` says so.
    pub fn walk(
        &self,
        disk: &dyn Disk,
        mut position: u32,
        limit: u32,
        mut wanted: impl FnMut(&Found) -> bool,
    ) -> Result<Option<Found>, StorageError> {
        let log = self.log(disk)?;
        let mut window = [0u8; WALK_BYTES];
        let (mut window_at, mut window_bytes) = (position, 0u32);
        while position < limit {
            if position < window_at || position + HEADER_BYTES as u32 > window_at + window_bytes {
                let wish = WALK_BYTES.min((limit - position) as usize);
                let read = log.read_at(&mut window[..wish], u64::from(position)).at("read", &self.log_path)?;
                (window_at, window_bytes) = (position, read as u32);
            }
            let from = (position - window_at) as usize;
            let header = BatchHeader::read(&window[from..window_bytes as usize]);
            let bytes = header.as_ref().and_then(BatchHeader::total_bytes).filter(|bytes| *bytes <= limit - position);
            let (Some(header), Some(bytes)) = (header, bytes) else {
                return Err(StorageError::corrupt(&self.log_path, u64::from(position), "no whole batch here"));
            };
            let found = Found { position, header, bytes };
            if wanted(&found) {
                return Ok(Some(found));
            }
            position += bytes;
        }
        Ok(None)
    }

    /// A whole batch, header and all.
    pub fn read_batch(&self, disk: &dyn Disk, found: &Found) -> Result<Vec<u8>, StorageError> {
        let mut bytes = vec![0; found.bytes as usize];
        read_exact_at(self.log(disk)?.as_ref(), &mut bytes, u64::from(found.position)).at("read", &self.log_path)?;
        Ok(bytes)
    }

    /// An offset that no batch starting before `position` reaches; None when the index does not know one.
    pub fn offset_at_or_after(&self, disk: &dyn Disk, position: u32) -> Result<Option<Offset>, StorageError> {
        self.indexes.lock().offset.offset_at_or_after(disk, position).at("search the index of", &self.log_path)
    }

    /// The greatest timestamp in the segment, and the last offset of the batch it came with.
    pub fn max_timestamp(&self, disk: &dyn Disk) -> Result<Option<TimeEntry>, StorageError> {
        let mut indexes = self.indexes.lock();
        if let Some(max) = indexes.max {
            return Ok(max);
        }
        let max = indexes.time.last(disk).at("read the time index of", &self.log_path)?;
        indexes.max = Some(max);
        Ok(max)
    }

    /// For retention: the greatest timestamp, or when the file was last written if no record has one.
    pub fn largest_timestamp_ms(&self, disk: &dyn Disk) -> Result<i64, StorageError> {
        Ok(self.max_timestamp(disk)?.map_or(self.created_ms, |max| max.timestamp_ms))
    }

    /// Where a search for `timestamp_ms` may begin.
    pub fn time_floor(&self, disk: &dyn Disk, timestamp_ms: i64) -> Result<Offset, StorageError> {
        let entry =
            self.indexes.lock().time.lookup(disk, timestamp_ms).at("search the time index of", &self.log_path)?;
        Ok(entry.map_or(self.base_offset, |entry| entry.offset))
    }

    /// How long the segment has been filling when a batch of `timestamp_ms` arrives: by its first record's time if it has one, else by
    /// the wall clock (Kafka's `LogSegment.timeWaitedForRoll`).
    pub fn waited_ms(&self, disk: &dyn Disk, now_ms: i64, timestamp_ms: i64) -> Result<i64, StorageError> {
        let first_ms = self.indexes.lock().first_timestamp_ms;
        let first_ms = match first_ms {
            Some(first_ms) => Some(first_ms),
            None => {
                let first = self.walk(disk, 0, self.size(), |_| true)?.map(|found| found.header.max_timestamp_ms);
                self.indexes.lock().first_timestamp_ms = first;
                first
            }
        };
        Ok(match first_ms {
            Some(first_ms) if first_ms >= 0 => timestamp_ms.saturating_sub(first_ms),
            _ => now_ms.saturating_sub(self.created_ms),
        })
    }

    /// Syncs what was appended up to now.
    pub fn sync_log(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        self.log(disk)?.sync_data().at("sync", &self.log_path)
    }

    /// Brings the index files up to date.
    pub fn flush_indexes(&self, disk: &dyn Disk, sync: bool) -> Result<(), StorageError> {
        let mut indexes = self.indexes.lock();
        indexes.offset.file().flush(disk, sync).at("write the index of", &self.log_path)?;
        indexes.time.file().flush(disk, sync).at("write the time index of", &self.log_path)?;
        flush_txn(&mut indexes, disk, &self.txn_path())
    }

    /// Makes the index files of a closed segment survive a power cut; an open one's are rebuilt anyway.
    pub fn sync_closed_indexes(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        for suffix in [names::OFFSET_INDEX, names::TIME_INDEX, names::TXN_INDEX] {
            let path = names::file(&self.directory, self.base_offset, suffix);
            match disk.open(&path, OpenMode::Write) {
                Ok(file) => file.sync_data().at("sync", &path)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StorageError::io("open", &path, error)),
            }
        }
        Ok(())
    }

    /// Position of the last index entry: where a walk to the end begins.
    pub fn last_indexed_position(&self, disk: &dyn Disk) -> Result<u32, StorageError> {
        self.indexes.lock().offset.last_position(disk).at("read the index of", &self.log_path)
    }

    /// Enters the last time entry; the files then say all that memory knows.
    pub fn seal_indexes(&self, disk: &dyn Disk, sync: bool) -> Result<(), StorageError> {
        {
            let mut indexes = self.indexes.lock();
            if let Some(Some(max)) = indexes.max {
                indexes.time.push(max);
            }
        }
        self.flush_indexes(disk, sync)
    }

    /// No more appends: the indexes, sealed before, leave memory.
    pub fn retire(&self) {
        let mut indexes = self.indexes.lock();
        indexes.offset.file().retire();
        indexes.time.file().retire();
    }

    /// The segment will be written on: its indexes go to memory.
    pub fn revive_indexes(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let mut indexes = self.indexes.lock();
        indexes.offset.file().revive(disk).at("read the index of", &self.log_path)?;
        indexes.time.file().revive(disk).at("read the time index of", &self.log_path)?;
        let last_position = indexes.offset.last_position(disk).at("read the index of", &self.log_path)?;
        indexes.bytes_since_entry = self.size() - last_position;
        Ok(())
    }

    /// Cuts the segment at `position`, the begin of a batch; `next_offset` is what that batch would have been.
    pub fn truncate(&self, disk: &dyn Disk, position: u32, next_offset: Offset) -> Result<(), StorageError> {
        let txn_path = self.txn_path();
        let log = self.log(disk)?;
        {
            let mut indexes = self.indexes.lock();
            let at = "read the index of";
            indexes.offset.file().revive(disk).at(at, &self.log_path)?;
            indexes.time.file().revive(disk).at(at, &self.log_path)?;
            indexes.offset.truncate(disk, position).at(at, &self.log_path)?;
            indexes.time.truncate(disk, next_offset).at(at, &self.log_path)?;
            indexes.bytes_since_entry = position - indexes.offset.last_position(disk).at(at, &self.log_path)?;
            let entries = load_txn(&mut indexes, disk, &txn_path)?;
            if entries.iter().any(|entry| entry.last_offset >= next_offset) {
                entries.retain(|entry| entry.last_offset < next_offset);
                txn::write(disk, &txn_path, entries).at("write", &txn_path)?;
                indexes.txn_written = entries.len();
            }
            if position == 0 {
                indexes.first_timestamp_ms = None;
            }
        }
        log.set_len(u64::from(position)).at("truncate", &self.log_path)?;
        self.size.store(position, Ordering::Release);
        // The greatest timestamp may have gone with the tail: walk what lies behind the last time entry.
        let mut max = { self.indexes.lock().time.last(disk).at("read the time index of", &self.log_path)? };
        let from = match max {
            Some(max) => self.find(disk, max.offset, position)?.map_or(0, |found| found.position),
            None => 0,
        };
        self.walk(disk, from, position, |found| {
            if found.header.max_timestamp_ms > max.map_or(-1, |max| max.timestamp_ms) {
                max =
                    Some(TimeEntry { timestamp_ms: found.header.max_timestamp_ms, offset: found.header.last_offset() });
            }
            false
        })?;
        self.indexes.lock().max = Some(max);
        self.flush_indexes(disk, true)
    }

    /// Sets the size without touching anything else: used by recovery, which rebuilds the rest.
    pub fn cut_log(&self, disk: &dyn Disk, position: u32) -> Result<(), StorageError> {
        self.log(disk)?.set_len(u64::from(position)).at("truncate", &self.log_path)?;
        self.size.store(position, Ordering::Release);
        Ok(())
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
        let entries = txn::read(disk, path).at("read", path)?;
        indexes.txn_written = entries.len();
        indexes.txn = Some(entries);
    }
    Ok(indexes.txn.get_or_insert_default())
}

fn flush_txn(indexes: &mut Indexes, disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
    if let Some(entries) = &indexes.txn
        && indexes.txn_written < entries.len()
    {
        txn::append(disk, path, indexes.txn_written, &entries[indexes.txn_written..]).at("append to", path)?;
        indexes.txn_written = entries.len();
    }
    Ok(())
}
