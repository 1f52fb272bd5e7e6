//! The lock that keeps a second owner out of a data directory where there are no open-file-description locks: POSIX's, which is the one
//! Apache Kafka takes, and which those of [`super::lock`] conflict with.
//!
//! It belongs to the process, so it does not exclude a second opener there, and the process loses it as soon as it closes *any* descriptor
//! of the file. Both are made good by a list of the locks that this process holds: who asks for one of them is refused without the file
//! being opened, and what it says is read from the list. What a program opens behind our back is not seen: it must leave `.lock` alone.
//! A forked child has none of its parent's locks, and no part in the list.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use parking_lot::Mutex;

use super::DirLock;
use super::lock::{Kind, is_locked, set};

/// One that this process holds.
#[derive(Debug)]
struct Held {
    /// Which file, whatever name it is reached by.
    file: FileId,
    path: PathBuf,
    /// After a fork the list is the parent's.
    owner: u32,
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }
}

static HELD: Mutex<Vec<Held>> = Mutex::new(Vec::new());

/// Among the locks of this process the one on the file that `path` names now.
fn find<'h>(held: &'h [Held], path: &Path) -> Option<&'h Held> {
    // Lock files have one name; what has another needs no look at the disk.
    if !held.iter().any(|lock| lock.path.file_name() == path.file_name()) {
        return None;
    }
    let file = FileId::of(&std::fs::metadata(path).ok()?);
    held.iter().find(|lock| lock.file == file && lock.owner == process::id())
}

/// What a lock file of this process says; None: it holds none there.
pub(super) fn text_of_held(path: &Path) -> Option<Vec<u8>> {
    find(&HELD.lock(), path).map(|lock| lock.text.clone())
}

/// Whether somebody holds a lock on this file. One that is not there is held by nobody.
pub(super) fn is_taken(path: &Path) -> io::Result<bool> {
    let held = HELD.lock();
    if find(&held, path).is_some() {
        return Ok(true);
    }
    match File::open(path) {
        Ok(file) => is_locked(&file, Kind::Process),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A lock that is held. Dropping it lets go; the file stays, as Kafka's does.
#[derive(Debug)]
pub(super) struct ProcessLock {
    file: File,
    id: FileId,
    owner: u32,
}

impl ProcessLock {
    /// Takes the lock without waiting; `WouldBlock` when somebody, this process too, holds one of either kind.
    pub(super) fn take(path: &Path) -> io::Result<ProcessLock> {
        let mut held = HELD.lock();
        if find(&held, path).is_some() {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o644).open(path)?;
        set(&file, libc::F_WRLCK, Kind::Process)?;
        let (id, owner) = (FileId::of(&file.metadata()?), process::id());
        held.push(Held { file: id, path: path.to_path_buf(), owner, text: Vec::new() });
        Ok(ProcessLock { file, id, owner })
    }
}

impl DirLock for ProcessLock {
    fn write_owner(&self, text: &str) -> io::Result<()> {
        if self.owner != process::id() {
            return Err(io::Error::other("the lock belongs to the process this one was forked from"));
        }
        let mut held = HELD.lock();
        if let Some(lock) = held.iter_mut().find(|lock| lock.file == self.id && lock.owner == self.owner) {
            lock.text = text.as_bytes().to_vec();
        }
        self.file.set_len(0)?;
        self.file.write_all_at(text.as_bytes(), 0)
    }
}

impl Drop for ProcessLock {
    fn drop(&mut self) {
        // In a forked child there is nothing to let go of, and the list may be held for ever by a thread that is gone.
        if self.owner != process::id() {
            return;
        }
        let mut held = HELD.lock();
        // Before it leaves the list, with which nobody opens the file meanwhile. If it fails, closing lets go.
        let _ = set(&self.file, libc::F_UNLCK, Kind::Process);
        held.retain(|lock| lock.file != self.id || lock.owner != self.owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::disk::RealDisk;
    use crate::env::portable::PortableDisk;
    use crate::env::{Disk, read_file};

    fn is_refused<T: std::fmt::Debug>(taken: io::Result<T>) -> bool {
        taken.unwrap_err().kind() == io::ErrorKind::WouldBlock
    }

    /// A lock excludes a second one of this process, by whatever path, and whoever looks what it says does not let go of it.
    #[test]
    fn excludes_within_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".lock");
        let other = folder.path().join("..").join(folder.path().file_name().unwrap()).join(".lock");
        assert!(!PortableDisk.is_locked(&path).unwrap() && !path.exists());
        let held = ProcessLock::take(&path).unwrap();
        held.write_owner("pid=7").unwrap();
        for path in [&path, &other] {
            assert!(is_refused(ProcessLock::take(path)));
            assert!(PortableDisk.is_locked(path).unwrap());
            assert_eq!(read_file(&PortableDisk, path, 100).unwrap(), b"pid=7");
        }
        // Still there: the other kind meets it.
        assert!(is_refused(RealDisk::default().lock(&path)));
        drop(held);
        assert!(!PortableDisk.is_locked(&path).unwrap());
        assert_eq!(read_file(&PortableDisk, &path, 100).unwrap(), b"pid=7");
        drop(ProcessLock::take(&path).unwrap());
    }

    /// The two kinds keep each other out, so that whoever chooses this disk shares no directory with who did not.
    #[test]
    fn excludes_the_other_kind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".lock");
        let held = RealDisk::default().lock(&path).unwrap();
        assert!(PortableDisk.is_locked(&path).unwrap());
        assert!(is_refused(ProcessLock::take(&path)));
        drop(held);
        let held = ProcessLock::take(&path).unwrap();
        assert!(RealDisk::default().is_locked(&path).unwrap());
        drop(held);
        drop(RealDisk::default().lock(&path).unwrap());
    }
}
