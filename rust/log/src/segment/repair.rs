//! Indexes that turn out wrong. They have no checksum, so every entry is compared with the batch it names before it is believed; one
//! that does not fit costs a scan of the segment, which makes the indexes anew. Never a wrong answer, and no restart.
//!
//! If it was the log that was damaged, the scan ends there. What lies behind stays in reach: it goes on at the next entry of the old
//! index that names a whole batch.

use super::scan::{Gaps, Scan, Step};
use super::*;
use crate::batch::{Marker, control, header};
use crate::env::patience::allow_waiting;
use crate::index::offset::OffsetEntry;

/// `index.interval.bytes` of an index that is made anew: Kafka's default, since a segment does not know what its topic is set to.
const REBUILT_INTERVAL_BYTES: u32 = 4096;
/// How much of a segment's end is looked at for records that its time index should know of.
const TAIL_BYTES: u32 = 1 << 20;

/// Of all segments of this process.
static REBUILDS: AtomicU64 = AtomicU64::new(0);

/// How many segments had indexes that were wrong. While it stays the same, what a closed segment said of itself holds.
pub fn rebuilds() -> u64 {
    REBUILDS.load(Ordering::Acquire)
}

impl Segment {
    /// Does the entry name a whole batch that ends with its offset?
    pub(super) fn fits(&self, disk: &dyn Disk, entry: OffsetEntry) -> Result<bool, StorageError> {
        let mut bytes = [0; HEADER_BYTES];
        let size = self.size();
        if size < HEADER_BYTES as u32 || entry.position > size - HEADER_BYTES as u32 {
            return Ok(false);
        }
        let read = self.log(disk)?.read_at(&mut bytes, u64::from(entry.position)).at("read", &self.log_path)?;
        Ok(BatchHeader::read(&bytes[..read]).is_some_and(|header| self.is_named_by(entry, &header)))
    }

    pub(super) fn is_named_by(&self, entry: OffsetEntry, header: &BatchHeader) -> bool {
        header.magic == header::MAGIC
            && header.base_offset >= self.base_offset
            && header.base_offset <= header.last_offset()
            && header.last_offset() == entry.last_offset
    }

    /// Makes both indexes anew from the log, once while the segment is open. `what` was found wrong.
    pub(super) fn rebuild_indexes(&self, disk: &dyn Disk, what: &str) -> Result<(), StorageError> {
        allow_waiting().at("make anew the indexes of", &self.log_path)?;
        let log = self.log(disk)?;
        let mut indexes = self.indexes.lock();
        if indexes.rebuilt || self.is_removed() {
            return Ok(());
        }
        indexes.rebuilt = true;
        tracing::warn!(log = %self.log_path.display(), what, "an index is wrong; it is made anew");
        let is_closed = indexes.offset.file().is_closed();
        let old = indexes.offset.entries(disk).at("read the index of", &self.log_path)?;
        // Under the lock: what is appended from now on is entered behind.
        let size = self.size();
        let mut fresh = Indexes::fresh(&self.directory, self.base_offset, "");
        let anything = Gaps::Before(Offset::MAX);
        let mut scan = Scan::new(log.clone(), self.base_offset, u64::from(size), anything);
        loop {
            match scan.step().at("read", &self.log_path)? {
                Step::Batch(batch) => {
                    fresh.note(&batch.header, batch.position, batch.batch.len() as u32, REBUILT_INTERVAL_BYTES);
                }
                Step::End => break,
                Step::Stopped(stop) => {
                    tracing::error!(
                        log = %self.log_path.display(), position = stop.position, offset = scan.next_offset(), what = stop.what,
                        "the log is damaged"
                    );
                    let behind = |entry: &&OffsetEntry| u64::from(entry.position) > stop.position;
                    let mut next = None;
                    for entry in old.iter().filter(behind) {
                        next = self.whole_batch(log.as_ref(), *entry, size).at("read", &self.log_path)?;
                        if next.is_some() {
                            break;
                        }
                    }
                    let Some((position, header)) = next else { break };
                    // An entry right here, so that nobody walks over the damage to what lies behind it.
                    fresh.bytes_since_entry = u32::MAX;
                    let (position, offset) = (u64::from(position), header.base_offset);
                    scan = Scan::from(log.clone(), position, offset, u64::from(size), anything);
                }
            }
        }
        if is_closed {
            fresh.seal();
            if self.is_removed() {
                // Its name is another file's by now.
                return Ok(());
            }
            fresh.offset.file().flush(disk, false).at("write the index of", &self.log_path)?;
            fresh.time.file().flush(disk, false).at("write the time index of", &self.log_path)?;
            fresh.offset.file().retire();
            fresh.time.file().retire();
        }
        indexes.offset = fresh.offset;
        indexes.time = fresh.time;
        indexes.max = fresh.max;
        indexes.first_timestamp_ms = fresh.first_timestamp_ms;
        indexes.bytes_since_entry = fresh.bytes_since_entry;
        REBUILDS.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// The batch an entry names, if it is all there and its checksum is right.
    fn whole_batch(&self, log: &dyn File, entry: OffsetEntry, size: u32) -> io::Result<Option<(u32, BatchHeader)>> {
        let mut head = [0; HEADER_BYTES];
        let read = log.read_at(&mut head, u64::from(entry.position))?;
        let Some(header) = BatchHeader::read(&head[..read]).filter(|header| self.is_named_by(entry, header)) else {
            return Ok(None);
        };
        let Some(bytes) = header.total_bytes().filter(|bytes| *bytes <= size.saturating_sub(entry.position)) else {
            return Ok(None);
        };
        let mut batch = vec![0; bytes as usize];
        read_exact_at(log, &mut batch, u64::from(entry.position))?;
        Ok((header::checksum(&batch) == header.crc).then_some((entry.position, header)))
    }

    /// Reads the aborted transactions, if that was not done yet. False: they do not fit the log, and [`Segment::set_aborted`] must say
    /// which there are. `older`: the segments before this one, where a transaction may have begun.
    pub fn load_aborted(&self, disk: &dyn Disk, older: &[Arc<Segment>]) -> Result<bool, StorageError> {
        let is_checked = {
            let indexes = self.indexes.lock();
            if indexes.txn.is_some() {
                return Ok(true);
            }
            indexes.txn_checked
        };
        let path = self.txn_path();
        let Some(entries) = txn::read(disk, &path).at("read", &path)? else { return Ok(false) };
        for entry in entries.iter().filter(|_| !is_checked) {
            if !self.ends(disk, entry)? {
                return Ok(false);
            }
            let segment = older.iter().rfind(|older| older.base_offset <= entry.first_offset);
            let segment = if entry.first_offset < self.base_offset { segment.map(Arc::as_ref) } else { Some(self) };
            if let Some(segment) = segment
                && !segment.may_begin(disk, entry)?
            {
                return Ok(false);
            }
        }
        let mut indexes = self.indexes.lock();
        if indexes.txn.is_none() {
            indexes.txn_written = entries.len();
            indexes.txn_checked = true;
            indexes.txn = Some(entries);
        }
        Ok(true)
    }

    /// Is there an abort of that producer at the transaction's end?
    fn ends(&self, disk: &dyn Disk, entry: &AbortedEntry) -> Result<bool, StorageError> {
        if entry.last_offset < self.base_offset {
            return Ok(false);
        }
        let found = self.find(disk, entry.last_offset, self.size())?;
        let is_its = |found: &Found| {
            found.header.base_offset == entry.last_offset && found.header.producer_id == entry.producer_id
        };
        let Some(found) = found.filter(is_its) else { return Ok(false) };
        let batch = self.read_batch(disk, &found)?;
        Ok(matches!(control::end_marker_of(&found.header, &batch[HEADER_BYTES..]), Some((Marker::Abort, _))))
    }

    /// Is there nobody else's batch at the transaction's begin? Its own may have been compacted away.
    fn may_begin(&self, disk: &dyn Disk, entry: &AbortedEntry) -> Result<bool, StorageError> {
        let found = self.find(disk, entry.first_offset, self.size())?;
        Ok(found.filter(|found| found.header.base_offset <= entry.first_offset).is_none_or(
            |Found { header, .. }| {
                header.base_offset == entry.first_offset
                    && header.producer_id == entry.producer_id
                    && header.is_transactional()
                    && !header.is_control()
            },
        ))
    }

    /// The last time entry, and whether it fits: the batch it names has that timestamp, and what lies behind is not younger, as far as
    /// [`TAIL_BYTES`] tell. (An entry lost in front of that cannot be told from records that came out of order.)
    pub fn last_time(&self, disk: &dyn Disk) -> Result<(Option<TimeEntry>, bool), StorageError> {
        let at = "read the indexes of";
        let size = self.size();
        let (last, tail) = {
            let mut indexes = self.indexes().at(at, &self.log_path)?;
            let last = indexes.time.last(disk).at(at, &self.log_path)?;
            (last, indexes.offset.at_or_after(disk, size.saturating_sub(TAIL_BYTES)).at(at, &self.log_path)?)
        };
        let named = match last {
            Some(entry) => self.find(disk, entry.offset, size)?.filter(|found| has_time(found, entry)),
            None => None,
        };
        if last.is_some() && named.is_none() {
            return Ok((last, false));
        }
        let tail = match tail {
            Some(entry) if size > TAIL_BYTES => {
                if !self.fits(disk, entry)? {
                    return Ok((last, false));
                }
                entry.position
            }
            _ => 0,
        };
        let from = named.map_or(tail, |found| found.position.max(tail));
        let known_ms = last.map_or(-1, |last| last.timestamp_ms);
        let is_younger = |found: &Found| found.header.record_count > 0 && found.header.max_timestamp_ms > known_ms;
        let younger = self.walk(disk, from, size, is_younger)?;
        Ok((last, younger.is_none()))
    }

    /// Does the batch with the entry's offset have its timestamp?
    pub(super) fn time_fits(&self, disk: &dyn Disk, entry: TimeEntry) -> Result<bool, StorageError> {
        if entry.offset < self.base_offset {
            return Ok(false);
        }
        Ok(self.find(disk, entry.offset, self.size())?.is_some_and(|found| has_time(&found, entry)))
    }
}

fn has_time(found: &Found, entry: TimeEntry) -> bool {
    found.header.base_offset <= entry.offset && found.header.max_timestamp_ms == entry.timestamp_ms
}
