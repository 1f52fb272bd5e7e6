//! A file of fixed-size entries in ascending order: the common half of offset and time index.
//!
//! The index of the segment being written lives in memory and its new entries reach the file at a roll, a flush or a stop: appends pay
//! no system call for it, and after a crash it is rebuilt anyway. (Kafka maps the file, 10 MiB of it, and cuts it at the roll.)
//! The index of a closed segment stays on disk and is searched there, a few entries read per look-up. It has no checksum: what a search
//! finds counts only if it fits the log, which is for the segment to see to.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::{Disk, File, OpenMode, read_exact_at};

/// What a search reads at once, at the least 85 entries. Not so much that making room for it is felt.
const BLOCK_BYTES: usize = 1024;

/// `BYTES` per entry.
#[derive(Debug)]
pub struct SparseFile<const BYTES: usize> {
    path: PathBuf,
    entries: Entries,
}

#[derive(Debug)]
enum Entries {
    /// Being written: everything, how many bytes of it the file has, and whether the file holds something else and must be replaced.
    Memory { bytes: Vec<u8>, written: usize, replace: bool },
    /// Closed; opened when first searched.
    Disk { file: Option<Arc<dyn File>>, count: usize },
}

impl<const BYTES: usize> SparseFile<BYTES> {
    /// A new index, replacing whatever the file holds at the next flush.
    pub fn fresh(path: PathBuf) -> SparseFile<BYTES> {
        SparseFile { path, entries: Entries::Memory { bytes: Vec::new(), written: 0, replace: true } }
    }

    /// The index of a closed segment, `length` bytes long. A cut entry at the end is not counted.
    pub fn closed(path: PathBuf, length: u64) -> SparseFile<BYTES> {
        let count = usize::try_from(length).unwrap_or(0) / BYTES;
        SparseFile { path, entries: Entries::Disk { file: None, count } }
    }

    /// The index of a segment that will be written on: read whole. None when its length is no multiple of an entry.
    pub fn load(disk: &dyn Disk, path: PathBuf, bytes_max: u64) -> io::Result<Option<SparseFile<BYTES>>> {
        let bytes = crate::env::read_file(disk, &path, bytes_max)?;
        if !bytes.len().is_multiple_of(BYTES) {
            return Ok(None);
        }
        let written = bytes.len();
        Ok(Some(SparseFile { path, entries: Entries::Memory { bytes, written, replace: false } }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file has another name now.
    pub fn moved_to(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// The segment is closed, the entries are on disk only.
    pub fn is_closed(&self) -> bool {
        matches!(self.entries, Entries::Disk { .. })
    }

    pub fn count(&self) -> usize {
        match &self.entries {
            Entries::Memory { bytes, .. } => bytes.len() / BYTES,
            Entries::Disk { count, .. } => *count,
        }
    }

    pub fn bytes(&self) -> usize {
        self.count() * BYTES
    }

    /// Only on an index being written.
    pub fn push(&mut self, entry: [u8; BYTES]) {
        match &mut self.entries {
            Entries::Memory { bytes, .. } => bytes.extend_from_slice(&entry),
            Entries::Disk { .. } => {
                debug_assert!(false, "append to the index of a closed segment {}", self.path.display())
            }
        }
    }

    pub fn get(&mut self, disk: &dyn Disk, index: usize) -> io::Result<[u8; BYTES]> {
        let mut entry = [0; BYTES];
        match &mut self.entries {
            Entries::Memory { bytes, .. } => match bytes.get(index * BYTES..(index + 1) * BYTES) {
                Some(found) => entry.copy_from_slice(found),
                None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            },
            Entries::Disk { .. } => read_exact_at(self.open(disk)?, &mut entry, (index * BYTES) as u64)?,
        }
        Ok(entry)
    }

    /// The file of a closed index.
    fn open(&mut self, disk: &dyn Disk) -> io::Result<&dyn File> {
        let Entries::Disk { file, .. } = &mut self.entries else { return Err(io::ErrorKind::InvalidInput.into()) };
        if file.is_none() {
            *file = Some(disk.open(&self.path, OpenMode::Read)?);
        }
        file.as_deref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub fn last(&mut self, disk: &dyn Disk) -> io::Result<Option<[u8; BYTES]>> {
        match self.count() {
            0 => Ok(None),
            count => self.get(disk, count - 1).map(Some),
        }
    }

    /// How many leading entries satisfy `holds`, which must be true up to some entry and false from there on. On disk the last steps of
    /// the search are made in one block of entries, read at once.
    pub fn partition_point(&mut self, disk: &dyn Disk, holds: impl Fn(&[u8; BYTES]) -> bool) -> io::Result<usize> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            if self.is_closed() && high - low <= BLOCK_BYTES / BYTES {
                let mut block = [0; BLOCK_BYTES];
                let block = &mut block[..(high - low) * BYTES];
                read_exact_at(self.open(disk)?, block, (low * BYTES) as u64)?;
                let (entries, _) = block.as_chunks::<BYTES>();
                return Ok(low + entries.partition_point(holds));
            }
            let middle = low + (high - low) / 2;
            if holds(&self.get(disk, middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Drops all entries from `count` on; the file follows at the next flush.
    pub fn truncate(&mut self, count: usize) {
        if let Entries::Memory { bytes, written, replace } = &mut self.entries {
            bytes.truncate(count * BYTES);
            *replace |= *written > bytes.len();
        }
    }

    /// Brings the file to what memory holds; `sync` makes it survive a power cut.
    pub fn flush(&mut self, disk: &dyn Disk, sync: bool) -> io::Result<()> {
        let Entries::Memory { bytes, written, replace } = &mut self.entries else { return Ok(()) };
        if !*replace && *written == bytes.len() && !sync {
            return Ok(());
        }
        let file = disk.open(&self.path, if *replace { OpenMode::Truncate } else { OpenMode::Create })?;
        let from = if *replace { 0 } else { *written };
        if from < bytes.len() {
            file.write_at(&mut [IoSlice::new(&bytes[from..])], from as u64)?;
        }
        if sync {
            file.sync_data()?;
        }
        (*written, *replace) = (bytes.len(), false);
        Ok(())
    }

    /// A file that holds just these entries, or the first of them, need not be replaced.
    pub fn keep_if_same(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let Entries::Memory { bytes, written, replace } = &mut self.entries else { return Ok(()) };
        if !*replace {
            return Ok(());
        }
        match crate::env::read_file(disk, &self.path, bytes.len() as u64) {
            Ok(found) if bytes.starts_with(&found) => (*written, *replace) = (found.len(), false),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The segment was closed: what memory held is in the file from now on. Call after [`SparseFile::flush`].
    pub fn retire(&mut self) {
        self.entries = Entries::Disk { file: None, count: self.count() };
    }

    /// A closed index that must be written again is read into memory.
    pub fn revive(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if let Entries::Disk { count, .. } = self.entries {
            let mut bytes = crate::env::read_file(disk, &self.path, u64::MAX)?;
            bytes.truncate(count * BYTES);
            let written = bytes.len();
            self.entries = Entries::Memory { bytes, written, replace: false };
        }
        Ok(())
    }

    /// Lets go of the descriptor, and of memory that says nothing the file does not.
    pub fn release(&mut self) {
        match &mut self.entries {
            Entries::Disk { file, .. } => *file = None,
            Entries::Memory { bytes, written, replace } if !*replace && *written == bytes.len() => self.retire(),
            Entries::Memory { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::scratch::scratch_disk;

    fn filled(disk: &dyn Disk, count: u32) -> SparseFile<4> {
        disk.create_dir_all(Path::new("/i")).unwrap();
        let mut file = SparseFile::fresh("/i/x.index".into());
        for entry in 0..count {
            file.push((entry * 10).to_be_bytes());
        }
        file.flush(disk, false).unwrap();
        file
    }

    /// A search gives the same answer in memory and on disk, before, between, on and after the entries.
    #[test]
    fn search() {
        let disk = scratch_disk();
        let block = (BLOCK_BYTES / 4) as u32;
        for count in [0, 1, 2, 7, 100, block, block + 1, 3 * block] {
            let mut memory = filled(disk.as_ref(), count);
            let mut closed = filled(disk.as_ref(), count);
            closed.retire();
            for target in 0..count * 10 + 10 {
                let expected = (0..count).filter(|entry| entry * 10 <= target).count();
                for file in [&mut memory, &mut closed] {
                    let found =
                        file.partition_point(disk.as_ref(), |entry| u32::from_be_bytes(*entry) <= target).unwrap();
                    assert_eq!(found, expected, "{count} entries, target {target}");
                }
            }
        }
    }

    /// Entries appended after a flush, and entries cut off, reach the file.
    #[test]
    fn flush_follows_memory() {
        let disk = scratch_disk();
        let mut file = filled(disk.as_ref(), 5);
        file.push(99u32.to_be_bytes());
        file.flush(disk.as_ref(), true).unwrap();
        assert_eq!(SparseFile::<4>::load(disk.as_ref(), "/i/x.index".into(), 100).unwrap().unwrap().count(), 6);
        file.truncate(2);
        file.flush(disk.as_ref(), true).unwrap();
        assert_eq!(SparseFile::<4>::load(disk.as_ref(), "/i/x.index".into(), 100).unwrap().unwrap().count(), 2);
        file.truncate(0);
        file.flush(disk.as_ref(), true).unwrap();
        assert_eq!(SparseFile::<4>::load(disk.as_ref(), "/i/x.index".into(), 100).unwrap().unwrap().count(), 0);
    }

    /// A file that ends inside an entry is not taken for whole.
    #[test]
    fn cut_entry() {
        let disk = scratch_disk();
        filled(disk.as_ref(), 3);
        disk.open(Path::new("/i/x.index"), OpenMode::Write).unwrap().set_len(10).unwrap();
        assert!(SparseFile::<4>::load(disk.as_ref(), "/i/x.index".into(), 100).unwrap().is_none());
    }
}
