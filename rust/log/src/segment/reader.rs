//! Finding things in a segment: batches by offset, timestamps, aborted transactions.

use super::*;
use crate::batch::header::MAGIC;
use crate::index::offset::OffsetEntry;

impl Segment {
    /// Can a batch ending at `last_offset` and `bytes` long go in here?
    pub fn has_room(&self, last_offset: Offset, bytes: usize, segment_bytes: u32, index_bytes: u32) -> bool {
        let size = self.size() as usize;
        let mut indexes = self.indexes.lock();
        let index_room = indexes.offset.file().bytes() + crate::index::offset::ENTRY_BYTES <= index_bytes as usize
            && indexes.time.file().bytes() + 2 * crate::index::time::ENTRY_BYTES <= index_bytes as usize;
        (size == 0 || size + bytes <= segment_bytes as usize) && indexes.offset.can_hold(last_offset) && index_room
    }

    #[cfg(test)]
    pub fn index_bytes_in_memory(&self) -> usize {
        let mut indexes = self.indexes.lock();
        let Indexes { offset, time, .. } = &mut *indexes;
        let held = |is_closed: bool, bytes: usize| if is_closed { 0 } else { bytes };
        held(offset.file().is_closed(), offset.file().bytes()) + held(time.file().is_closed(), time.file().bytes())
    }

    #[cfg(test)]
    pub fn aborted_in_memory(&self) -> usize {
        self.indexes.lock().txn.as_ref().map_or(0, Vec::len)
    }

    /// How many aborted transactions ended here; None as long as they are not in memory.
    pub fn loaded_aborted(&self) -> io::Result<Option<usize>> {
        Ok(self.indexes()?.txn.as_ref().map(Vec::len))
    }

    /// Hands the transactions aborted in this segment at or after `from` to `look` one by one, until it says false. A reader at the tail
    /// looks at few: appends wait for the same lock.
    pub fn aborted(
        &self,
        disk: &dyn Disk,
        from: Offset,
        look: impl FnMut(&AbortedEntry) -> bool,
    ) -> Result<bool, StorageError> {
        let path = self.txn_path();
        let mut indexes = self.indexes().at("search", &path)?;
        let entries = load_txn(&mut indexes, disk, &path)?;
        let first = entries.partition_point(|entry| entry.last_offset < from);
        Ok(entries[first..].iter().all(look))
    }

    /// The batch that holds `target`, or the first behind it; None when every batch below `limit` ends before it.
    pub fn find(&self, disk: &dyn Disk, target: Offset, limit: u32) -> Result<Option<Found>, StorageError> {
        for _ in 0..2 {
            let entry = self
                .indexes()
                .and_then(|mut indexes| indexes.offset.lookup(disk, target))
                .at("search the index of", &self.log_path)?;
            let wanted = |found: &Found| found.header.last_offset() >= target;
            let Some(entry) = entry else { return self.walk(disk, 0, limit, wanted) };
            // The first batch looked at is the one the entry names, if it is right.
            let mut fits = None;
            let found = self.walk(disk, entry.position, limit, |found| {
                let fits = *fits.get_or_insert_with(|| self.is_named_by(entry, &found.header));
                !fits || wanted(found)
            });
            match (fits, found) {
                (Some(true), found) => return found,
                (None, Ok(None)) if self.fits(disk, entry)? => return Ok(None),
                (_, Err(error @ StorageError::Io { .. })) => return Err(error),
                _ => self.rebuild_indexes(disk, "an entry of the index")?,
            }
        }
        Err(StorageError::corrupt(&self.log_path, 0, format!("offset {target} cannot be found: its index is wrong")))
    }

    /// Where the last batch before `position` ends, which is the place of `target`; the begin of the segment when there is none.
    pub fn end_before(&self, disk: &dyn Disk, target: Offset, position: u32) -> Result<Offset, StorageError> {
        let entry = self
            .indexes()
            .and_then(|mut indexes| indexes.offset.lookup(disk, target.saturating_sub(1)))
            .at("search the index of", &self.log_path)?;
        let from = entry.filter(|entry| entry.position < position).map_or(0, |entry| entry.position);
        let walk = |from| {
            let mut end = self.base_offset;
            self.walk(disk, from, position, |found| {
                end = found.header.next_offset();
                false
            })?;
            Ok(end)
        };
        match walk(from) {
            // The index is wrong there.
            Err(StorageError::Corrupt { .. }) if from > 0 => walk(0),
            end => end,
        }
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
        // Offsets are not checksummed, but they only grow.
        let mut next_offset = self.base_offset;
        while position < limit {
            if limit - position < HEADER_BYTES as u32 {
                return Err(StorageError::corrupt(&self.log_path, u64::from(position), "no whole batch here"));
            }
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
            if header.magic != MAGIC || header.base_offset < next_offset || header.last_offset() < header.base_offset {
                let (first, last) = (header.base_offset, header.last_offset());
                let what = format!("offsets {first}..={last} in a batch of magic {}", header.magic);
                return Err(StorageError::corrupt(&self.log_path, u64::from(position), what));
            }
            next_offset = header.next_offset();
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
        for _ in 0..2 {
            let entry = self
                .indexes()
                .and_then(|mut indexes| indexes.offset.at_or_after(disk, position))
                .at("search the index of", &self.log_path)?;
            let Some(entry) = entry else { return Ok(None) };
            if self.fits(disk, entry)? {
                return Ok(Some(entry.last_offset));
            }
            self.rebuild_indexes(disk, "an entry of the index")?;
        }
        Ok(None)
    }

    /// The greatest timestamp in the segment, and the last offset of the batch it came with.
    pub fn max_timestamp(&self, disk: &dyn Disk) -> Result<Option<TimeEntry>, StorageError> {
        let at = "search the time index of";
        if let Some(max) = self.indexes().at(at, &self.log_path)?.max {
            return Ok(max);
        }
        let (last, fits) = self.last_time(disk)?;
        if !fits {
            self.rebuild_indexes(disk, "the last entry of the time index")?;
        }
        // Somebody may have read it meanwhile; who made it anew knows it.
        Ok(*self.indexes().at(at, &self.log_path)?.max.get_or_insert(last))
    }

    /// The greatest timestamp, if it is known without a look at the disk; [`i64::MIN`] when no record has one.
    pub fn largest_known_ms(&self) -> Option<i64> {
        self.indexes.lock().max.map(|max| max.map_or(i64::MIN, |max| max.timestamp_ms))
    }

    /// For retention: the greatest timestamp, or when the file was last written if no record has one.
    pub fn largest_timestamp_ms(&self, disk: &dyn Disk) -> Result<i64, StorageError> {
        Ok(self.max_timestamp(disk)?.map_or(self.created_ms, |max| max.timestamp_ms))
    }

    /// Where a search for `timestamp_ms` may begin.
    pub fn time_floor(&self, disk: &dyn Disk, timestamp_ms: i64) -> Result<Offset, StorageError> {
        for _ in 0..2 {
            let entry = self
                .indexes()
                .and_then(|mut indexes| indexes.time.lookup(disk, timestamp_ms))
                .at("search the time index of", &self.log_path)?;
            let Some(entry) = entry else { break };
            if self.time_fits(disk, entry)? {
                return Ok(entry.offset);
            }
            self.rebuild_indexes(disk, "an entry of the time index")?;
        }
        Ok(self.base_offset)
    }

    /// The greatest timestamp of the first batch; None in an empty segment.
    pub fn first_timestamp_ms(&self, disk: &dyn Disk) -> Result<Option<i64>, StorageError> {
        if let Some(first_ms) = self.indexes.lock().first_timestamp_ms {
            return Ok(Some(first_ms));
        }
        let first = self.walk(disk, 0, self.size(), |_| true)?.map(|found| found.header.max_timestamp_ms);
        self.indexes.lock().first_timestamp_ms = first;
        Ok(first)
    }

    /// How long the segment has been filling when a batch of `timestamp_ms` arrives: by its first record's time if it has one, else by
    /// the wall clock (Kafka's `LogSegment.timeWaitedForRoll`).
    pub fn waited_ms(&self, disk: &dyn Disk, now_ms: i64, timestamp_ms: i64) -> Result<i64, StorageError> {
        Ok(match self.first_timestamp_ms(disk)? {
            Some(first_ms) if first_ms >= 0 => timestamp_ms.saturating_sub(first_ms),
            _ => now_ms.saturating_sub(self.created_ms),
        })
    }

    /// The last index entry, where a look at the tail begins.
    pub fn last_indexed(&self, disk: &dyn Disk) -> Result<Option<OffsetEntry>, StorageError> {
        self.indexes.lock().offset.last(disk).at("read the index of", &self.log_path)
    }
}
