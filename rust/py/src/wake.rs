//! A pipe that makes an event loop look: written once when a queue goes from empty to full, drained by its reader.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::pipe::{PipeFlags, pipe_with};

pub struct Wake {
    read: OwnedFd,
    write: OwnedFd,
}

impl Wake {
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { read, write })
    }

    /// The descriptor to watch for readability.
    pub fn fileno(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    /// Makes the reader look. A full pipe already does.
    pub fn ring(&self) {
        // EAGAIN: enough bytes wait there. Nothing else can happen to a pipe whose reader we own.
        let _ = rustix::io::write(self.write.as_fd(), &[1]);
    }

    /// Takes all rings back.
    pub fn clear(&self) {
        let mut bytes = [0u8; 64];
        while matches!(rustix::io::read(self.read.as_fd(), &mut bytes), Ok(read) if read == bytes.len()) {}
    }
}
