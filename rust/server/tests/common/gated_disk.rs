//! A disk in memory whose syncs of topic `t` can be held back, or fail: what `fsync` waits for is then the test's to say.

use std::io::{self, IoSlice};
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::env::memory::MemoryDisk;
use ottla_log::env::{DirEntry, DirLock, Disk, File, OpenMode};
use parking_lot::{Condvar, Mutex};

#[derive(Debug, Default)]
struct State {
    is_held: bool,
    holds_directories: bool,
    is_broken: bool,
    waiting: usize,
}

/// The gate every sync of a log of topic `t` goes through.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    /// Syncs wait from now on.
    pub fn hold(&self) {
        self.change(|state| state.is_held = true);
    }

    /// Syncs of directories wait from now on too, as a first append makes them.
    pub fn hold_directories(&self) {
        self.change(|state| (state.is_held, state.holds_directories) = (true, true));
    }

    /// Syncs that wait go on, and later ones do not wait.
    pub fn release(&self) {
        self.change(|state| state.is_held = false);
    }

    /// The same, but every sync fails.
    pub fn release_broken(&self) {
        self.change(|state| (state.is_held, state.is_broken) = (false, true));
    }

    /// Returns once a sync waits at the gate.
    pub fn await_sync(&self) {
        self.await_syncs(1);
    }

    /// Returns once so many do.
    pub fn await_syncs(&self, count: usize) {
        let mut state = self.state.lock();
        while state.waiting < count {
            let late = self.changed.wait_for(&mut state, super::PATIENCE).timed_out();
            assert!(!late, "nothing was synced");
        }
    }

    fn pass(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.waiting += 1;
        self.changed.notify_all();
        while state.is_held {
            self.changed.wait(&mut state);
        }
        state.waiting -= 1;
        if state.is_broken { Err(io::Error::other("the disk is broken")) } else { Ok(()) }
    }
}

/// The test's hand on the gate; a test that fails lets go of whoever waits there.
pub struct Keeper(pub Arc<Gate>);

impl Deref for Keeper {
    type Target = Gate;

    fn deref(&self) -> &Gate {
        &self.0
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.release();
    }
}

#[derive(Debug, Default)]
pub struct GatedDisk {
    memory: MemoryDisk,
    pub gate: Arc<Gate>,
    /// The gate in front of listing a directory of topic `t`, which opening a partition begins with.
    pub listing: Arc<Gate>,
    /// It is only in front of those below this one.
    listing_below: Option<PathBuf>,
    /// The gate in front of syncing the checkpoints of a data directory.
    pub checkpoints: Arc<Gate>,
}

impl GatedDisk {
    /// One whose gate in front of listings lets all pass but those below this directory.
    pub fn listing_below(directory: &str) -> Self {
        Self { listing_below: Some(directory.into()), ..Self::default() }
    }
}

#[derive(Debug)]
struct GatedFile {
    file: Arc<dyn File>,
    gate: Option<Arc<Gate>>,
}

fn is_directory_of_t(path: &Path) -> bool {
    path.file_name().unwrap_or_default().to_string_lossy().starts_with("t-")
}

fn is_log_of_t(path: &Path) -> bool {
    path.parent().is_some_and(is_directory_of_t) && path.extension().is_some_and(|extension| extension == "log")
}

fn is_checkpoint(path: &Path) -> bool {
    path.file_name().unwrap_or_default().to_string_lossy().starts_with("recovery-point-offset-checkpoint")
}

impl Disk for GatedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let gate = if is_log_of_t(path) {
            Some(Arc::clone(&self.gate))
        } else {
            is_checkpoint(path).then(|| Arc::clone(&self.checkpoints))
        };
        Ok(Arc::new(GatedFile { file: self.memory.open(path, mode)?, gate }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.memory.exists(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.memory.create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        if is_directory_of_t(path) && self.listing_below.as_ref().is_none_or(|below| path.starts_with(below)) {
            self.listing.pass()?;
        }
        self.memory.list(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.memory.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.memory.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.memory.remove_dir_all(path)
    }

    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>> {
        self.memory.space(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("t-"))
            && self.gate.state.lock().holds_directories
        {
            self.gate.pass()?;
        }
        self.memory.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.memory.lock(path)
    }
}

impl File for GatedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        self.file.write_at(slices, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.gate.as_ref().map_or(Ok(()), |gate| gate.pass())?;
        self.file.sync_data()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.fd()
    }
}
