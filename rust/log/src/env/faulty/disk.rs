//! The disk and the files that ask the switches first.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Call, ENOSPC, Faults, NAME_BYTES};
use crate::env::patience::{allow_waiting, waiting};
use crate::env::scratch::{Counted, scratch_disk};
use crate::env::{DirEntry, DirLock, Disk, File, OpenMode};

/// See [`super`].
#[derive(Debug)]
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    /// Known when it is a test's own: whose room can be counted.
    own: Option<Arc<dyn Counted>>,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    pub fn over(inner: Arc<dyn Disk>) -> FaultyDisk {
        FaultyDisk { inner, own: None, faults: Arc::default() }
    }

    /// Over an empty disk of its own.
    pub fn scratch() -> FaultyDisk {
        let own = scratch_disk();
        FaultyDisk { inner: own.clone(), own: Some(own), faults: Arc::default() }
    }

    pub fn faults(&self) -> Arc<Faults> {
        self.faults.clone()
    }

    /// From now on the disk has room for `bytes` more than it holds. Only of one of its own.
    pub fn fill_up(&self, bytes: u64) {
        *self.faults.capacity.lock() = self.used().map(|used| used + bytes);
    }

    /// Files hold what is on the disk and nothing else, as when another kernel starts. Names stay. Only where it is tracked.
    pub fn lose_memory(&self) -> io::Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        for path in own.files() {
            let bytes = self.faults.on_disk(&path).unwrap_or_default();
            let file = self.inner.open(&path, OpenMode::Truncate)?;
            file.write_at(&mut [IoSlice::new(&bytes)], 0)?;
        }
        Ok(())
    }

    /// Bytes and names in use; None: it is not a disk of its own.
    pub fn used(&self) -> Option<u64> {
        let (names, bytes) = self.own.as_ref()?.used();
        Some(names as u64 * NAME_BYTES + bytes)
    }

    /// Room that is left; None: no end of it.
    fn room(&self) -> Option<u64> {
        let capacity = (*self.faults.capacity.lock())?;
        Some(capacity.saturating_sub(self.used()?))
    }

    fn makes(&self, path: &Path, mode: OpenMode) -> io::Result<bool> {
        Ok(!matches!(mode, OpenMode::Read | OpenMode::Write) && !self.inner.exists(path)?)
    }
}

fn full() -> io::Error {
    io::Error::from_raw_os_error(ENOSPC)
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        // As the real disk.
        allow_waiting()?;
        let makes = self.makes(path, mode)?;
        self.faults.pass(if makes { Call::Create } else { Call::Open }, path)?;
        if makes {
            if self.room().is_some_and(|room| room < NAME_BYTES) {
                return Err(full());
            }
            self.faults.unsynced.lock().insert(path.to_path_buf());
        }
        let file = self.inner.open(path, mode)?;
        if makes || mode == OpenMode::Truncate {
            // Its blocks are another file's from now on.
            self.faults.removed(path);
        }
        let hook = {
            let mut hook = self.faults.when_opened.lock();
            hook.take_if(|(end, _)| path.to_string_lossy().ends_with(*end))
        };
        if let Some((_, hook)) = hook {
            hook();
        }
        Ok(Arc::new(FaultyFile { path: path.to_path_buf(), file, faults: self.faults.clone(), own: self.own.clone() }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.faults.pass(Call::Exists, path)?;
        self.inner.exists(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.faults.pass(Call::MakeDir, path)?;
        for ancestor in path.ancestors().filter(|ancestor| ancestor.parent().is_some()) {
            if !self.inner.exists(ancestor)? {
                self.faults.unsynced.lock().insert(ancestor.to_path_buf());
            }
        }
        self.inner.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        allow_waiting()?;
        self.faults.pass(Call::List, path)?;
        self.inner.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.pass(Call::Rename, to)?;
        self.inner.rename(from, to)?;
        self.faults.moved(from, to);
        let mut unsynced = self.faults.unsynced.lock();
        let moved: Vec<PathBuf> = unsynced.iter().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            unsynced.remove(&path);
            if let Ok(rest) = path.strip_prefix(from) {
                unsynced.insert(to.join(rest));
            }
        }
        unsynced.insert(to.to_path_buf());
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.faults.pass(Call::RemoveFile, path)?;
        self.faults.unsynced.lock().retain(|unsynced| !unsynced.starts_with(path));
        self.inner.remove_file(path)?;
        self.faults.removed(path);
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.faults.pass(Call::RemoveDir, path)?;
        self.faults.unsynced.lock().retain(|unsynced| !unsynced.starts_with(path));
        self.inner.remove_dir_all(path)?;
        self.faults.removed(path);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.faults.pass(Call::SyncDir, path)?;
        self.inner.sync_dir(path)?;
        self.faults.unsynced.lock().retain(|unsynced| unsynced.parent() != Some(path));
        Ok(())
    }

    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>> {
        self.faults.pass(Call::Space, path)?;
        self.inner.space(path)
    }

    fn open_direct(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        self.faults.pass(Call::OpenDirect, path)?;
        if self.faults.images.lock().is_some() {
            // What is dirty goes to the disk first; what a failed sync left looks clean.
            self.faults.synced(path, self.inner.open(path, OpenMode::Read)?.as_ref(), true)?;
            return Ok(Some(Arc::new(OnDisk(self.faults.on_disk(path).unwrap_or_default()))));
        }
        self.inner.open_direct(path)
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.faults.pass(Call::Reserve, path)?;
        if self.own.is_none() {
            return self.inner.reserve(path, bytes);
        }
        let there = self.inner.open(path, OpenMode::Read).and_then(|file| file.length()).unwrap_or(0);
        if self.room().is_some_and(|room| room < NAME_BYTES + bytes.saturating_sub(there)) {
            return Err(full());
        }
        self.inner.open(path, OpenMode::Create)?.set_len(bytes)
    }

    fn boot_id(&self) -> Option<String> {
        self.inner.boot_id()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.faults.pass(Call::Lock, path)?;
        self.inner.lock(path)
    }
}

#[derive(Debug)]
struct FaultyFile {
    path: PathBuf,
    file: Arc<dyn File>,
    faults: Arc<Faults>,
    own: Option<Arc<dyn Counted>>,
}

impl FaultyFile {
    /// Where the bytes are noted: beside the name, which is another matter.
    fn bytes(&self) -> PathBuf {
        self.path.join("bytes")
    }

    fn write_part(&self, slices: &[IoSlice<'_>], position: u64, bytes: usize) -> io::Result<()> {
        self.faults.wrote(&self.path, position..position + bytes as u64);
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(bytes).collect();
        self.file.write_at(&mut [IoSlice::new(&all)], position)
    }

    /// How much of a write to `end` there is no room for.
    fn lacking(&self, end: u64) -> io::Result<u64> {
        let (Some(own), Some(capacity)) = (&self.own, *self.faults.capacity.lock()) else { return Ok(0) };
        let grows = end.saturating_sub(self.file.length()?);
        let (names, bytes) = own.used();
        Ok((names as u64 * NAME_BYTES + bytes + grows).saturating_sub(capacity).min(grows))
    }
}

impl FaultyFile {
    /// Here are those whom [`super::Faults::hold`] stops.
    fn wait_while_held(&self) {
        if self.path.extension().is_none_or(|extension| extension != "log") {
            return;
        }
        let mut held = self.faults.held.lock();
        self.faults.waiting.fetch_add(1, Ordering::SeqCst);
        self.faults.released.notify_all();
        let waits = |held: &mut Option<PathBuf>| held.as_ref().is_some_and(|held| self.path.starts_with(held));
        self.faults.released.wait_while(&mut held, waits);
        self.faults.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.faults.cold.pass(&self.path, position, buffer.len() as u64)?;
        self.faults.pass(Call::Read, &self.path)?;
        // What is in memory is played; the disk below may know nothing of it.
        if self.own.is_some() {
            waiting(|| self.file.read_at(buffer, position))
        } else {
            self.file.read_at(buffer, position)
        }
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        self.faults.unsynced.lock().insert(self.bytes());
        if let Err(error) = self.faults.pass(Call::Write, &self.path) {
            self.write_part(slices, position, total / 2)?;
            return Err(error);
        }
        let lacking = usize::try_from(self.lacking(position + total as u64)?).unwrap_or(usize::MAX);
        if lacking > 0 {
            self.write_part(slices, position, total.saturating_sub(lacking))?;
            self.faults.tripped.fetch_add(1, Ordering::SeqCst);
            return Err(full());
        }
        self.faults.wrote(&self.path, position..position + total as u64);
        self.faults.cold.wrote(&self.path, position, total as u64);
        self.file.write_at(slices, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        self.wait_while_held();
        let delay_us = self.faults.sync_us.load(Ordering::Relaxed);
        if delay_us > 0 {
            std::thread::sleep(Duration::from_micros(delay_us));
        }
        let passed = self.faults.pass(Call::Sync, &self.path);
        self.faults.synced(&self.path, self.file.as_ref(), passed.is_ok())?;
        passed?;
        self.faults.unsynced.lock().remove(&self.bytes());
        self.file.sync_data()
    }

    fn write_out(&self, position: u64, bytes: u64) -> io::Result<()> {
        self.wait_while_held();
        self.faults.pass(Call::WriteOut, &self.path)?;
        self.file.write_out(position, bytes)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.faults.pass(Call::SetLen, &self.path)?;
        self.faults.unsynced.lock().insert(self.bytes());
        self.file.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.faults.pass(Call::Length, &self.path)?;
        self.file.length()
    }

    fn is_resident(&self, position: u64, bytes: u64) -> bool {
        let is_below = self.own.is_some() || self.file.is_resident(position, bytes);
        is_below && self.faults.cold.is_resident(&self.path, position, bytes)
    }

    fn is_coming(&self, position: u64, bytes: u64) -> bool {
        self.faults.cold.is_coming(&self.path, position, bytes) && self.file.is_coming(position, bytes)
    }

    fn read_ahead(&self, position: u64, bytes: u64) {
        self.faults.cold.read_ahead(&self.path, position, bytes);
        self.file.read_ahead(position, bytes);
    }

    fn bring_in(&self, position: u64, bytes: u64) -> io::Result<()> {
        self.faults.cold.pass(&self.path, position, bytes)?;
        self.file.bring_in(position, bytes)
    }
}

/// What a direct read sees.
#[derive(Debug)]
struct OnDisk(Vec<u8>);

impl File for OnDisk {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let from = usize::try_from(position).unwrap_or(usize::MAX).min(self.0.len());
        let read = buffer.len().min(self.0.len() - from);
        buffer[..read].copy_from_slice(&self.0[from..from + read]);
        Ok(read)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}
