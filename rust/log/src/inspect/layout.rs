//! Which files a partition consists of. Where a compaction was cut off, or is just being ended, they are those that an opening would leave:
//! a `.swap` that counts stands in the place of what it replaces. Nothing is changed here.

use std::io;
use std::path::{Path, PathBuf};

use crate::Offset;
use crate::compaction::swap::{self, CutOff, Ends};
use crate::env::{DirEntry, Disk};
use crate::error::{IoContext, StorageError};
use crate::segment::names::{self, SEGMENT_FILES, SWAP_SUFFIX};

/// A directory that changes is listed so often before it is an error.
const LISTINGS_MAX: usize = 100;

/// The files of one segment; its indexes need not be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentFiles {
    pub base_offset: Offset,
    /// Of its log.
    pub bytes: u64,
    pub modified_ms: i64,
    pub log: PathBuf,
    pub offset_index: PathBuf,
    pub time_index: PathBuf,
    pub txn_index: PathBuf,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// In the order of their offsets.
    pub segments: Vec<SegmentFiles>,
    pub cut_off: CutOff,
    /// All there is, of what does not count too.
    pub entries: Vec<DirEntry>,
}

/// An error that may come of the directory's owner having renamed or removed the file since it was listed.
pub(super) fn is_gone(error: &StorageError) -> bool {
    matches!(error, StorageError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

impl Layout {
    pub fn take(disk: &dyn Disk, directory: &Path, ends: &mut Ends) -> Result<Layout, StorageError> {
        let mut listings = 0;
        loop {
            let entries = disk.list(directory).at("list", directory)?;
            listings += 1;
            match swap::cut_off(disk, directory, &entries, ends) {
                Ok(cut_off) => return Ok(Layout::of(directory, entries, cut_off)),
                Err(error) if is_gone(&error) && listings < LISTINGS_MAX => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn of(directory: &Path, entries: Vec<DirEntry>, cut_off: CutOff) -> Layout {
        let has = |name: &Path| {
            let name = name.file_name().and_then(|name| name.to_str());
            entries.binary_search_by(|entry| Some(entry.name.as_str()).cmp(&name)).is_ok()
        };
        let path_of = |base: Offset, kind: &str| {
            let swapped = names::file(directory, base, &format!("{kind}{SWAP_SUFFIX}"));
            let counts = cut_off.is_replaced(base) && has(&swapped);
            if counts { swapped } else { names::file(directory, base, kind) }
        };
        let mut segments = Vec::new();
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let name = entry.name.strip_suffix(SWAP_SUFFIX).unwrap_or(&entry.name);
            let Some(base_offset) = names::offset_of(name, names::LOG) else { continue };
            let [log, offset_index, time_index, txn_index] = SEGMENT_FILES.map(|kind| path_of(base_offset, kind));
            // Of a log and its `.swap` one.
            if cut_off.is_old(base_offset) || !log.ends_with(&entry.name) {
                continue;
            }
            let (bytes, modified_ms) = (entry.length, entry.modified_ms);
            segments.push(SegmentFiles { base_offset, bytes, modified_ms, log, offset_index, time_index, txn_index });
        }
        Layout { segments, cut_off, entries }
    }

    /// Where in the list the segment that holds `offset`, or ends before it, is; None when all begin behind it.
    pub fn place_of(&self, offset: Offset) -> Option<usize> {
        self.segments.partition_point(|segment| segment.base_offset <= offset).checked_sub(1)
    }
}
