//! `cachestat`: how much of a range of a file is in the page cache (Linux 6.5). rustix and libc do not have it yet.

use std::fs;
use std::os::fd::AsRawFd;

use rustix::io::Errno;

/// The same on every architecture: system calls since 403 are numbered together.
const SYS_CACHESTAT: libc::c_long = 451;

#[repr(C)]
struct Range {
    offset: u64,
    length: u64,
}

/// What the kernel fills in.
#[repr(C)]
#[derive(Default)]
struct Counts {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Pages of the range that are in the cache or on their way to it.
#[expect(unsafe_code, reason = "one system call that nobody wraps; it reads one value and writes another, both ours")]
pub(super) fn cached_pages(file: &fs::File, position: u64, bytes: u64) -> Result<u64, Errno> {
    let (range, mut counts) = (Range { offset: position, length: bytes }, Counts::default());
    // SAFETY: the descriptor is open as long as `file` is borrowed; both pointers are to values of the kernel's layout that outlive the
    // call, and the kernel keeps neither.
    let result =
        unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut counts, 0 as libc::c_uint) };
    if result == 0 {
        return Ok(counts.cached);
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::NOSYS))
}
