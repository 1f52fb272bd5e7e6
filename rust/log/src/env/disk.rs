//! The machine's file system.

use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::direct::DirectFile;
use super::lock::HeldLock;
use super::{DirEntry, DirLock, Disk, File, OpenMode};

#[derive(Debug)]
pub struct RealDisk;

#[derive(Debug)]
struct RealFile(fs::File);

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).mode(0o644);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => options.write(true),
            OpenMode::Create => options.write(true).create(true).truncate(false),
            OpenMode::Truncate => options.write(true).create(true).truncate(true),
        };
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
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

    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Some((found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)))
    }

    fn open_direct(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        Ok(DirectFile::open(path)?.map(|file| Arc::new(file) as Arc<dyn File>))
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)?;
        let made = allocate(&file, bytes).and_then(|()| file.sync_all());
        if made.is_err() {
            drop(file);
            fs::remove_file(path)?;
        }
        made
    }

    fn boot_id(&self) -> Option<String> {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(text.trim().to_owned()).filter(|id| !id.is_empty())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)?;
        Ok(Box::new(HeldLock::take(file)?))
    }
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
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

    fn write_at(&self, mut slices: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match rustix::io::pwritev(&self.0, slices, position) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(written) => {
                    IoSlice::advance_slices(&mut slices, written);
                    position += written as u64;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

/// Blocks for all of the file. Where the file system cannot do that at once they are written.
fn allocate(file: &fs::File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let zeroes = vec![0; 64 * 1024];
            let mut position = 0;
            while position < bytes {
                let wish = zeroes.len().min(usize::try_from(bytes - position).unwrap_or(usize::MAX));
                file.write_all_at(&zeroes[..wish], position)?;
                position += wish as u64;
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::read_file;

    /// What is read past the page cache is what was written, at any position and length, up to the end and past it.
    #[test]
    fn direct_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..20_000u32).flat_map(|number| number.to_be_bytes()).collect();
        RealDisk.open(&path, OpenMode::Create).unwrap().write_at(&mut [IoSlice::new(&bytes)], 0).unwrap();
        let Some(file) = RealDisk.open_direct(&path).unwrap() else { return };
        assert_eq!(file.length().unwrap(), bytes.len() as u64);
        for (position, length) in
            [(0, 1), (1, 4095), (4095, 2), (4096, 4096), (5000, 60_000), (79_990, 100), (90_000, 5)]
        {
            let mut buffer = vec![0; length];
            let read = file.read_at(&mut buffer, position as u64).unwrap();
            let expected = &bytes[position.min(bytes.len())..(position + length).min(bytes.len())];
            assert_eq!(&buffer[..read], expected, "{length} bytes at {position}");
        }
        assert!(file.set_len(0).is_err() && file.write_at(&mut [IoSlice::new(b"x")], 0).is_err());
    }

    /// A reserve has its blocks, and is all there or not at all.
    #[test]
    fn reserve_has_blocks() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        RealDisk.reserve(&path, 1 << 20).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), 1 << 20);
        assert!(metadata.blocks() * 512 >= 1 << 20, "{} blocks", metadata.blocks());
        assert!(RealDisk.reserve(&folder.path().join("far too long"), u64::MAX >> 2).is_err());
        assert!(read_file(&RealDisk, &folder.path().join("far too long"), 10).is_err());
    }
}
