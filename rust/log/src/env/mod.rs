//! The only door to disk and clock.
//!
//! Nothing else in this crate names `std::fs`, `std::time` or a system call: partitions, checkpoints and the data directory get an
//! [`Env`] and ask it. So the same code runs over the real disk ([`disk::RealDisk`]), in memory ([`memory::MemoryDisk`]) and, in tests,
//! over a disk that fails on purpose ([`faulty::FaultyDisk`]). [`portable::PortableDisk`] is the real one without anything that only Linux
//! has; `OTTLA_DISK=portable` chooses it.
//!
//! Who must not wait for the disk says so to [`patience`]; the real disk then fails instead ([`fast_paths`] says by which means it knows).
//!
//! What a [`Disk`] promises: paths are plain paths, nothing is cached, a rename within a directory is atomic, and what was written is
//! safe from a power cut only after [`File::sync_data`] on the file and [`Disk::sync_dir`] on the directory that names it.

mod cachestat;
pub mod clock;
mod direct;
pub mod disk;
pub mod fast_paths;
pub mod faulty;
mod lock;
pub mod memory;
pub mod patience;
pub mod portable;
mod process_lock;
mod resident;
pub mod scratch;
mod write_out;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Arc, OnceLock};

pub use clock::{Clock, SystemClock, VirtualClock};
pub use fast_paths::{FastPath, PathState};

/// Disk and clock, handed to everything that needs either. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Env {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
}

impl Env {
    pub fn new(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Env {
        Env { disk, clock }
    }

    /// The machine's disk and clock.
    pub fn system() -> Env {
        Env::system_with(&FastPath::ALL)
    }

    /// The same, of the kernel's short cuts only these.
    pub fn system_with(fast_paths: &[FastPath]) -> Env {
        let disk: Arc<dyn Disk> = match Choice::of_process() {
            Choice::Native => Arc::new(disk::RealDisk::with(fast_paths)),
            Choice::Portable => Arc::new(portable::PortableDisk),
        };
        Env::new(disk, Arc::new(SystemClock::new()))
    }

    /// A disk that lives as long as this value and its clones, with the machine's clock.
    pub fn memory() -> Env {
        Env::new(Arc::new(memory::MemoryDisk::new()), Arc::new(SystemClock::new()))
    }

    /// An empty disk for a test, with the machine's clock.
    pub fn scratch() -> Env {
        Env::new(scratch::scratch_disk(), Arc::new(SystemClock::new()))
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub fn with_clock(&self, clock: Arc<dyn Clock>) -> Env {
        Env { disk: self.disk.clone(), clock }
    }
}

/// Which disk the machine's is, as the environment of the process says ([`DISK_VARIABLE`]): one choice for all of it, since the two do not
/// share their locks within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Native,
    Portable,
}

/// `portable`, or `native` as without it.
pub const DISK_VARIABLE: &str = "OTTLA_DISK";

impl Choice {
    pub fn of_process() -> Choice {
        static CHOICE: OnceLock<Choice> = OnceLock::new();
        *CHOICE.get_or_init(|| match std::env::var(DISK_VARIABLE).as_deref() {
            Ok("portable") => Choice::Portable,
            Ok("native") | Err(_) => Choice::Native,
            Ok(other) => {
                tracing::warn!("{DISK_VARIABLE} is {other:?}, which is neither native nor portable: it does not count");
                Choice::Native
            }
        })
    }
}

/// How [`Disk::open`] treats what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; writes are refused.
    Read,
    /// Must exist.
    Write,
    /// Made when missing, kept when there.
    Create,
    /// Made when missing, emptied when there.
    Truncate,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
    pub length: u64,
    /// Wall-clock milliseconds of the last write.
    pub modified_ms: i64,
}

/// A file system, as far as a log needs one.
pub trait Disk: Send + Sync + Debug {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names in byte order. A missing directory is `NotFound`.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes names created, renamed or removed in this directory survive a power cut.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Of the file system that `path` lies on: bytes in all, and bytes an ordinary user may still write. None where there is no limit.
    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>>;
    /// A file whose reads come from the disk itself, never from pages in memory; None where that cannot be had. After a failed sync the
    /// kernel may show clean pages that are not on the disk, and dropping them (`POSIX_FADV_DONTNEED`) is advice it need not follow.
    fn open_direct(&self, _path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        Ok(None)
    }
    /// Makes a file of `bytes` that has its blocks, so that removing it gives back room. On an error there is no such file.
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let made = self.open(path, OpenMode::Create)?.set_len(bytes);
        if made.is_err() {
            self.remove_file(path)?;
        }
        made
    }
    /// Tries the kernel's short cuts on this file, which must not be empty; those that do not work are given up.
    fn try_fast_paths(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    /// Which short cuts are used; none where nothing is ever waited for.
    fn fast_paths(&self) -> Vec<(FastPath, PathState)> {
        Vec::new()
    }
    /// Names the running kernel: another one has none of the pages of this one. None: cannot be told.
    fn boot_id(&self) -> Option<String> {
        None
    }
    /// Takes the exclusive lock on `path` (made when missing), held until the value is dropped. `WouldBlock` when somebody has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>>;
    /// Whether somebody has that lock; the file is not made.
    fn is_locked(&self, _path: &Path) -> io::Result<bool> {
        Ok(false)
    }
}

/// An open file: positioned reads and writes, no cursor, shared freely between threads.
pub trait File: Send + Sync + Debug {
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all slices one after another from `position` on, in one system call where the machine allows. Refused, as all that changes
    /// a file, by one that is only read.
    fn write_at(&self, _slices: &mut [IoSlice<'_>], _position: u64) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::PermissionDenied))
    }
    fn sync_data(&self) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::PermissionDenied))
    }
    /// Has this range written to the disk, and waits for that. It promises nothing: the next sync does, with less left to do. What fails
    /// here is to be taken as a failed sync, since a lost write is told of once.
    fn write_out(&self, _position: u64, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
    fn set_len(&self, _length: u64) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::PermissionDenied))
    }
    fn length(&self) -> io::Result<u64>;
    /// The descriptor, for sendfile. None where there is none, or sendfile is not to be used: then the caller reads.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Whether this range, which lies in the file, is in memory, as far as can be told without waiting. False where that is not known.
    fn is_resident(&self, _position: u64, _bytes: u64) -> bool {
        true
    }
    /// Whether it is in memory or on its way there: reading ahead would change nothing.
    fn is_coming(&self, _position: u64, _bytes: u64) -> bool {
        true
    }
    /// Has the disk begin to bring this range in.
    fn read_ahead(&self, _position: u64, _bytes: u64) {}
    /// Waits until this range is in memory. It may leave it again at any time.
    fn bring_in(&self, _position: u64, _bytes: u64) -> io::Result<()> {
        Ok(())
    }
}

/// A held lock file: its text can be replaced (who holds it), dropping it lets go.
pub trait DirLock: Send + Sync + Debug {
    fn write_owner(&self, text: &str) -> io::Result<()>;
}

/// Reads exactly `buffer.len()` bytes or fails with `UnexpectedEof`.
pub fn read_exact_at(file: &dyn File, buffer: &mut [u8], position: u64) -> io::Result<()> {
    if file.read_at(buffer, position)? == buffer.len() {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::UnexpectedEof))
    }
}

/// The whole file, refused beyond `bytes_max`.
pub fn read_file(disk: &dyn Disk, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let length = file.length()?;
    if length > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{length} bytes, at most {bytes_max} expected"),
        ));
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Replaces a small file as a whole: write beside it, sync, rename over it, sync the directory. After a power cut the old or the new
/// content is there, never a mixture (Kafka's `CheckpointFile` and `PropertiesUtils` do the same).
pub fn replace_file(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    replace_content(disk, path, content)?;
    match path.parent() {
        Some(directory) => disk.sync_dir(directory),
        None => Ok(()),
    }
}

/// The same without the last step, which one call makes for several files: until then a power cut may leave the old content.
pub fn replace_content(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let file = disk.open(&temporary, OpenMode::Truncate)?;
    file.write_at(&mut [IoSlice::new(content)], 0)?;
    file.sync_data()?;
    drop(file);
    disk.rename(&temporary, path)
}
