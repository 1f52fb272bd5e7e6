//! A disk that fails on purpose, for tests: any call can be made to fail with any error at its n-th time, the disk can be full, a sync can
//! be held or take its time, pages can be on the disk only ([`Faults::cold`]), and it is noted what a power cut would take. Lies over the disk in memory or over any other.
//!
//! With [`Faults::track`] it knows what is on the disk: what a sync that went well brought there. A sync that fails leaves the rest in memory,
//! marked clean, so that no later sync brings it either, and only a direct read tells: what Linux does ("fsyncgate").
//!
//! A write that fails has written half; one that meets a full disk has written what there was room for. That is what kernels do.

mod cold;
mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

pub use cold::Cold;
pub use disk::FaultyDisk;

use super::File;

pub const EIO: i32 = libc::EIO;
pub const ENOSPC: i32 = libc::ENOSPC;
pub const EMFILE: i32 = libc::EMFILE;

const LINGER_YIELDS: usize = 2_000;
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
    WriteOut,
    SetLen,
    Length,
}

impl Call {
    /// All that can change what is on the disk; the others only look, and a write-out promises nothing.
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
    lingers: bool,
}

impl Fault {
    pub fn new(errno: i32) -> Fault {
        Fault { errno, calls: Vec::new(), path_end: None, skip: 0, times: u64::MAX, lingers: false }
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

    /// The error is on its way for a while, in which other threads may make the same call.
    #[must_use]
    pub fn lingering(self) -> Fault {
        Fault { lingers: true, ..self }
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
    /// Syncs of logs below it wait.
    held: Mutex<Option<PathBuf>>,
    waiting: AtomicU64,
    released: Condvar,
    when_opened: Mutex<Option<(&'static str, Hook)>>,
    unsynced: Mutex<BTreeSet<PathBuf>>,
    images: Mutex<Option<BTreeMap<PathBuf, Image>>>,
    /// Pages that are not in memory.
    pub cold: Cold,
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
        *self.held.lock() = held.then(|| PathBuf::from("/"));
        self.released.notify_all();
    }

    /// Only syncs of logs below `path` wait, until [`Faults::hold`] lets them go.
    pub fn hold_below(&self, path: &Path) {
        *self.held.lock() = Some(path.to_path_buf());
    }

    /// Returns once a sync of a log waits for the release.
    pub fn wait_until_held(&self) {
        let mut held = self.held.lock();
        while self.waiting.load(Ordering::SeqCst) == 0 {
            let late = self.released.wait_for(&mut held, Duration::from_secs(30)).timed_out();
            assert!(!late, "no sync came");
        }
    }

    /// Syncs of logs that wait for the release.
    pub fn held(&self) -> u64 {
        self.waiting.load(Ordering::SeqCst)
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
        let (mut errno, mut lingers) = (None, false);
        for fault in faults.iter_mut().filter(|fault| fault.concerns(call, path)) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 && errno.is_none() {
                fault.times -= 1;
                (errno, lingers) = (Some(fault.errno), fault.lingers);
            }
        }
        drop(faults);
        match errno {
            None => Ok(()),
            Some(errno) => {
                self.tripped.fetch_add(1, Ordering::SeqCst);
                for _ in 0..if lingers { LINGER_YIELDS } else { 0 } {
                    std::thread::yield_now();
                }
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }
}
