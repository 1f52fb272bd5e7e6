//! Where recovery must stop although the bytes go on: what a marker says, and what memory shows that is not on the disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::OpenHint;
use super::marker::{self, Marker};
use crate::Offset;
use crate::env::{Disk, File};
use crate::error::{IoContext, StorageError};
use crate::health::Trust;
use crate::segment::names;
use crate::segment::scan::Scanned;

/// See the module.
pub(super) struct Ending {
    /// What is past the recovery point is read from.
    trust: Trust,
    marker: Marker,
}

impl Ending {
    /// Looks for a marker. With one, or where memory is not believed, nothing is as after a clean stop.
    pub(super) fn find(
        disk: &dyn Disk,
        path: &Path,
        trust: Trust,
        hint: &mut OpenHint,
        damage: &mut Vec<String>,
    ) -> Result<Ending, StorageError> {
        let mut ending = Ending { trust, marker: marker::read(disk, path)? };
        match ending.marker {
            Marker::Absent => {}
            Marker::At(durable) => {
                damage.push(format!("{} failed when it had everything before offset {durable}", path.display()));
                hint.recovery_point = hint.recovery_point.min(durable);
            }
            Marker::Damaged => {
                damage.push(format!("{} is damaged", path.join(names::DURABLE_OFFSET).display()));
                ending.trust = Trust::Disk;
            }
        }
        hint.clean &= ending.marker == Marker::Absent && ending.trust == Trust::Memory;
        Ok(ending)
    }

    /// What a scan reads: the file as memory shows it, or as it lies on the disk.
    pub(super) fn source(
        &self,
        disk: &dyn Disk,
        shown: &Arc<dyn File>,
        path: &Path,
    ) -> Result<Arc<dyn File>, StorageError> {
        if self.trust == Trust::Memory {
            return Ok(shown.clone());
        }
        disk.open_direct(path).at("open", path)?.ok_or_else(|| {
            let what = "a sync failed, and this file system cannot tell what memory shows of it from what is on the disk: reboot first";
            StorageError::invalid(path, what)
        })
    }

    /// Why a valid batch does not count: it was not on the disk when that failed, or memory, from which it will be served, shows another.
    pub(super) fn past(&self, batch: &Scanned<'_>, shown: &dyn File) -> io::Result<Option<String>> {
        if let Some(durable) = self.durable().filter(|durable| batch.header.last_offset() >= *durable) {
            return Ok(Some(format!("the disk failed when it had everything before offset {durable}")));
        }
        if self.trust == Trust::Memory {
            return Ok(None);
        }
        let mut bytes = vec![0; batch.batch.len()];
        let same = shown.read_at(&mut bytes, u64::from(batch.position))? == bytes.len() && bytes == batch.batch;
        Ok((!same).then(|| "memory shows other bytes than the disk".into()))
    }

    /// The disk failed before.
    pub(super) fn has_marker(&self) -> bool {
        self.marker != Marker::Absent
    }

    fn durable(&self) -> Option<Offset> {
        match self.marker {
            Marker::At(durable) => Some(durable),
            Marker::Absent | Marker::Damaged => None,
        }
    }

    /// What the marker asked for is done and synced: it goes.
    pub(super) fn settle(&self, disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
        if self.marker == Marker::Absent {
            return Ok(());
        }
        disk.sync_dir(path).at("sync", path)?;
        marker::remove(disk, path)
    }
}
