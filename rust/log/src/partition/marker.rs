//! The durable-offset marker: how far a partition was on the disk when its disk failed.
//!
//! ```text
//! version: 0
//! durable_offset: 1042
//! crc32c: 9a71bb4c          of the lines before
//! ```
//!
//! Written and synced before anybody is told of the failure. The next opening cuts the log there, whatever memory shows of the rest, and
//! removes the marker once the cut is on the disk.

use std::io;
use std::path::Path;

use crate::Offset;
use crate::env::{Disk, read_file, replace_file};
use crate::error::{IoContext, StorageError};
use crate::segment::names;

const BYTES_MAX: u64 = 4096;

/// What lies in a partition's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    Absent,
    /// The log ends here, or before.
    At(Offset),
    /// There was a failure, and where it was durable is not known.
    Damaged,
}

fn render(durable: Offset) -> String {
    let words = format!("version: 0\ndurable_offset: {durable}\n");
    let crc = crc_fast::crc32_iscsi(words.as_bytes());
    format!("{words}crc32c: {crc:08x}\n")
}

fn parse(text: &str) -> Option<Offset> {
    let durable: Offset = text.lines().nth(1)?.strip_prefix("durable_offset: ")?.parse().ok()?;
    (durable >= 0 && render(durable) == text).then_some(durable)
}

pub(super) fn read(disk: &dyn Disk, directory: &Path) -> Result<Marker, StorageError> {
    let path = directory.join(names::DURABLE_OFFSET);
    match read_file(disk, &path, BYTES_MAX) {
        Ok(bytes) => Ok(std::str::from_utf8(&bytes).ok().and_then(parse).map_or(Marker::Damaged, Marker::At)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Marker::Absent),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Marker::Damaged),
        Err(error) => Err(StorageError::io("read", &path, error)),
    }
}

pub(super) fn write(disk: &dyn Disk, directory: &Path, durable: Offset) -> Result<(), StorageError> {
    let path = directory.join(names::DURABLE_OFFSET);
    replace_file(disk, &path, render(durable).as_bytes()).at("write", &path)
}

/// What it asked for is on the disk.
pub(super) fn remove(disk: &dyn Disk, directory: &Path) -> Result<(), StorageError> {
    let path = directory.join(names::DURABLE_OFFSET);
    match disk.remove_file(&path) {
        Ok(()) => disk.sync_dir(directory).at("sync", directory),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StorageError::io("remove", &path, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::env::OpenMode;
    use crate::env::scratch::scratch_disk;

    /// A marker is read as it was written or, cut at any byte or with any bit flipped, as damaged: never as another offset.
    #[test]
    fn whole_or_damaged() {
        let (disk, directory) = (scratch_disk(), Path::new("/d"));
        disk.create_dir_all(directory).unwrap();
        assert_eq!(read(disk.as_ref(), directory).unwrap(), Marker::Absent);
        write(disk.as_ref(), directory, 1042).unwrap();
        assert_eq!(read(disk.as_ref(), directory).unwrap(), Marker::At(1042));
        let whole = render(1042).into_bytes();
        let path = directory.join(names::DURABLE_OFFSET);
        let put = |bytes: &[u8]| {
            let file = disk.open(&path, OpenMode::Truncate).unwrap();
            file.write_at(&mut [IoSlice::new(bytes)], 0).unwrap();
        };
        for at in 0..whole.len() {
            put(&whole[..at]);
            assert_eq!(read(disk.as_ref(), directory).unwrap(), Marker::Damaged, "cut at {at}");
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                put(&flipped);
                assert_eq!(read(disk.as_ref(), directory).unwrap(), Marker::Damaged, "bit {bit} of byte {at}");
            }
        }
        remove(disk.as_ref(), directory).unwrap();
        assert_eq!(read(disk.as_ref(), directory).unwrap(), Marker::Absent);
    }
}
