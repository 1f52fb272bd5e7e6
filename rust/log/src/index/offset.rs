//! `.index`: offset -> position. Entries of 8 bytes: offset relative to the segment's base u32, position of a batch u32. The offset is
//! that batch's *last* one, as in Kafka, so that an entry at or below a target names a batch at or before it.
//!
//! Both columns grow strictly. A look-up takes the last entry not above the target and walks the log from its position; without one it
//! walks from the start.

use std::io;
use std::path::PathBuf;

use super::sparse::SparseFile;
use crate::Offset;
use crate::env::Disk;

pub const ENTRY_BYTES: usize = 8;

/// The last offset of a batch, and where that batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    pub last_offset: Offset,
    pub position: u32,
}

#[derive(Debug)]
pub struct OffsetIndex {
    base_offset: Offset,
    file: SparseFile<ENTRY_BYTES>,
}

/// Offset relative to the segment's base, position.
pub(crate) fn split(entry: &[u8; ENTRY_BYTES]) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = *entry;
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

impl OffsetIndex {
    pub fn fresh(base_offset: Offset, path: PathBuf) -> OffsetIndex {
        OffsetIndex { base_offset, file: SparseFile::fresh(path) }
    }

    pub fn closed(base_offset: Offset, path: PathBuf, length: u64) -> OffsetIndex {
        OffsetIndex { base_offset, file: SparseFile::closed(path, length) }
    }

    /// Reads the index of a segment of `log_bytes`; None when it cannot belong to it.
    pub fn load(
        disk: &dyn Disk,
        base_offset: Offset,
        path: PathBuf,
        log_bytes: u32,
    ) -> io::Result<Option<OffsetIndex>> {
        let Some(mut file) = SparseFile::load(disk, path, u64::from(u32::MAX))? else { return Ok(None) };
        let mut before: Option<(u32, u32)> = None;
        for index in 0..file.count() {
            let entry = split(&file.get(disk, index)?);
            if entry.1 >= log_bytes || before.is_some_and(|before| entry.0 <= before.0 || entry.1 <= before.1) {
                return Ok(None);
            }
            before = Some(entry);
        }
        Ok(Some(OffsetIndex { base_offset, file }))
    }

    /// Offsets this far from the base do not fit an entry.
    pub fn can_hold(&self, offset: Offset) -> bool {
        (0..=i64::from(i32::MAX)).contains(&(offset - self.base_offset))
    }

    pub fn push(&mut self, last_offset: Offset, position: u32) {
        debug_assert!(self.can_hold(last_offset), "{last_offset} is too far from {}", self.base_offset);
        let mut entry = [0; ENTRY_BYTES];
        entry[..4].copy_from_slice(&((last_offset - self.base_offset) as u32).to_be_bytes());
        entry[4..].copy_from_slice(&position.to_be_bytes());
        self.file.push(entry);
    }

    fn decode(&self, entry: &[u8; ENTRY_BYTES]) -> OffsetEntry {
        let (relative, position) = split(entry);
        OffsetEntry { last_offset: self.base_offset.saturating_add(i64::from(relative)), position }
    }

    fn entry(&mut self, disk: &dyn Disk, index: usize) -> io::Result<OffsetEntry> {
        let entry = self.file.get(disk, index)?;
        Ok(self.decode(&entry))
    }

    /// Where to begin looking for `target`; None: at the start.
    pub fn lookup(&mut self, disk: &dyn Disk, target: Offset) -> io::Result<Option<OffsetEntry>> {
        let target = target - self.base_offset;
        match self.file.partition_point(disk, |entry| i64::from(split(entry).0) <= target)? {
            0 => Ok(None),
            above => self.entry(disk, above - 1).map(Some),
        }
    }

    /// The first entry at or behind `position`: its offset is an upper bound for what lies before it.
    pub fn at_or_after(&mut self, disk: &dyn Disk, position: u32) -> io::Result<Option<OffsetEntry>> {
        let index = self.file.partition_point(disk, |entry| split(entry).1 < position)?;
        if index == self.file.count() {
            return Ok(None);
        }
        self.entry(disk, index).map(Some)
    }

    pub fn last(&mut self, disk: &dyn Disk) -> io::Result<Option<OffsetEntry>> {
        let last = self.file.last(disk)?;
        Ok(last.map(|entry| self.decode(&entry)))
    }

    /// Position of the last entry, 0 without one.
    pub fn last_position(&mut self, disk: &dyn Disk) -> io::Result<u32> {
        Ok(self.last(disk)?.map_or(0, |entry| entry.position))
    }

    /// All entries, whatever they are worth.
    pub fn entries(&mut self, disk: &dyn Disk) -> io::Result<Vec<OffsetEntry>> {
        (0..self.file.count()).map(|index| self.entry(disk, index)).collect()
    }

    /// Drops entries of batches at `position` and behind.
    pub fn truncate(&mut self, disk: &dyn Disk, position: u32) -> io::Result<()> {
        let count = self.file.partition_point(disk, |entry| split(entry).1 < position)?;
        self.file.truncate(count);
        Ok(())
    }

    pub fn file(&mut self) -> &mut SparseFile<ENTRY_BYTES> {
        &mut self.file
    }
}
