//! What a program has open: a file, or the lock on one.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_log::env::{DirLock, File};

use super::content::Content;
use super::{Inode, PowerDisk, State, no_power};

#[derive(Debug)]
pub(super) struct HeldLock {
    pub disk: PowerDisk,
    pub path: PathBuf,
    pub life: u64,
    pub file: Arc<dyn File>,
}

impl DirLock for HeldLock {
    fn write_owner(&self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_at(&mut [IoSlice::new(text.as_bytes())], 0)
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

#[derive(Debug)]
pub(super) struct Handle {
    pub disk: PowerDisk,
    pub inode: Inode,
    /// Which process opened it.
    pub life: u64,
    pub writable: bool,
}

impl Handle {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state.lock();
        state.check()?;
        if state.life == self.life { work(&mut state) } else { Err(no_power()) }
    }

    fn change(&self, work: impl FnOnce(&mut Content)) -> io::Result<()> {
        if !self.writable {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        self.with(|state| {
            state.doing(|state| {
                work(state.file_mut(self.inode)?);
                Ok(())
            })
        })
    }
}

impl File for Handle {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let at = usize::try_from(position).map_err(io::Error::other)?;
        self.with(|state| Ok(state.file_mut(self.inode)?.read(buffer, at)))
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let at = usize::try_from(position).map_err(io::Error::other)?;
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.change(|content| content.write(at, &bytes))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state| {
            state.doing(|state| {
                state.file_mut(self.inode)?.sync();
                Ok(())
            })
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.change(|content| content.set_length(length))
    }

    fn length(&self) -> io::Result<u64> {
        self.with(|state| Ok(state.file_mut(self.inode)?.length() as u64))
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
