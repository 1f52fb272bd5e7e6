//! Reads that come from the disk: `O_DIRECT`, with the alignment it asks for hidden inside.
//!
//! The kernel writes dirty pages of the range back first, and reports it when that fails. Pages it believes clean it leaves alone and
//! reads past them: that is the point.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use parking_lot::Mutex;

use super::File;

/// Enough for every block size in use; buffers, positions and lengths are multiples of it.
const ALIGN_BYTES: usize = 4096;

#[derive(Debug)]
pub(super) struct DirectFile {
    file: fs::File,
    /// Read into, and kept for the next read.
    buffer: Mutex<Vec<u8>>,
}

impl DirectFile {
    /// None: the file system has no such reads.
    pub(super) fn open(path: &Path) -> io::Result<Option<DirectFile>> {
        let refused = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP));
        let file = match fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path) {
            Ok(file) => DirectFile { file, buffer: Mutex::default() },
            Err(error) if refused(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Some file systems take the flag and refuse the read.
        match file.read_at(&mut [0], 0) {
            Ok(_) => Ok(Some(file)),
            Err(error) if refused(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl File for DirectFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let ahead = (position % ALIGN_BYTES as u64) as usize;
        let wish = (ahead + buffer.len()).next_multiple_of(ALIGN_BYTES);
        let mut bytes = self.buffer.lock();
        if bytes.len() < wish + ALIGN_BYTES {
            *bytes = vec![0; wish + ALIGN_BYTES];
        }
        let begin = bytes.as_ptr().align_offset(ALIGN_BYTES);
        let aligned = &mut bytes[begin..begin + wish];
        let mut done = 0;
        while done < wish {
            match self.file.read_at(&mut aligned[done..], position - ahead as u64 + done as u64) {
                Ok(0) => break,
                Ok(read) => {
                    done += read;
                    // The end of the file; going on would ask for an unaligned position.
                    if !read.is_multiple_of(ALIGN_BYTES) {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let found = done.saturating_sub(ahead).min(buffer.len());
        buffer[..found].copy_from_slice(&aligned[ahead..ahead + found]);
        Ok(found)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
