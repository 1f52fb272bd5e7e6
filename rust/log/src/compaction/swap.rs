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

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use crate::Offset;
use crate::env::{DirEntry, Disk, OpenMode};
use crate::error::{IoContext, StorageError};
use crate::segment::names::{self, CLEANED_SUFFIX, SEGMENT_FILES, SWAP_SUFFIX};
use crate::segment::scan::{Gaps, Scan, Step, Stop};

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

/// Step 2 is done and step 4 is not: the old segments may be gone, the new one has not their names.
pub fn is_half_done(entries: &[DirEntry]) -> bool {
    let cleaned = bases(entries, CLEANED_SUFFIX).first().copied();
    bases(entries, SWAP_SUFFIX).first().is_some_and(|base| cleaned.is_none_or(|cleaned| *base < cleaned))
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

/// Compactions that were cut off, as a directory shows them: what opening does about them, and what a reader takes for the log until then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutOff {
    /// Bases of replacements that were not whole yet. What they were to replace counts, and their files go.
    pub unfinished: BTreeSet<Offset>,
    /// Bases of those that are damaged, while what they were made from is still there: that counts.
    pub damaged: BTreeSet<Offset>,
    /// Those that count.
    pub replacements: Vec<Replacement>,
    /// Words about damage.
    pub damage: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replacement {
    pub base: Offset,
    /// Behind its last batch: segments that begin before it are old ones. None when its log has its name already, after which none is left.
    pub end: Option<Offset>,
}

impl CutOff {
    pub fn is_nothing(&self) -> bool {
        self.unfinished.is_empty() && self.damaged.is_empty() && self.replacements.is_empty()
    }

    /// Whether `.swap` files of this base count.
    pub fn is_replaced(&self, base: Offset) -> bool {
        self.replacements.iter().any(|replacement| replacement.base == base)
    }

    /// Whether files of this base are old ones, with another segment in their place.
    pub fn is_old(&self, base: Offset) -> bool {
        self.replacements.iter().any(|replacement| replacement.holds(base))
    }
}

impl Replacement {
    /// Whether a segment that begins there lies inside, behind its own begin.
    fn holds(&self, base: Offset) -> bool {
        self.base < base && self.end.is_some_and(|end| base < end)
    }
}

/// What was read of `.swap` logs, by base, length and time: where each ends, and its damage. Who looks at a directory again and again does
/// not read them again.
#[derive(Clone, Debug, Default)]
pub struct Ends(HashMap<(Offset, u64, i64), (Offset, Option<Stop>)>);

impl Ends {
    fn of(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        base: Offset,
        log: &DirEntry,
    ) -> Result<(Offset, Option<Stop>), StorageError> {
        let key = (base, log.length, log.modified_ms);
        if let Some(known) = self.0.get(&key) {
            return Ok(known.clone());
        }
        let file = disk.open(path, OpenMode::Read).at("open", path)?;
        let mut scan = Scan::new(file, base, log.length, Gaps::Before(Offset::MAX));
        let mut end = base;
        let stop = loop {
            match scan.step().at("read", path)? {
                Step::Batch(batch) => end = batch.header.next_offset(),
                Step::End => break None,
                Step::Stopped(stop) => break Some(stop),
            }
        };
        self.0.insert(key, (end, stop.clone()));
        Ok((end, stop))
    }
}

/// What the names in a directory say of compactions that were cut off.
pub fn cut_off(
    disk: &dyn Disk,
    directory: &Path,
    entries: &[DirEntry],
    ends: &mut Ends,
) -> Result<CutOff, StorageError> {
    let (mut unfinished, mut swapped) = (bases(entries, CLEANED_SUFFIX), bases(entries, SWAP_SUFFIX));
    if let Some(lowest) = unfinished.first() {
        let not_whole = swapped.split_off(lowest);
        unfinished.extend(not_whole);
    }
    let mut found = CutOff { unfinished, ..CutOff::default() };
    for base in swapped {
        let path = suffixed(directory, base, names::LOG, SWAP_SUFFIX);
        let Some(log) = entry_of(entries, &path) else {
            found.replacements.push(Replacement { base, end: None });
            continue;
        };
        let (end, stop) = ends.of(disk, &path, base, log)?;
        if let Some(stop) = stop {
            found.damage.push(format!("{} is damaged at byte {}: {}", path.display(), stop.position, stop.what));
            if entry_of(entries, &names::file(directory, base, names::LOG)).is_some() {
                // What it was made from is still there.
                found.damaged.insert(base);
                continue;
            }
        }
        found.replacements.push(Replacement { base, end: Some(end) });
    }
    Ok(found)
}

/// What opening does, before it looks at the segments; true when something changed. Words about damage go to `damage`.
pub fn recover(
    disk: &dyn Disk,
    directory: &Path,
    entries: &[DirEntry],
    damage: &mut Vec<String>,
) -> Result<bool, StorageError> {
    let found = cut_off(disk, directory, entries, &mut Ends::default())?;
    damage.extend(found.damage.iter().cloned());
    // The highest first: a lower `.cleaned` says that a higher `.swap` does not count.
    for base in found.unfinished.iter().rev() {
        discard(disk, directory, *base)?;
    }
    for base in &found.damaged {
        discard(disk, directory, *base)?;
    }
    if !found.replacements.is_empty() {
        remove_old(disk, directory, entries, &found)?;
        disk.sync_dir(directory).at("sync", directory)?;
        for replacement in &found.replacements {
            finish(disk, directory, replacement.base)?;
        }
        disk.sync_dir(directory).at("sync", directory)?;
    }
    Ok(!found.is_nothing())
}

fn entry_of<'e>(entries: &'e [DirEntry], path: &Path) -> Option<&'e DirEntry> {
    let name = path.file_name()?.to_str()?;
    entries.iter().find(|entry| entry.name == name)
}

/// Segments that begin inside a replacement, behind its own begin.
fn remove_old(disk: &dyn Disk, directory: &Path, entries: &[DirEntry], found: &CutOff) -> Result<(), StorageError> {
    for entry in entries {
        let mut kinds = SEGMENT_FILES.iter().chain([&names::PRODUCER_SNAPSHOT]);
        if kinds.find_map(|kind| names::offset_of(&entry.name, kind)).is_some_and(|base| found.is_old(base)) {
            remove(disk, &directory.join(&entry.name))?;
        }
    }
    Ok(())
}
