//! A disk that fails on purpose, for tests: any call can be made to fail with any error at its n-th time, the disk can be full, a sync can
//! be held or take its time, and it is noted what a power cut would take. Lies over the disk in memory or over any other.
//!
//! With [`Faults::track`] it knows what is on the disk: what a sync that went well brought there. A sync that fails leaves the rest in memory,
//! marked clean, so that no later sync brings it either, and only a direct read tells: what Linux does ("fsyncgate").
//!
//! A write that fails has written half; one that meets a full disk has written what there was room for. That is what kernels do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::memory::MemoryDisk;
use super::{DirEntry, DirLock, Disk, File, OpenMode};

pub const EIO: i32 = libc::EIO;
pub const ENOSPC: i32 = libc::ENOSPC;

/// What a name costs on a full disk, beside the bytes of its file.
const NAME_BYTES: u64 = 64;

/// What is asked of a disk or of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Opening what is there.
    Open,
    /// Opening what is not there yet.
    Create,
    OpenDirect,
    Exists,
    MakeDir,
    List,
    Rename,
    RemoveFile,
    RemoveDir,
    SyncDir,
    Space,
    Reserve,
    Lock,
    Read,
    Write,
    Sync,
    SetLen,
    Length,
}

impl Call {
    /// All that can change what is on the disk; the others only look.
    pub const CHANGES: [Call; 10] = [
        Call::Create,
        Call::MakeDir,
        Call::Rename,
        Call::RemoveFile,
        Call::RemoveDir,
        Call::SyncDir,
        Call::Reserve,
        Call::Write,
        Call::Sync,
        Call::SetLen,
    ];
    /// Those that need room.
    pub const GROWS: [Call; 4] = [Call::Create, Call::MakeDir, Call::Reserve, Call::Write];
}

/// Which calls fail, and how. By default every call does, from now on.
#[derive(Clone, Debug)]
pub struct Fault {
    errno: i32,
    calls: Vec<Call>,
    path_end: Option<String>,
    skip: u64,
    times: u64,
}

impl Fault {
    pub fn new(errno: i32) -> Fault {
        Fault { errno, calls: Vec::new(), path_end: None, skip: 0, times: u64::MAX }
    }

    /// Only these calls.
    #[must_use]
    pub fn of(self, calls: &[Call]) -> Fault {
        Fault { calls: calls.to_vec(), ..self }
    }

    /// Only on paths that end like this.
    #[must_use]
    pub fn at(self, path_end: &str) -> Fault {
        Fault { path_end: Some(path_end.to_owned()), ..self }
    }

    /// So many such calls go well first.
    #[must_use]
    pub fn after(self, calls: u64) -> Fault {
        Fault { skip: calls, ..self }
    }

    #[must_use]
    pub fn once(self) -> Fault {
        Fault { times: 1, ..self }
    }

    fn concerns(&self, call: Call, path: &Path) -> bool {
        (self.calls.is_empty() || self.calls.contains(&call))
            && self.path_end.as_ref().is_none_or(|end| path.to_string_lossy().ends_with(end.as_str()))
    }
}

type Hook = Box<dyn FnOnce() + Send>;

/// The switches of a [`FaultyDisk`].
#[derive(Default)]
pub struct Faults {
    faults: Mutex<Vec<Fault>>,
    tripped: AtomicU64,
    calls: AtomicU64,
    trace: Mutex<Option<Vec<(Call, PathBuf)>>>,
    syncs: AtomicU64,
    sync_us: AtomicU64,
    /// Bytes the disk in memory may hold.
    capacity: Mutex<Option<u64>>,
    held: Mutex<bool>,
    waiting: AtomicU64,
    released: Condvar,
    when_opened: Mutex<Option<(&'static str, Hook)>>,
    unsynced: Mutex<BTreeSet<PathBuf>>,
    images: Mutex<Option<BTreeMap<PathBuf, Image>>>,
}

/// What of a file is on the disk, and what of it memory has beyond.
#[derive(Debug, Default)]
struct Image {
    bytes: Vec<u8>,
    dirty: Vec<Range<u64>>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Faults({:?})", self.faults.lock())
    }
}

impl Faults {
    /// Beside those that are set already.
    pub fn fail(&self, fault: Fault) {
        self.faults.lock().push(fault);
    }

    /// Nothing fails any more, and there is room.
    pub fn heal(&self) {
        self.faults.lock().clear();
        *self.capacity.lock() = None;
    }

    /// How many calls have failed on purpose.
    pub fn tripped(&self) -> u64 {
        self.tripped.load(Ordering::SeqCst)
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Syncs of files, failed ones too.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    /// Notes every call from now on.
    pub fn trace(&self) {
        *self.trace.lock() = Some(Vec::new());
    }

    pub fn traced(&self) -> Vec<(Call, PathBuf)> {
        self.trace.lock().take().unwrap_or_default()
    }

    /// From now on it is known what of each file is on the disk.
    pub fn track(&self) {
        *self.images.lock() = Some(BTreeMap::new());
    }

    /// What a direct read of the file brings; None: nothing was ever synced, or it is not tracked.
    pub fn on_disk(&self, path: &Path) -> Option<Vec<u8>> {
        self.images.lock().as_ref()?.get(path).map(|image| image.bytes.clone())
    }

    fn wrote(&self, path: &Path, range: Range<u64>) {
        if let Some(images) = self.images.lock().as_mut() {
            images.entry(path.to_path_buf()).or_default().dirty.push(range);
        }
    }

    /// What was written since the last sync is on the disk, or never will be.
    fn synced(&self, path: &Path, file: &dyn File, well: bool) -> io::Result<()> {
        let mut images = self.images.lock();
        let Some(images) = images.as_mut() else { return Ok(()) };
        let image = images.entry(path.to_path_buf()).or_default();
        let dirty = std::mem::take(&mut image.dirty);
        if !well {
            return Ok(());
        }
        image.bytes.resize(usize::try_from(file.length()?).map_err(io::Error::other)?, 0);
        for range in dirty {
            let end = range.end.min(image.bytes.len() as u64);
            if range.start < end {
                file.read_at(&mut image.bytes[range.start as usize..end as usize], range.start)?;
            }
        }
        Ok(())
    }

    fn moved(&self, from: &Path, to: &Path) {
        let mut images = self.images.lock();
        let Some(images) = images.as_mut() else { return };
        let gone: Vec<PathBuf> = images.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in gone {
            if let (Some(image), Ok(rest)) = (images.remove(&path), path.strip_prefix(from)) {
                let target = if rest.as_os_str().is_empty() { to.to_path_buf() } else { to.join(rest) };
                images.insert(target, image);
            }
        }
    }

    fn removed(&self, path: &Path) {
        if let Some(images) = self.images.lock().as_mut() {
            images.retain(|known, _| !known.starts_with(path));
        }
    }

    /// Every sync of a file takes so long. For measuring: tests hold a sync instead.
    pub fn slow_syncs(&self, each: Duration) {
        self.sync_us.store(u64::try_from(each.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// While true, syncs of logs wait.
    pub fn hold(&self, held: bool) {
        *self.held.lock() = held;
        self.released.notify_all();
    }

    /// Returns once a sync of a log waits for the release.
    pub fn wait_until_held(&self) {
        let mut held = self.held.lock();
        while self.waiting.load(Ordering::SeqCst) == 0 {
            let late = self.released.wait_for(&mut held, Duration::from_secs(30)).timed_out();
            assert!(!late, "no sync came");
        }
    }

    /// Calls `hook` once, when a file whose name ends like this was opened.
    pub fn when_opened(&self, path_end: &'static str, hook: impl FnOnce() + Send + 'static) {
        *self.when_opened.lock() = Some((path_end, Box::new(hook)));
    }

    pub fn has_hook(&self) -> bool {
        self.when_opened.lock().is_some()
    }

    /// What a power cut may take, by path: a name, or below it `bytes` for what was written.
    pub fn unsynced(&self) -> Vec<PathBuf> {
        self.unsynced.lock().iter().cloned().collect()
    }

    /// The process died: nobody knows any more what was synced, the kernel still has everything.
    pub fn unsynced_again(&self, path: &Path) {
        self.unsynced.lock().insert(path.to_path_buf());
    }

    /// The error of this call, if one is due.
    fn pass(&self, call: Call, path: &Path) -> io::Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(trace) = self.trace.lock().as_mut() {
            trace.push((call, path.to_path_buf()));
        }
        let mut faults = self.faults.lock();
        let mut errno = None;
        for fault in faults.iter_mut().filter(|fault| fault.concerns(call, path)) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 && errno.is_none() {
                fault.times -= 1;
                errno = Some(fault.errno);
            }
        }
        drop(faults);
        match errno {
            None => Ok(()),
            Some(errno) => {
                self.tripped.fetch_add(1, Ordering::SeqCst);
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct FaultyDisk {
    inner: Arc<dyn Disk>,
    /// Known when it is one in memory: whose room can be counted.
    memory: Option<Arc<MemoryDisk>>,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    pub fn over(inner: Arc<dyn Disk>) -> FaultyDisk {
        FaultyDisk { inner, memory: None, faults: Arc::default() }
    }

    pub fn memory() -> FaultyDisk {
        let memory = Arc::new(MemoryDisk::new());
        FaultyDisk { inner: memory.clone(), memory: Some(memory), faults: Arc::default() }
    }

    pub fn faults(&self) -> Arc<Faults> {
        self.faults.clone()
    }

    /// From now on the disk has room for `bytes` more than it holds. Only in memory.
    pub fn fill_up(&self, bytes: u64) {
        *self.faults.capacity.lock() = self.used().map(|used| used + bytes);
    }

    /// Files hold what is on the disk and nothing else, as when another kernel starts. Names stay. Only where it is tracked.
    pub fn lose_memory(&self) -> io::Result<()> {
        let Some(memory) = &self.memory else { return Ok(()) };
        for path in memory.files() {
            let bytes = self.faults.on_disk(&path).unwrap_or_default();
            let file = self.inner.open(&path, OpenMode::Truncate)?;
            file.write_at(&mut [IoSlice::new(&bytes)], 0)?;
        }
        Ok(())
    }

    /// Bytes and names in use; None: it is not a disk in memory.
    pub fn used(&self) -> Option<u64> {
        let (names, bytes) = self.memory.as_ref()?.used();
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
        Ok(Arc::new(FaultyFile {
            path: path.to_path_buf(),
            file,
            faults: self.faults.clone(),
            memory: self.memory.clone(),
        }))
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
            return Ok(Some(Arc::new(OnDisk(self.faults.on_disk(path).unwrap_or_default()))));
        }
        self.inner.open_direct(path)
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.faults.pass(Call::Reserve, path)?;
        if self.memory.is_none() {
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
    memory: Option<Arc<MemoryDisk>>,
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
        let (Some(memory), Some(capacity)) = (&self.memory, *self.faults.capacity.lock()) else { return Ok(0) };
        let grows = end.saturating_sub(self.file.length()?);
        let (names, bytes) = memory.used();
        Ok((names as u64 * NAME_BYTES + bytes + grows).saturating_sub(capacity).min(grows))
    }
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.faults.pass(Call::Read, &self.path)?;
        self.file.read_at(buffer, position)
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
        self.file.write_at(slices, position)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        if self.path.extension().is_some_and(|extension| extension == "log") {
            let mut held = self.faults.held.lock();
            self.faults.waiting.fetch_add(1, Ordering::SeqCst);
            self.faults.released.notify_all();
            self.faults.released.wait_while(&mut held, |held| *held);
            self.faults.waiting.fetch_sub(1, Ordering::SeqCst);
        }
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

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.faults.pass(Call::SetLen, &self.path)?;
        self.faults.unsynced.lock().insert(self.bytes());
        self.file.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        self.faults.pass(Call::Length, &self.path)?;
        self.file.length()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
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

    fn write_at(&self, _slices: &mut [IoSlice<'_>], _position: u64) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::PermissionDenied))
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::PermissionDenied))
    }

    fn set_len(&self, _length: u64) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::PermissionDenied))
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
