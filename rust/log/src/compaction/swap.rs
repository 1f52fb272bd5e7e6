//! A replacement takes the place of the segments it was made from, so that a crash at any step leaves the old ones or the new one.
//! Kafka's protocol, by its names:
//!
//! ```text
//! 1  .cleaned files written and synced
//! 2  each renamed to .swap, directory synced      from here on the replacement counts
//! 3  the other old segments renamed to .deleted, directory synced
//! 4  .swap renamed over the first old segment: log, then indexes; directory synced
//! ```
//!
//! What opening does with what it finds: with any `.cleaned` of its base or a lower one a `.swap` is not whole, and both go (Kafka splits
//! a segment into several, highest first). Else segments that begin inside the log of a `.swap` are old ones and go, and every `.swap`
//! is renamed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::Offset;
use crate::env::{DirEntry, Disk};
use crate::error::{IoContext, StorageError};
use crate::segment::names::{self, CLEANED_SUFFIX, SEGMENT_FILES, SWAP_SUFFIX};
use crate::segment::scan::{Gaps, Scan, Step};

fn suffixed(directory: &Path, base: Offset, kind: &str, suffix: &str) -> PathBuf {
    names::file(directory, base, &format!("{kind}{suffix}"))
}

/// Step 2. An error leaves the files to [`discard`].
pub fn commit(disk: &dyn Disk, directory: &Path, base: Offset) -> Result<(), StorageError> {
    for kind in SEGMENT_FILES {
        let from = suffixed(directory, base, kind, CLEANED_SUFFIX);
        disk.rename(&from, &suffixed(directory, base, kind, SWAP_SUFFIX)).at("rename", &from)?;
    }
    Ok(())
}

/// Step 4, without its sync.
pub fn finish(disk: &dyn Disk, directory: &Path, base: Offset) -> Result<(), StorageError> {
    for kind in SEGMENT_FILES {
        let from = suffixed(directory, base, kind, SWAP_SUFFIX);
        match disk.rename(&from, &names::file(directory, base, kind)) {
            // Done before a crash.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.at("rename", &from)?,
        }
    }
    let path = names::file(directory, base, names::TXN_INDEX);
    let entries = crate::index::txn::read(disk, &path).at("read", &path)?;
    if entries.is_some_and(|entries| entries.is_empty()) {
        remove(disk, &path)?;
    }
    Ok(())
}

/// Removes a replacement that is not to be. A `.cleaned` file goes last: a `.swap` without one counts.
pub fn discard(disk: &dyn Disk, directory: &Path, base: Offset) -> Result<(), StorageError> {
    let mut swapped = false;
    for kind in SEGMENT_FILES {
        swapped |= remove(disk, &suffixed(directory, base, kind, SWAP_SUFFIX))?;
    }
    if swapped {
        disk.sync_dir(directory).at("sync", directory)?;
    }
    for kind in SEGMENT_FILES {
        remove(disk, &suffixed(directory, base, kind, CLEANED_SUFFIX))?;
    }
    Ok(())
}

/// True when it was there.
fn remove(disk: &dyn Disk, path: &Path) -> Result<bool, StorageError> {
    match disk.remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StorageError::io("remove", path, error)),
    }
}

/// Bases of the files in `entries` whose names end in `suffix`.
fn bases(entries: &[DirEntry], suffix: &str) -> BTreeSet<Offset> {
    entries
        .iter()
        .filter_map(|entry| entry.name.strip_suffix(suffix))
        .filter_map(|name| SEGMENT_FILES.iter().find_map(|kind| names::offset_of(name, kind)))
        .collect()
}

/// Removes what an ended pass may have left; true when something was.
pub fn discard_all(disk: &dyn Disk, directory: &Path, entries: &[DirEntry]) -> Result<bool, StorageError> {
    let left = bases(entries, CLEANED_SUFFIX);
    // The highest first: a lower `.cleaned` says that a higher `.swap` does not count.
    for base in left.iter().rev() {
        discard(disk, directory, *base)?;
    }
    Ok(!left.is_empty())
}

/// What opening does, before it looks at the segments; true when something changed. Words about damage go to `damage`.
pub fn recover(
    disk: &dyn Disk,
    directory: &Path,
    entries: &[DirEntry],
    damage: &mut Vec<String>,
) -> Result<bool, StorageError> {
    let (cleaned, mut swapped) = (bases(entries, CLEANED_SUFFIX), bases(entries, SWAP_SUFFIX));
    if let Some(lowest) = cleaned.first() {
        for base in swapped.split_off(lowest).iter().rev() {
            discard(disk, directory, *base)?;
        }
    }
    for base in cleaned.iter().rev() {
        discard(disk, directory, *base)?;
    }
    if swapped.is_empty() {
        return Ok(!cleaned.is_empty());
    }
    for base in &swapped {
        let path = suffixed(directory, *base, names::LOG, SWAP_SUFFIX);
        let Some(length) = length_of(entries, &path) else { continue };
        let log = disk.open(&path, crate::env::OpenMode::Read).at("open", &path)?;
        let mut scan = Scan::new(log, *base, length, Gaps::Before(Offset::MAX));
        let mut end = *base;
        let stop = loop {
            match scan.step().at("read", &path)? {
                Step::Batch(batch) => end = batch.header.next_offset(),
                Step::End => break None,
                Step::Stopped(stop) => break Some(stop),
            }
        };
        if let Some(stop) = stop {
            damage.push(format!("{} is damaged at byte {}: {}", path.display(), stop.position, stop.what));
            if length_of(entries, &names::file(directory, *base, names::LOG)).is_some() {
                // What it was made from is still there.
                for kind in SEGMENT_FILES {
                    remove(disk, &suffixed(directory, *base, kind, SWAP_SUFFIX))?;
                }
                continue;
            }
        }
        remove_old(disk, directory, entries, *base, end)?;
    }
    disk.sync_dir(directory).at("sync", directory)?;
    for base in &swapped {
        finish(disk, directory, *base)?;
    }
    disk.sync_dir(directory).at("sync", directory)?;
    Ok(true)
}

fn length_of(entries: &[DirEntry], path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    entries.iter().find(|entry| entry.name == name).map(|entry| entry.length)
}

/// Segments that begin inside the replacement, behind its own begin.
fn remove_old(
    disk: &dyn Disk,
    directory: &Path,
    entries: &[DirEntry],
    base: Offset,
    end: Offset,
) -> Result<(), StorageError> {
    for entry in entries {
        let inside = SEGMENT_FILES
            .iter()
            .chain([&names::PRODUCER_SNAPSHOT])
            .filter_map(|kind| names::offset_of(&entry.name, kind))
            .any(|old| base < old && old < end);
        if inside {
            remove(disk, &directory.join(&entry.name))?;
        }
    }
    Ok(())
}
