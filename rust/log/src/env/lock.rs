//! The lock that keeps a second owner out of a data directory: an open-file-description lock over the whole file.
//!
//! Apache Kafka takes a process-wide POSIX lock on the same file (`FileLock` in Java is `fcntl(F_SETLK)`); the two kinds conflict, so
//! each keeps the other out. A POSIX lock would not do here: it does not exclude a second opener in the same process, and the process
//! loses it as soon as *any* descriptor of the file is closed.
//!
//! An open-file-description lock lives until its last descriptor is closed, and `fork` copies descriptors: without care a child that a
//! program forked for other work would keep the directory locked after its parent is gone. So every lock is listed, and a forked child
//! closes its copies before it runs anything else; that unlocks nothing while the parent lives.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};

use super::DirLock;

/// Locks that are listed at a time; what is beyond is still let go of by its owner, but not by a child of an owner that was killed.
const LISTED_MAX: usize = 256;
const NONE: i32 = -1;

/// Descriptors that a forked child closes. Atomics, since between `fork` and the handler no lock may be waited for.
static LISTED: [AtomicI32; LISTED_MAX] = [const { AtomicI32::new(NONE) }; LISTED_MAX];
static HANDLER: Once = Once::new();

/// A lock that is held. Dropping it lets go; the file stays, as Kafka's does.
#[derive(Debug)]
pub(super) struct HeldLock {
    /// In a forked child the number may be another file's by now: it is neither used nor closed there.
    file: ManuallyDrop<File>,
    owner: u32,
}

impl HeldLock {
    /// Takes the lock without waiting; `WouldBlock` when somebody else holds one of either kind.
    pub(super) fn take(file: File) -> io::Result<HeldLock> {
        set(&file, libc::F_WRLCK, Kind::OpenFile)?;
        close_in_forked_children();
        replace_listed(NONE, file.as_raw_fd());
        Ok(HeldLock { file: ManuallyDrop::new(file), owner: process::id() })
    }

    /// Whether somebody holds one of either kind on this file.
    pub(super) fn is_taken(file: &File) -> io::Result<bool> {
        is_locked(file, Kind::OpenFile)
    }

    fn is_ours(&self) -> bool {
        self.owner == process::id()
    }
}

impl DirLock for HeldLock {
    fn write_owner(&self, text: &str) -> io::Result<()> {
        if !self.is_ours() {
            return Err(io::Error::other("the lock belongs to the process this one was forked from"));
        }
        self.file.set_len(0)?;
        self.file.write_all_at(text.as_bytes(), 0)
    }
}

impl Drop for HeldLock {
    #[expect(unsafe_code, reason = "dropping what ManuallyDrop holds, once, in the process whose descriptor it is")]
    fn drop(&mut self) {
        if !self.is_ours() {
            return;
        }
        replace_listed(self.file.as_raw_fd(), NONE);
        // A child forked in the instant before it was listed keeps a copy; unlocking by name reaches that one too. If it fails, closing
        // still lets go.
        let _ = set(&self.file, libc::F_UNLCK, Kind::OpenFile);
        // SAFETY: this is the only place that drops the file, and the struct is not used after its own drop.
        unsafe { ManuallyDrop::drop(&mut self.file) };
    }
}

fn replace_listed(from: i32, to: i32) {
    for slot in &LISTED {
        if slot.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return;
        }
    }
}

/// Whose a lock is. The two kinds conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The open file's, with all its descriptors.
    OpenFile,
    /// The process'.
    Process,
}

/// The whole file.
#[expect(unsafe_code, reason = "`flock` has private padding on some systems, and no other way to make one")]
fn request() -> libc::flock {
    // SAFETY: `flock` is plain data for which all zeroes is a valid value (whole file, pid 0 as the kernel demands for open files).
    let mut request: libc::flock = unsafe { std::mem::zeroed() };
    request.l_whence = libc::SEEK_SET as libc::c_short;
    request
}

/// Whether somebody else holds a lock on this file: another process, or, asked as an open file, another opening of it.
#[expect(unsafe_code, reason = "rustix does not ask for locks; one fcntl call on a descriptor we own")]
pub(super) fn is_locked(file: &File, kind: Kind) -> io::Result<bool> {
    let command = match kind {
        Kind::OpenFile => libc::F_OFD_GETLK,
        Kind::Process => libc::F_GETLK,
    };
    let mut request = request();
    request.l_type = libc::F_WRLCK as libc::c_short;
    // SAFETY: the descriptor is open for the duration of the borrow; the kernel writes what is in the way into the struct, which lives as
    // long.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, &mut request) };
    if result == 0 { Ok(request.l_type != libc::F_UNLCK as libc::c_short) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "rustix has no open-file-description locks; one fcntl call on a descriptor we own")]
pub(super) fn set(file: &File, lock: libc::c_int, kind: Kind) -> io::Result<()> {
    let command = match kind {
        Kind::OpenFile => libc::F_OFD_SETLK,
        Kind::Process => libc::F_SETLK,
    };
    let mut request = request();
    request.l_type = lock as libc::c_short;
    // SAFETY: the descriptor is open for the duration of the borrow, and the kernel only reads the struct behind the pointer.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, &request) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Err(io::Error::from(io::ErrorKind::WouldBlock)),
        _ => Err(error),
    }
}

#[expect(unsafe_code, reason = "fork handlers have no safe wrapper; the handler does nothing but close")]
fn close_in_forked_children() {
    extern "C" fn in_child() {
        for slot in &LISTED {
            let descriptor = slot.swap(NONE, Ordering::SeqCst);
            if descriptor != NONE {
                // SAFETY: `close` may be called after a fork (async-signal-safe). The descriptor is a listed lock's: its owner does
                // not use or close it in this process, which has another pid.
                unsafe { libc::close(descriptor) };
            }
        }
    }
    HANDLER.call_once(|| {
        // SAFETY: the handler is a plain function of this library, which is never unloaded (Python keeps extension modules), and calls
        // only what is allowed after a fork. If there is no memory for it, children keep their copies: no harm but a longer lock.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &std::path::Path) -> File {
        File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap()
    }

    /// A lock excludes a second one of this process, and dropping it lets the next in.
    #[test]
    fn excludes_within_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".lock");
        let held = HeldLock::take(open(&path)).unwrap();
        assert_eq!(HeldLock::take(open(&path)).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(HeldLock::is_taken(&File::open(&path).unwrap()).unwrap());
        drop(held);
        assert!(!HeldLock::is_taken(&File::open(&path).unwrap()).unwrap());
        drop(HeldLock::take(open(&path)).unwrap());
    }
}
