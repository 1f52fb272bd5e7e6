//! What files lie in a partition's directory, once what an interrupted deletion, compaction or replacement left is cleared away.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::Offset;
use crate::compaction::swap;
use crate::env::{DirEntry, Disk};
use crate::error::{IoContext, StorageError};
use crate::segment::names;

/// What a directory holds, by kind.
#[derive(Default)]
pub(super) struct Listing {
    pub logs: BTreeMap<Offset, DirEntry>,
    pub offset_indexes: BTreeMap<Offset, u64>,
    pub time_indexes: BTreeMap<Offset, u64>,
    pub txn_indexes: BTreeSet<Offset>,
    pub snapshots: Vec<Offset>,
}

impl Listing {
    /// None: there is no such directory. Words about damage go to `damage`.
    pub fn take(disk: &dyn Disk, path: &Path, damage: &mut Vec<String>) -> Result<Option<Listing>, StorageError> {
        let entries = match disk.list(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io("list", path, error)),
        };
        let changed = swap::recover(disk, path, &entries, damage)?;
        let entries = if changed { disk.list(path).at("list", path)? } else { entries };
        let mut listing = Listing::default();
        for entry in entries {
            let name = entry.name.as_str();
            if entry.is_dir {
                continue;
            }
            if name.ends_with(names::DELETED_SUFFIX) || name.ends_with(names::CLEANED_SUFFIX) || name.ends_with(".tmp")
            {
                let stale = path.join(name);
                disk.remove_file(&stale).at("remove", &stale)?;
            } else if let Some(offset) = names::offset_of(name, names::LOG) {
                listing.logs.insert(offset, entry);
            } else if let Some(offset) = names::offset_of(name, names::OFFSET_INDEX) {
                listing.offset_indexes.insert(offset, entry.length);
            } else if let Some(offset) = names::offset_of(name, names::TIME_INDEX) {
                listing.time_indexes.insert(offset, entry.length);
            } else if let Some(offset) = names::offset_of(name, names::TXN_INDEX) {
                listing.txn_indexes.insert(offset);
            } else if let Some(offset) = names::offset_of(name, names::PRODUCER_SNAPSHOT) {
                listing.snapshots.push(offset);
            }
        }
        Ok(Some(listing))
    }
}
