//! `.timeindex`: timestamp -> offset. Entries of 12 bytes: timestamp i64, offset relative to the segment's base u32. An entry says: up
//! to this offset no record is later than this timestamp. Timestamps grow strictly, offsets never go back.
//!
//! The last entry, written when the segment is closed, holds the greatest timestamp of all: retention and look-ups by time read it
//! instead of the segment.

use std::io;
use std::path::PathBuf;

use super::sparse::SparseFile;
use crate::Offset;
use crate::env::Disk;

pub const ENTRY_BYTES: usize = 12;

/// A timestamp and the last offset of the batch that brought it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    pub timestamp_ms: i64,
    pub offset: Offset,
}

#[derive(Debug)]
pub struct TimeIndex {
    base_offset: Offset,
    file: SparseFile<ENTRY_BYTES>,
    /// The greatest timestamp in it, when known.
    last_ms: Option<i64>,
}

pub(crate) fn timestamp_of(entry: &[u8; ENTRY_BYTES]) -> i64 {
    let mut timestamp = [0; 8];
    timestamp.copy_from_slice(&entry[..8]);
    i64::from_be_bytes(timestamp)
}

pub(crate) fn relative_of(entry: &[u8; ENTRY_BYTES]) -> u32 {
    u32::from_be_bytes([entry[8], entry[9], entry[10], entry[11]])
}

impl TimeIndex {
    pub fn fresh(base_offset: Offset, path: PathBuf) -> TimeIndex {
        TimeIndex { base_offset, file: SparseFile::fresh(path), last_ms: Some(i64::MIN) }
    }

    pub fn closed(base_offset: Offset, path: PathBuf, length: u64) -> TimeIndex {
        TimeIndex { base_offset, file: SparseFile::closed(path, length), last_ms: None }
    }

    /// Reads the index of a segment that will be written on; None when its entries are not in order.
    pub fn load(disk: &dyn Disk, base_offset: Offset, path: PathBuf) -> io::Result<Option<TimeIndex>> {
        let Some(mut file) = SparseFile::load(disk, path, u64::from(u32::MAX))? else { return Ok(None) };
        let mut before: Option<(i64, u32)> = None;
        for index in 0..file.count() {
            let entry = file.get(disk, index)?;
            let entry = (timestamp_of(&entry), relative_of(&entry));
            if before.is_some_and(|before| entry.0 <= before.0 || entry.1 < before.1) {
                return Ok(None);
            }
            before = Some(entry);
        }
        Ok(Some(TimeIndex { base_offset, file, last_ms: Some(before.map_or(i64::MIN, |before| before.0)) }))
    }

    fn decode(&self, entry: &[u8; ENTRY_BYTES]) -> TimeEntry {
        TimeEntry {
            timestamp_ms: timestamp_of(entry),
            offset: self.base_offset.saturating_add(i64::from(relative_of(entry))),
        }
    }

    /// Is it later than the last entry?
    pub fn is_news(&self, entry: TimeEntry) -> bool {
        entry.timestamp_ms >= 0 && self.last_ms.is_none_or(|last_ms| entry.timestamp_ms > last_ms)
    }

    /// Adds an entry, unless it would not be later than the last one.
    pub fn push(&mut self, entry: TimeEntry) {
        if !self.is_news(entry) {
            return;
        }
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&entry.timestamp_ms.to_be_bytes());
        bytes[8..].copy_from_slice(&((entry.offset - self.base_offset) as u32).to_be_bytes());
        self.file.push(bytes);
        self.last_ms = Some(entry.timestamp_ms);
    }

    /// The last entry not later than `timestamp_ms`: the log before its offset need not be looked at.
    pub fn lookup(&mut self, disk: &dyn Disk, timestamp_ms: i64) -> io::Result<Option<TimeEntry>> {
        let above = self.file.partition_point(disk, |entry| timestamp_of(entry) <= timestamp_ms)?;
        match above {
            0 => Ok(None),
            above => {
                let entry = self.file.get(disk, above - 1)?;
                Ok(Some(self.decode(&entry)))
            }
        }
    }

    pub fn last(&mut self, disk: &dyn Disk) -> io::Result<Option<TimeEntry>> {
        let last = self.file.last(disk)?;
        Ok(last.map(|entry| self.decode(&entry)))
    }

    /// Drops entries whose offset is `next_offset` or more.
    pub fn truncate(&mut self, disk: &dyn Disk, next_offset: Offset) -> io::Result<()> {
        let keep = next_offset - self.base_offset;
        let count = self.file.partition_point(disk, |entry| i64::from(relative_of(entry)) < keep)?;
        self.file.truncate(count);
        self.last_ms = Some(self.file.last(disk)?.map_or(i64::MIN, |entry| timestamp_of(&entry)));
        Ok(())
    }

    pub fn file(&mut self) -> &mut SparseFile<ENTRY_BYTES> {
        &mut self.file
    }
}
