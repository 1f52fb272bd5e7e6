//! `sync_file_range`: has part of a file written to the disk, without the rest of it and without its metadata. rustix does not have it.

use std::fs;
use std::os::fd::AsRawFd;

use rustix::io::Errno;

/// See [`super::File::write_out`]. The kernel tells of a lost write once, to this call or to the next sync of the same descriptor.
#[expect(unsafe_code, reason = "one system call that rustix lacks; it is given numbers only")]
pub(super) fn write_out(file: &fs::File, position: u64, bytes: u64) -> Result<(), Errno> {
    let (Ok(from), Ok(length)) = (i64::try_from(position), i64::try_from(bytes)) else { return Err(Errno::INVAL) };
    let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    loop {
        // SAFETY: the descriptor is open as long as `file` is borrowed, and no memory of ours is handed over.
        if unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, all) } == 0 {
            return Ok(());
        }
        match Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::NOSYS) {
            Errno::INTR => {}
            error => return Err(error),
        }
    }
}
