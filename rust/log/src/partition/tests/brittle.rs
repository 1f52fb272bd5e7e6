//! A disk in memory that fails when told to, and that knows what a power cut would take: bytes written since the last sync of their
//! file, and names made since the last sync of their directory.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::env;
use crate::env::{DirEntry, DirLock, Disk, File, OpenMode};

#[derive(Debug, Default)]
pub struct Brittle {
    memory: MemoryDisk,
    pub faults: Arc<Faults>,
}

#[derive(Default)]
pub struct Faults {
    pub sync_fails: AtomicBool,
    /// Syncs of files whose name ends like this fail.
    pub sync_fails_of: Mutex<Option<String>>,
    pub disk_full: AtomicBool,
    /// What was written in part cannot be cut off either.
    pub cut_fails: AtomicBool,
    /// Files whose name ends like this cannot be made.
    pub no_new: Mutex<Option<&'static str>>,
    pub syncs: AtomicU64,
    /// While true, syncs of logs wait.
    held: Mutex<bool>,
    waiting: AtomicU64,
    released: parking_lot::Condvar,
    /// Called once, when a file whose name ends like this was opened.
    pub when_opened: Mutex<Option<(&'static str, Hook)>>,
    unsynced: Mutex<BTreeSet<PathBuf>>,
}

type Hook = Box<dyn FnOnce() + Send>;

impl std::fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Faults")
    }
}

impl Faults {
    pub fn hold(&self, held: bool) {
        *self.held.lock() = held;
        self.released.notify_all();
    }

    /// Returns once a sync of a log waits for the release.
    pub fn wait_until_held(&self) {
        let mut held = self.held.lock();
        while self.waiting.load(Ordering::SeqCst) == 0 {
            let late = self.released.wait_for(&mut held, std::time::Duration::from_secs(30)).timed_out();
            assert!(!late, "no sync came");
        }
    }

    /// What a power cut may take, by path: names and bytes alike.
    pub fn unsynced(&self) -> Vec<PathBuf> {
        self.unsynced.lock().iter().cloned().collect()
    }

    /// The process died: nobody knows any more what was synced, the kernel still has everything.
    pub fn unsynced_again(&self, path: &Path) {
        self.unsynced.lock().insert(path.to_path_buf());
    }

    fn makes(&self, disk: &MemoryDisk, path: &Path, mode: OpenMode) -> io::Result<()> {
        if matches!(mode, OpenMode::Read | OpenMode::Write) || disk.exists(path)? {
            return Ok(());
        }
        if self.no_new.lock().is_some_and(|suffix| path.to_string_lossy().ends_with(suffix)) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.unsynced.lock().insert(path.to_path_buf());
        Ok(())
    }
}

#[derive(Debug)]
struct BrittleFile {
    path: PathBuf,
    file: Arc<dyn File>,
    faults: Arc<Faults>,
    is_log: bool,
}

impl BrittleFile {
    /// Where the bytes are noted: beside the name, which is another matter.
    fn bytes(&self) -> PathBuf {
        self.path.join("bytes")
    }
}

impl Disk for Brittle {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        self.faults.makes(&self.memory, path, mode)?;
        let file = self.memory.open(path, mode)?;
        let hook = {
            let mut hook = self.faults.when_opened.lock();
            hook.take_if(|(suffix, _)| path.to_string_lossy().ends_with(*suffix))
        };
        if let Some((_, hook)) = hook {
            hook();
        }
        Ok(Arc::new(BrittleFile { path: path.to_path_buf(), file, faults: self.faults.clone(), is_log }))
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.memory.exists(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        for ancestor in path.ancestors().filter(|ancestor| ancestor.parent().is_some()) {
            if !self.memory.exists(ancestor)? {
                self.faults.unsynced.lock().insert(ancestor.to_path_buf());
            }
        }
        self.memory.create_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.memory.list(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.memory.rename(from, to)?;
        let mut unsynced = self.faults.unsynced.lock();
        let moved: Vec<PathBuf> = unsynced.iter().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            unsynced.remove(&path);
            if let Ok(rest) = path.strip_prefix(from).map(|rest| to.join(rest)) {
                unsynced.insert(rest);
            }
        }
        unsynced.insert(to.to_path_buf());
        Ok(())
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.faults.unsynced.lock().retain(|unsynced| !unsynced.starts_with(path));
        self.memory.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.faults.unsynced.lock().retain(|unsynced| !unsynced.starts_with(path));
        self.memory.remove_dir_all(path)
    }
    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>> {
        self.memory.space(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.memory.sync_dir(path)?;
        self.faults.unsynced.lock().retain(|unsynced| unsynced.parent() != Some(path));
        Ok(())
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.memory.lock(path)
    }
}

impl File for BrittleFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }
    fn write_at(&self, slices: &mut [io::IoSlice<'_>], position: u64) -> io::Result<()> {
        self.faults.unsynced.lock().insert(self.bytes());
        if self.faults.disk_full.load(Ordering::SeqCst) {
            // Half of it gets there.
            let half = &slices[0][..slices[0].len() / 2];
            self.file.write_at(&mut [io::IoSlice::new(half)], position)?;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.file.write_at(slices, position)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        if self.is_log {
            let mut held = self.faults.held.lock();
            self.faults.waiting.fetch_add(1, Ordering::SeqCst);
            self.faults.released.notify_all();
            self.faults.released.wait_while(&mut held, |held| *held);
            self.faults.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        let name = self.path.to_string_lossy();
        let fails_here = self.faults.sync_fails_of.lock().as_ref().is_some_and(|suffix| name.ends_with(suffix));
        if fails_here || self.faults.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.faults.unsynced.lock().remove(&self.bytes());
        self.file.sync_data()
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        if self.faults.cut_fails.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.faults.unsynced.lock().insert(self.bytes());
        self.file.set_len(length)
    }
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

pub fn brittle(durability: Durability, threads: usize) -> (Bench, Arc<Faults>) {
    let disk = Brittle::default();
    let faults = disk.faults.clone();
    let clock = Arc::new(VirtualClock::new(T0));
    let host = Host::new(env::Env::new(Arc::new(disk), clock.clone()), threads);
    (Bench { host, clock, config: PartitionConfig { durability, ..PartitionConfig::default() }, epoch: 0 }, faults)
}
