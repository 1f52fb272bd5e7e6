//! The machine's file system by the standard library alone: no short cut of a kernel, a plain sync of the whole file, reads and writes one
//! slice at a time, and a lock that every Unix has.
//!
//! It is what there is where nothing better is known, and what `OTTLA_DISK=portable` chooses on Linux too, where the tests run on it.
//! What it cannot tell it says so: how much room there is, what of a file is in memory, what of it is on the disk behind the memory.

use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::patience::{allow_waiting, may_wait, would_wait};
use super::process_lock::{self, ProcessLock};
use super::{DirEntry, DirLock, Disk, File, OpenMode};

const ZEROES_BYTES: usize = 64 * 1024;
const COPY_BYTES: usize = 128 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub struct PortableDisk;

#[derive(Debug)]
struct PortableFile(fs::File);

pub(super) fn options(mode: OpenMode) -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true).mode(0o644);
    match mode {
        OpenMode::Read => &mut options,
        OpenMode::Write => options.write(true),
        OpenMode::Create => options.write(true).create(true).truncate(false),
        OpenMode::Truncate => options.write(true).create(true).truncate(true),
    };
    options
}

/// What a [`Disk`] of the machine does with names: the same for all of them.
macro_rules! names_of_the_machine {
    () => {
        fn exists(&self, path: &Path) -> io::Result<bool> {
            path.try_exists()
        }

        fn create_dir_all(&self, path: &Path) -> io::Result<()> {
            fs::create_dir_all(path)
        }

        fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
            $crate::env::patience::allow_waiting()?;
            $crate::env::portable::names_in(path)
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            fs::rename(from, to)
        }

        fn remove_file(&self, path: &Path) -> io::Result<()> {
            fs::remove_file(path)
        }

        fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
            fs::remove_dir_all(path)
        }

        fn sync_dir(&self, path: &Path) -> io::Result<()> {
            fs::File::open(path)?.sync_all()
        }
    };
}
pub(super) use names_of_the_machine;

impl Disk for PortableDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        allow_waiting()?;
        // To open and close it here would let go of it.
        if let Some(text) = process_lock::text_of_held(path) {
            return Ok(Arc::new(Text(text)));
        }
        Ok(Arc::new(PortableFile(options(mode).open(path)?)))
    }

    names_of_the_machine!();

    /// Nobody can be asked.
    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>> {
        fs::metadata(path).map(|_| None)
    }

    /// Zeroes are written: that takes blocks on every file system that does not pack them.
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = options(OpenMode::Create).open(path)?;
        let zeroes = vec![0; ZEROES_BYTES];
        let fill = || {
            let mut position = 0;
            while position < bytes {
                let wish = zeroes.len().min(usize::try_from(bytes - position).unwrap_or(usize::MAX));
                file.write_all_at(&zeroes[..wish], position)?;
                position += wish as u64;
            }
            file.sync_all()
        };
        let made = fill();
        if made.is_err() {
            drop(file);
            fs::remove_file(path)?;
        }
        made
    }

    fn boot_id(&self) -> Option<String> {
        running_kernel()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        Ok(Box::new(ProcessLock::take(path)?))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        process_lock::is_taken(path)
    }
}

/// Where the kernel has a file that says so. Without one a log whose sync failed is not opened again as long as memory cannot be told from
/// the disk.
pub(super) fn running_kernel() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

/// What a directory holds, in byte order.
pub(super) fn names_in(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // A name that vanished between listing and looking was removed by somebody: not ours to report.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        // Every name this crate writes is ASCII; others cannot be ours.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let modified_ms = metadata
            .modified()
            .ok()
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_millis()).ok())
            .unwrap_or(0);
        entries.push(DirEntry { name, is_dir: metadata.is_dir(), length: metadata.len(), modified_ms });
    }
    entries.sort();
    Ok(entries)
}

impl File for PortableFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if !may_wait() {
            return Err(would_wait());
        }
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], position + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
        for slice in slices {
            self.0.write_all_at(slice, position)?;
            position += slice.len() as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn is_resident(&self, _position: u64, bytes: u64) -> bool {
        bytes == 0
    }

    fn bring_in(&self, mut position: u64, bytes: u64) -> io::Result<()> {
        let end = position.saturating_add(bytes);
        let mut buffer = vec![0; COPY_BYTES.min(usize::try_from(bytes).unwrap_or(COPY_BYTES))];
        while position < end {
            let wish = buffer.len().min(usize::try_from(end - position).unwrap_or(usize::MAX));
            match self.0.read_at(&mut buffer[..wish], position) {
                Ok(0) => break,
                Ok(read) => position += read as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What a lock file says, from the memory of who holds it.
#[derive(Debug)]
struct Text(Vec<u8>);

impl File for Text {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let rest = self.0.get(usize::try_from(position).unwrap_or(usize::MAX)..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::patience::without_waiting;
    use crate::env::{read_exact_at, read_file, replace_file};

    /// What was written in slices is read at any place, up to the end; what is cut is gone; who only reads does not write.
    #[test]
    fn reads_and_writes() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, path) = (PortableDisk, folder.path().join("file"));
        let file = disk.open(&path, OpenMode::Create).unwrap();
        file.write_at(&mut [IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")], 2).unwrap();
        file.sync_data().unwrap();
        let mut buffer = [9; 10];
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 8);
        assert_eq!(&buffer[..8], b"\0\0onetwo");
        assert_eq!(file.read_at(&mut buffer, 8).unwrap(), 0);
        file.set_len(4).unwrap();
        assert_eq!((file.length().unwrap(), read_file(&disk, &path, 10).unwrap()), (4, b"\0\0on".to_vec()));
        assert!(disk.open(&path, OpenMode::Read).unwrap().write_at(&mut [IoSlice::new(b"x")], 0).is_err());
        assert!(disk.open(&folder.path().join("none"), OpenMode::Write).is_err());
        replace_file(&disk, &path, b"new").unwrap();
        assert_eq!(read_file(&disk, &path, 10).unwrap(), b"new");
        assert_eq!(disk.list(folder.path()).unwrap().len(), 1);
    }

    /// Nothing is known of what is in memory: who may not wait is sent away, and what is brought in can be read by who may.
    #[test]
    fn without_short_cuts() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, path) = (PortableDisk, folder.path().join("file"));
        fs::write(&path, [7; 300_000]).unwrap();
        let file = disk.open(&path, OpenMode::Read).unwrap();
        let mut buffer = [0; 10];
        let refused = without_waiting(|| file.read_at(&mut buffer, 0)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        assert!(without_waiting(|| disk.open(&path, OpenMode::Read)).is_err());
        assert!(file.fd().is_none() && !file.is_resident(0, 1) && file.is_coming(0, 1));
        file.bring_in(0, 1 << 20).unwrap();
        read_exact_at(file.as_ref(), &mut buffer, 299_990).unwrap();
        assert!(disk.fast_paths().is_empty());
        assert!(disk.open_direct(&path).unwrap().is_none() && disk.space(folder.path()).unwrap().is_none());
    }

    /// A reserve has its blocks, or is not there.
    #[test]
    fn reserve() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        PortableDisk.reserve(&path, 100_000).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert!(metadata.len() == 100_000 && metadata.blocks() * 512 >= 100_000, "{metadata:?}");
        assert!(PortableDisk.reserve(&folder.path().join("no folder").join("reserve"), 1).is_err());
    }
}
