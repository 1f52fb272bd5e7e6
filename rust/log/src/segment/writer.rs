//! Changing a segment: appending, the indexes on their way to disk, cutting.

use super::*;

impl Segment {
    /// Writes a whole batch behind the last one. On an error nothing has changed: what a full disk took of the batch is cut off again.
    /// Left there, it would be covered by no batch that is shorter or goes to the next segment, and everything behind it would be lost
    /// to the next scan. When it cannot be cut off the segment is damaged.
    pub fn append(
        &self,
        disk: &dyn Disk,
        header: &BatchHeader,
        batch: &[u8],
        index_interval_bytes: u32,
    ) -> Result<u32, StorageError> {
        let position = self.size();
        let log = self.log(disk)?;
        self.open_indexes(disk, &mut self.indexes.lock())?;
        self.unsynced.store(true, Ordering::Relaxed);
        if let Err(error) = log.write_at(&mut [IoSlice::new(batch)], u64::from(position)) {
            return Err(match log.set_len(u64::from(position)) {
                Ok(()) => StorageError::io("append to", &self.log_path, error),
                Err(cut) => StorageError::corrupt(
                    &self.log_path,
                    u64::from(position),
                    format!("a batch was written in part ({error}), which could not be cut off ({cut})"),
                ),
            });
        }
        // First the size: an index never points past the log.
        self.size.store(position + batch.len() as u32, Ordering::Release);
        self.note_batch(header, position, batch.len() as u32, index_interval_bytes);
        Ok(position)
    }

    /// Enters a batch into the indexes; also how they are rebuilt.
    pub fn note_batch(&self, header: &BatchHeader, position: u32, bytes: u32, index_interval_bytes: u32) {
        self.indexes.lock().note(header, position, bytes, index_interval_bytes);
    }

    /// Notes the end of an aborted transaction. Memory has it at once; the file as soon as the disk takes it: the marker is in the log
    /// already, from which the file is rebuilt.
    pub fn note_aborted(&self, disk: &dyn Disk, entry: AbortedEntry) -> Result<(), StorageError> {
        let path = self.txn_path();
        let mut indexes = self.indexes.lock();
        load_txn(&mut indexes, disk, &path)?.push(entry);
        if let Err(error) = flush_txn(&mut indexes, disk, &path, false) {
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
        indexes.txn_checked = true;
        indexes.txn = Some(entries);
        Ok(())
    }

    /// Syncs what was appended up to now.
    pub fn sync_log(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let log = self.log(disk)?;
        // What is appended from here on may miss this sync.
        self.unsynced.store(false, Ordering::Relaxed);
        log.sync_data().at("sync", &self.log_path)
    }

    /// Has a range of the log written to the disk ([`crate::env::File::write_out`]).
    pub fn write_out(&self, disk: &dyn Disk, position: u32, bytes: u32) -> Result<(), StorageError> {
        self.log(disk)?.write_out(u64::from(position), u64::from(bytes)).at("write out", &self.log_path)
    }

    /// Brings the index files up to date.
    pub fn flush_indexes(&self, disk: &dyn Disk, sync: bool) -> Result<(), StorageError> {
        let mut indexes = self.indexes.lock();
        indexes.offset.file().flush(disk, sync).at("write the index of", &self.log_path)?;
        indexes.time.file().flush(disk, sync).at("write the time index of", &self.log_path)?;
        flush_txn(&mut indexes, disk, &self.txn_path(), sync)
    }

    /// Leaves index files alone that say what memory says.
    pub fn keep_same_indexes(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let mut indexes = self.indexes.lock();
        indexes.offset.file().keep_if_same(disk).at("read the index of", &self.log_path)?;
        indexes.time.file().keep_if_same(disk).at("read the time index of", &self.log_path)
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

    /// The indexes of a segment that was idle left memory; whoever adds to them needs them there.
    fn open_indexes(&self, disk: &dyn Disk, indexes: &mut Indexes) -> Result<(), StorageError> {
        indexes.offset.file().revive(disk).at("read the index of", &self.log_path)?;
        indexes.time.file().revive(disk).at("read the time index of", &self.log_path)
    }

    /// Enters the last time entry; the files then say all that memory knows.
    pub fn seal_indexes(&self, disk: &dyn Disk, sync: bool) -> Result<(), StorageError> {
        {
            let mut indexes = self.indexes.lock();
            if let Some(Some(max)) = indexes.max
                && indexes.time.is_news(max)
            {
                self.open_indexes(disk, &mut indexes)?;
                indexes.seal();
            }
        }
        self.flush_indexes(disk, sync)
    }

    /// No more appends: the indexes, sealed before, leave memory.
    pub fn retire(&self) {
        let mut indexes = self.indexes.lock();
        indexes.offset.file().retire();
        indexes.time.file().retire();
        indexes.is_closed = true;
    }

    /// The segment will be written on: its indexes go to memory.
    pub fn revive_indexes(&self, disk: &dyn Disk) -> Result<(), StorageError> {
        let mut indexes = self.indexes.lock();
        indexes.offset.file().revive(disk).at("read the index of", &self.log_path)?;
        indexes.time.file().revive(disk).at("read the time index of", &self.log_path)?;
        indexes.is_closed = false;
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
            indexes.is_closed = false;
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
            if found.header.record_count > 0 && found.header.max_timestamp_ms > max.map_or(-1, |max| max.timestamp_ms) {
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
}
