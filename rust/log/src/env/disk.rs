//! The machine's file system.

use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::direct::DirectFile;
use super::fast_paths::{FastPath, FastPaths, PathState, read_now};
use super::lock::HeldLock;
use super::patience::{allow_waiting, may_wait, would_wait};
use super::portable::{names_of_the_machine, options, running_kernel};
use super::write_out::write_out;
use super::{DirEntry, DirLock, Disk, File, OpenMode, resident};

#[derive(Debug, Default)]
pub struct RealDisk {
    fast_paths: Arc<FastPaths>,
}

impl RealDisk {
    /// Of the kernel's short cuts only these are used.
    pub fn with(fast_paths: &[FastPath]) -> RealDisk {
        RealDisk { fast_paths: Arc::new(FastPaths::only(fast_paths)) }
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    fast_paths: Arc<FastPaths>,
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        // The names on the way may have to come from the disk.
        allow_waiting()?;
        Ok(Arc::new(RealFile { file: options(mode).open(path)?, fast_paths: self.fast_paths.clone() }))
    }

    names_of_the_machine!();

    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Some((found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)))
    }

    fn open_direct(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        Ok(DirectFile::open(path)?.map(|file| Arc::new(file) as Arc<dyn File>))
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = options(OpenMode::Create).open(path)?;
        let made = allocate(&file, bytes).and_then(|()| file.sync_all());
        if made.is_err() {
            drop(file);
            fs::remove_file(path)?;
        }
        made
    }

    fn try_fast_paths(&self, path: &Path) -> io::Result<()> {
        self.fast_paths.try_on(&fs::File::options().read(true).write(true).open(path)?)
    }

    fn fast_paths(&self) -> Vec<(FastPath, PathState)> {
        FastPath::ALL.map(|path| (path, self.fast_paths.state(path))).to_vec()
    }

    fn boot_id(&self) -> Option<String> {
        running_kernel()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let file = options(OpenMode::Create).open(path)?;
        Ok(Box::new(HeldLock::take(file)?))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        match fs::File::open(path) {
            Ok(file) => HeldLock::is_taken(&file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl RealFile {
    /// Reads what is in memory, or fails.
    fn read_at_once(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while self.fast_paths.is_on(FastPath::Nowait) && done < buffer.len() {
            match read_now(&self.file, &mut buffer[done..], position + done as u64) {
                Ok(0) => return Ok(done),
                Ok(read) => done += read,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Err(would_wait()),
                // This file system does not know it.
                Err(rustix::io::Errno::OPNOTSUPP) => break,
                Err(error) => return Err(error.into()),
            }
        }
        if done == buffer.len() {
            return Ok(done);
        }
        let rest = self.length()?.saturating_sub(position + done as u64).min((buffer.len() - done) as u64);
        if !self.is_resident(position + done as u64, rest) {
            return Err(would_wait());
        }
        Ok(done + self.read_all(&mut buffer[done..], position + done as u64)?)
    }

    fn read_all(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], position + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if may_wait() { self.read_all(buffer, position) } else { self.read_at_once(buffer, position) }
    }

    fn write_at(&self, mut slices: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match rustix::io::pwritev(&self.file, slices, position) {
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
        self.file.sync_data()
    }

    fn write_out(&self, position: u64, bytes: u64) -> io::Result<()> {
        if !self.fast_paths.is_on(FastPath::SyncFileRange) {
            return Ok(());
        }
        Ok(write_out(&self.file, position, bytes)?)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fast_paths.is_on(FastPath::Sendfile).then(|| self.file.as_fd())
    }

    fn is_resident(&self, position: u64, bytes: u64) -> bool {
        resident::is_resident(&self.fast_paths, &self.file, position, bytes)
    }

    fn is_coming(&self, position: u64, bytes: u64) -> bool {
        resident::is_coming(&self.fast_paths, &self.file, position, bytes)
    }

    fn read_ahead(&self, position: u64, bytes: u64) {
        resident::read_ahead(&self.file, position, bytes);
    }

    fn bring_in(&self, position: u64, bytes: u64) -> io::Result<()> {
        resident::bring_in(&self.fast_paths, &self.file, position, bytes)
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
    use crate::env::{patience, read_file};

    /// What is read past the page cache is what was written, at any position and length, up to the end and past it.
    #[test]
    fn direct_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..20_000u32).flat_map(|number| number.to_be_bytes()).collect();
        RealDisk::default().open(&path, OpenMode::Create).unwrap().write_at(&mut [IoSlice::new(&bytes)], 0).unwrap();
        let Some(file) = RealDisk::default().open_direct(&path).unwrap() else { return };
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

    /// Who may not wait gets what is in memory, whichever short cuts there are, up to the end of the file; the rest fails, and so does
    /// opening a file.
    #[test]
    fn without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for allowed in [&[][..], &[FastPath::Nowait], &[FastPath::Cachestat], &FastPath::ALL] {
            let disk = RealDisk::with(allowed);
            disk.try_fast_paths(&{
                fs::write(&path, [7; 100_000]).unwrap();
                path.clone()
            })
            .unwrap();
            let can_tell = disk
                .fast_paths()
                .iter()
                .any(|(path, state)| matches!(path, FastPath::Nowait | FastPath::Cachestat) && *state == PathState::On);
            let file = disk.open(&path, OpenMode::Write).unwrap();
            file.sync_data().unwrap();
            let mut buffer = [0; 70_000];
            let mut read = |position| patience::without_waiting(|| file.read_at(&mut buffer, position));
            let refused =
                |result: io::Result<usize>| result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            if can_tell {
                assert_eq!(read(0).unwrap(), 70_000, "{allowed:?}");
                assert_eq!(read(60_000).unwrap(), 40_000, "{allowed:?}");
                assert_eq!(read(100_000).unwrap(), 0, "{allowed:?}");
            } else {
                assert!(refused(read(0)), "{allowed:?}");
            }
            let dropped = fs::File::open(&path).unwrap();
            rustix::fs::fadvise(&dropped, 0, None, rustix::fs::Advice::DontNeed).unwrap();
            // To read it without waiting would have it brought in.
            if super::super::cachestat::cached_pages(&dropped, 0, 1) == Ok(0) {
                assert!(refused(read(0)), "{allowed:?}");
            }
            assert_eq!(file.read_at(&mut [0; 10], 5).unwrap(), 10);
            let opened = patience::without_waiting(|| disk.open(&path, OpenMode::Read).err().map(|error| error.kind()));
            assert_eq!(opened, Some(io::ErrorKind::WouldBlock));
        }
    }

    /// A reserve has its blocks, and is all there or not at all.
    #[test]
    fn reserve_has_blocks() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        RealDisk::default().reserve(&path, 1 << 20).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), 1 << 20);
        assert!(metadata.blocks() * 512 >= 1 << 20, "{} blocks", metadata.blocks());
        assert!(RealDisk::default().reserve(&folder.path().join("far too long"), u64::MAX >> 2).is_err());
        assert!(read_file(&RealDisk::default(), &folder.path().join("far too long"), 10).is_err());
    }
}
