//! The lock that keeps a second owner out of a data directory: an open-file-description lock over the whole file.
//!
//! Apache Kafka takes a process-wide POSIX lock on the same file (`FileLock` in Java is `fcntl(F_SETLK)`); the two kinds conflict, so
//! each keeps the other out. A POSIX lock would not do here: it does not exclude a second opener in the same process, and the process
//! loses it as soon as *any* descriptor of the file is closed. An open-file-description lock lives with the descriptor; a forked child
//! that closes its copy releases nothing.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Takes the lock without waiting; `WouldBlock` when somebody else holds one of either kind.
#[expect(unsafe_code, reason = "rustix has no open-file-description locks; one fcntl call on a descriptor we own")]
pub(super) fn lock(file: &File) -> io::Result<()> {
    // SAFETY: `flock` is plain data for which all zeroes is a valid value (whole file, pid 0 as the kernel demands for this command).
    let mut request: libc::flock = unsafe { std::mem::zeroed() };
    request.l_type = libc::F_WRLCK as libc::c_short;
    request.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open for the duration of the borrow, and the kernel only reads the struct behind the pointer.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &request) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Err(io::Error::from(io::ErrorKind::WouldBlock)),
        _ => Err(error),
    }
}
