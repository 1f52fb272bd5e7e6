//! The names of new partitions in a data directory. A sync of the directory brings all that were made before it: where many partitions
//! wait for that side by side, one sync serves all of them.
//!
//! After one that failed none of the names it was for counts as being on the disk, whatever the next sync says.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::env::Disk;
use crate::error::{IoContext, StorageError};

#[derive(Debug, Default)]
pub(crate) struct NewNames {
    /// They are numbered from 1 on.
    made: AtomicU64,
    synced: Mutex<Synced>,
}

#[derive(Debug, Default)]
struct Synced {
    /// Up to this number a sync was made.
    last: u64,
    failed: Vec<(RangeInclusive<u64>, StorageError)>,
}

impl NewNames {
    /// Call once the name is there; its number.
    pub fn made(&self) -> u64 {
        self.made.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Returns once the name of this number is on the disk.
    pub fn sync(&self, disk: &dyn Disk, directory: &Path, number: u64) -> Result<(), StorageError> {
        let mut synced = self.synced.lock();
        if synced.last < number {
            let last = self.made.load(Ordering::Acquire);
            if let Err(error) = disk.sync_dir(directory).at("sync", directory) {
                if error.is_no_descriptor() {
                    return Err(error);
                }
                let failed = synced.last + 1..=last;
                synced.failed.push((failed, error));
            }
            synced.last = last;
        }
        let failed = synced.failed.iter().find(|(numbers, _)| numbers.contains(&number));
        failed.map_or(Ok(()), |(_, error)| Err(error.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::faulty::{Call, EIO, EMFILE, Fault, FaultyDisk};

    /// What one sync covered needs no other; a name made since does.
    #[test]
    fn one_for_all() {
        let (disk, directory) = (FaultyDisk::scratch(), Path::new("/d"));
        disk.create_dir_all(directory).unwrap();
        let (names, faults) = (NewNames::default(), disk.faults());
        for _ in 0..2 {
            let numbers = [names.made(), names.made()];
            faults.trace();
            for number in numbers {
                names.sync(&disk, directory, number).unwrap();
            }
            assert_eq!(faults.traced(), [(Call::SyncDir, directory.to_path_buf())]);
        }
    }

    /// After a failed sync none of the names it was for counts as there; those made since do. A missing descriptor is no failure of the disk.
    #[test]
    fn failed_once() {
        let (disk, directory) = (FaultyDisk::scratch(), Path::new("/d"));
        disk.create_dir_all(directory).unwrap();
        let (names, faults) = (NewNames::default(), disk.faults());
        let sync = |number| names.sync(&disk, directory, number);
        let first = names.made();
        faults.fail(Fault::new(EMFILE).of(&[Call::SyncDir]).once());
        assert!(sync(first).is_err());
        assert!(sync(first).is_ok());
        let (second, third) = (names.made(), names.made());
        faults.fail(Fault::new(EIO).of(&[Call::SyncDir]).once());
        assert!(sync(second).is_err());
        let fourth = names.made();
        assert!(sync(fourth).is_ok());
        assert_eq!([first, second, third, fourth].map(|number| sync(number).is_ok()), [true, false, false, true]);
    }
}
