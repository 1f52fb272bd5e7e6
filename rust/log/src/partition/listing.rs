//! What files lie in a partition's directory, once what an interrupted deletion, compaction or replacement left is cleared away.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::producers::Producers;
use super::replay::remove_if_there;
use super::snapshot;
use crate::Offset;
use crate::compaction::swap;
use crate::env::{DirEntry, Disk, read_file};
use crate::error::{IoContext, StorageError};
use crate::segment::{Segment, names};

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

    /// The newest snapshot at or below `offset` that can be read, and the offset it stands for.
    pub fn newest_snapshot(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        offset: Offset,
        damage: &mut Vec<String>,
    ) -> Result<(Producers, Option<Offset>), StorageError> {
        let first = self.logs.keys().next().copied().unwrap_or(0);
        // Behind an older one batches are missing: what it says of a producer would refuse that producer's next batch.
        for at in self.snapshots.iter().rev().copied().filter(|at| (first..=offset).contains(at)) {
            let path = names::file(directory, at, names::PRODUCER_SNAPSHOT);
            let bytes = match read_file(disk, &path, snapshot::BYTES_MAX) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Vec::new(),
                Err(error) => return Err(StorageError::io("read", &path, error)),
            };
            match snapshot::decode(&bytes) {
                Some(producers) => return Ok((producers, Some(at))),
                None => damage.push(format!("{} is damaged; an older one is used", path.display())),
            }
        }
        Ok((Producers::default(), None))
    }

    /// Snapshots of batches that will be scanned again, or that lie behind the end, say nothing any more.
    pub fn drop_snapshots_above(
        &mut self,
        disk: &dyn Disk,
        directory: &Path,
        limit: Offset,
    ) -> Result<(), StorageError> {
        for at in self.snapshots.iter().filter(|at| **at > limit) {
            remove_if_there(disk, &names::file(directory, *at, names::PRODUCER_SNAPSHOT))?;
        }
        self.snapshots.retain(|at| *at <= limit);
        Ok(())
    }

    /// Each stop leaves a snapshot at an offset of its own: kept are those segments begin with and the one that was used (Kafka's
    /// `removeStraySnapshots`).
    pub fn drop_stray_snapshots(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        segments: &[Arc<Segment>],
        used: Option<Offset>,
    ) -> Result<(), StorageError> {
        for at in &self.snapshots {
            let begins_segment = segments.iter().any(|segment| segment.base_offset() == *at);
            if !begins_segment && Some(*at) != used {
                remove_if_there(disk, &names::file(directory, *at, names::PRODUCER_SNAPSHOT))?;
            }
        }
        Ok(())
    }
}
