//! Where recovery must stop although the bytes go on: what a marker says, and what memory shows that is not on the disk.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::OpenHint;
use super::marker::{self, Marker};
use crate::batch::BatchHeader;
use crate::env::{Disk, File};
use crate::error::{IoContext, StorageError};
use crate::health::Trust;
use crate::segment::names;
use crate::{Durability, Offset};

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
        durability: Durability,
        hint: &mut OpenHint,
        damage: &mut Vec<String>,
    ) -> Result<Ending, StorageError> {
        let trust = match (trust, durability) {
            // What was promised is in the page cache.
            (Trust::Compared, Durability::Os) => Trust::Memory,
            (trust, _) => trust,
        };
        let mut ending = Ending { trust, marker: marker::read(disk, path)? };
        match ending.marker {
            Marker::Absent => {}
            Marker::At(durable) => {
                damage.push(format!(
                    "{} failed when it had everything before offset {durable}, or a start that cut it there was killed",
                    path.display()
                ));
                hint.recovery_point = hint.recovery_point.min(durable);
            }
            Marker::Damaged => {
                damage.push(format!("{} is damaged", path.join(names::DURABLE_OFFSET).display()));
                ending.trust = Trust::Disk;
            }
        }
        hint.clean &= ending.marker == Marker::Absent && ending.trust != Trust::Disk;
        Ok(ending)
    }

    /// What a scan reads past the recovery point, if not what memory shows.
    pub(super) fn beyond(
        &self,
        disk: &dyn Disk,
        shown: &Arc<dyn File>,
        path: &Path,
    ) -> Result<Option<Arc<Agreed>>, StorageError> {
        if self.trust == Trust::Memory {
            return Ok(None);
        }
        let direct = disk.open_direct(path).at("open", path)?;
        if direct.is_none() && self.trust == Trust::Disk {
            let what = "a sync failed, and this file system cannot tell what memory shows of it from what is on the disk: reboot first";
            return Err(StorageError::invalid(path, what));
        }
        Ok(direct.map(|direct| Arc::new(Agreed::new(direct, shown.clone()))))
    }

    /// Why a valid batch does not count, if a marker says that it was not on the disk when that failed.
    pub(super) fn past(&self, header: &BatchHeader) -> Option<String> {
        let durable = self.durable().filter(|durable| header.last_offset() >= *durable)?;
        Some(format!("the disk failed when it had everything before offset {durable}"))
    }

    /// The log will be cut at `offset`. Noted where the next start could not tell that the cut was begun and may not be on the disk:
    /// what was cut off would come back with a power cut, behind what is appended until then.
    pub(super) fn will_cut(&mut self, disk: &dyn Disk, path: &Path, offset: Offset) -> Result<(), StorageError> {
        if self.marker == Marker::Absent {
            marker::write(disk, path, offset)?;
            self.marker = Marker::At(offset);
        }
        Ok(())
    }

    /// The disk failed before, or a cut was begun.
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

/// A file as far as memory and the disk show the same of it.
#[derive(Debug)]
pub(super) struct Agreed {
    direct: Arc<dyn File>,
    shown: Arc<dyn File>,
    buffer: Mutex<Vec<u8>>,
    differs: AtomicBool,
}

impl Agreed {
    fn new(direct: Arc<dyn File>, shown: Arc<dyn File>) -> Agreed {
        Agreed { direct, shown, buffer: Mutex::default(), differs: AtomicBool::new(false) }
    }

    /// A read came to bytes that are not the same.
    pub(super) fn differs(&self) -> bool {
        self.differs.load(Ordering::Relaxed)
    }
}

impl File for Agreed {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let there = self.direct.read_at(buffer, position)?;
        let mut seen = self.buffer.lock();
        seen.resize(buffer.len(), 0);
        let shown = self.shown.read_at(&mut seen, position)?;
        let (there, shown) = (&buffer[..there], &seen[..shown]);
        if there == shown {
            return Ok(there.len());
        }
        self.differs.store(true, Ordering::Relaxed);
        Ok(there.iter().zip(shown).take_while(|(there, shown)| there == shown).count())
    }

    fn length(&self) -> io::Result<u64> {
        self.shown.length()
    }
}
