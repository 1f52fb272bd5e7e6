//! `.txnindex`: the transactions that ended in this segment with an abort, in the order they ended. Entries of 34 bytes: version i16
//! (0), producer id i64, first offset i64, last offset (the marker's) i64, last stable offset once it ended i64.
//!
//! A read_committed fetch of [from, to) needs the aborted transactions that overlap it; they ended at or after `from`, so the search
//! begins in that segment and goes on until an entry's last stable offset shows that nothing below `to` was still open.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use crate::Offset;
use crate::env::{Disk, File, OpenMode, read_file};

pub const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedEntry {
    pub producer_id: i64,
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub last_stable_offset: Offset,
}

impl AbortedEntry {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
        for (field, at) in [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset]
            .into_iter()
            .zip((2..).step_by(8))
        {
            bytes[at..at + 8].copy_from_slice(&field.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> AbortedEntry {
        let field = |at: usize| {
            let mut value = [0; 8];
            value.copy_from_slice(&bytes[at..at + 8]);
            i64::from_be_bytes(value)
        };
        AbortedEntry {
            producer_id: field(2),
            first_offset: field(10),
            last_offset: field(18),
            last_stable_offset: field(26),
        }
    }
}

/// Reads a whole file; a missing one is empty. None when it cannot be an index: cut, of another version, or out of order.
pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<AbortedEntry>>> {
    let bytes = match read_file(disk, path, u64::from(u32::MAX)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Vec::new())),
        Err(error) => return Err(error),
    };
    let (chunks, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    let of_this_version = chunks.iter().all(|chunk| chunk.starts_with(&VERSION.to_be_bytes()));
    let entries: Vec<AbortedEntry> = chunks.iter().map(|chunk| AbortedEntry::decode(chunk)).collect();
    // The last stable offset never goes back.
    let grows = |pair: &[AbortedEntry]| {
        pair[0].last_offset < pair[1].last_offset && pair[0].last_stable_offset <= pair[1].last_stable_offset
    };
    let in_order = entries.windows(2).all(grows)
        && entries.iter().all(|entry| {
            (0..=entry.last_offset).contains(&entry.first_offset)
                && (0..=entry.last_offset.saturating_add(1)).contains(&entry.last_stable_offset)
        });
    Ok((rest.is_empty() && of_this_version && in_order).then_some(entries))
}

/// Writes `entries` behind the first `index`.
pub fn append(disk: &dyn Disk, path: &Path, index: usize, entries: &[AbortedEntry]) -> io::Result<()> {
    let bytes: Vec<u8> = entries.iter().flat_map(AbortedEntry::encode).collect();
    let file = disk.open(path, OpenMode::Create)?;
    file.write_at(&mut [IoSlice::new(&bytes)], (index * ENTRY_BYTES) as u64)
}

/// Replaces the file; no entries, no file.
pub fn write(disk: &dyn Disk, path: &Path, entries: &[AbortedEntry]) -> io::Result<()> {
    if entries.is_empty() {
        return match disk.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    write_even_empty(disk, path, entries)?.sync_data()
}

/// Replaces the file, by an empty one if there is nothing to tell; not synced.
pub fn write_even_empty(disk: &dyn Disk, path: &Path, entries: &[AbortedEntry]) -> io::Result<Arc<dyn File>> {
    let bytes: Vec<u8> = entries.iter().flat_map(AbortedEntry::encode).collect();
    let file = disk.open(path, OpenMode::Truncate)?;
    file.write_at(&mut [IoSlice::new(&bytes)], 0)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::scratch::scratch_disk;

    /// Entries out of order, by where they end or by what was stable then, are no index.
    #[test]
    fn order() {
        let disk = scratch_disk();
        disk.create_dir_all(Path::new("/t")).unwrap();
        let path = Path::new("/t/0.txnindex");
        let entry = |first_offset, last_offset, last_stable_offset| AbortedEntry {
            producer_id: 1,
            first_offset,
            last_offset,
            last_stable_offset,
        };
        let taken = |entries: &[AbortedEntry]| {
            write(disk.as_ref(), path, entries).unwrap();
            read(disk.as_ref(), path).unwrap().is_some()
        };
        assert!(taken(&[entry(0, 3, 2), entry(2, 5, 2), entry(4, 9, 10)]));
        assert!(!taken(&[entry(0, 5, 2), entry(2, 3, 4)]), "the ends");
        assert!(!taken(&[entry(0, 3, 4), entry(2, 5, 2)]), "what was stable");
        assert!(!taken(&[entry(4, 3, 2)]), "an end before its begin");
    }
}
