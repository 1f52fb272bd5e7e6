//! The kernel's short cuts: which there are, and whether they are used.
//!
//! Each can be switched off by a setting (`ottla.fast.paths`), and is given up by itself where the kernel or the file system of a data
//! directory does not have it. What is done instead is slower and no different:
//!
//! | short cut | what for | instead |
//! |---|---|---|
//! | `cachestat` (Linux 6.5) | is a range in the page cache? | `nowait` reads of single bytes of it |
//! | `nowait` (`preadv2` with `RWF_NOWAIT`) | read what is in memory, or fail | `cachestat`; without both the disk is always waited for elsewhere |
//! | `sendfile` | records from the page cache to a socket | read and send |
//! | `sync_file_range` | what nobody waits for is written out in pieces, then synced | it is synced at once |

use std::fmt;
use std::fs;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::io::{Errno, ReadWriteFlags};

use super::cachestat::cached_pages;
use super::write_out::write_out;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastPath {
    Cachestat,
    Nowait,
    Sendfile,
    SyncFileRange,
}

impl FastPath {
    pub const ALL: [FastPath; 4] = [FastPath::Cachestat, FastPath::Nowait, FastPath::Sendfile, FastPath::SyncFileRange];

    pub fn name(self) -> &'static str {
        match self {
            FastPath::Cachestat => "cachestat",
            FastPath::Nowait => "nowait",
            FastPath::Sendfile => "sendfile",
            FastPath::SyncFileRange => "sync_file_range",
        }
    }
}

impl FromStr for FastPath {
    type Err = String;

    fn from_str(name: &str) -> Result<FastPath, String> {
        let found = FastPath::ALL.into_iter().find(|path| path.name() == name);
        found.ok_or_else(|| format!("{name:?} is no short cut of the kernel"))
    }
}

/// Whether a short cut is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathState {
    On,
    /// By the setting.
    SwitchedOff,
    /// The kernel, or a file system of a data directory, does not have it.
    NotThere,
}

impl fmt::Display for PathState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            PathState::On => "on",
            PathState::SwitchedOff => "switched off",
            PathState::NotThere => "not there",
        })
    }
}

/// The switches of one disk.
#[derive(Debug)]
pub struct FastPaths {
    states: [AtomicU8; FastPath::ALL.len()],
    /// Where `sendfile` sends to when only the reading is wanted.
    nowhere: OnceLock<Option<fs::File>>,
}

impl Default for FastPaths {
    fn default() -> FastPaths {
        FastPaths::only(&FastPath::ALL)
    }
}

impl FastPaths {
    /// No others are used.
    pub fn only(allowed: &[FastPath]) -> FastPaths {
        let state = |path| if allowed.contains(&path) { PathState::On } else { PathState::SwitchedOff };
        FastPaths { states: FastPath::ALL.map(|path| AtomicU8::new(state(path) as u8)), nowhere: OnceLock::new() }
    }

    pub fn state(&self, path: FastPath) -> PathState {
        match self.states[path as usize].load(Ordering::Relaxed) {
            0 => PathState::On,
            1 => PathState::SwitchedOff,
            _ => PathState::NotThere,
        }
    }

    pub fn is_on(&self, path: FastPath) -> bool {
        self.state(path) == PathState::On
    }

    fn give_up(&self, path: FastPath, why: &dyn fmt::Display) {
        tracing::info!("{} is not used: {why}", path.name());
        self.states[path as usize].store(PathState::NotThere as u8, Ordering::Relaxed);
    }

    /// Tries each that is on with a file that is not empty; what does not work is given up.
    pub(super) fn try_on(&self, file: &fs::File) -> io::Result<()> {
        let mut byte = [0];
        // From here on its first page is in memory, but for a memory that is very short: then there is another try.
        let mut read = || file.read_exact_at(&mut byte, 0);
        read()?;
        if self.is_on(FastPath::Cachestat) {
            match cached_pages(file, 0, 1) {
                Ok(1) => {}
                Ok(0) if read().is_ok() && cached_pages(file, 0, 1) == Ok(1) => {}
                Ok(_) => self.give_up(FastPath::Cachestat, &"it does not know what is in memory"),
                Err(error) => self.give_up(FastPath::Cachestat, &error),
            }
        }
        if self.is_on(FastPath::Nowait) {
            match read_now(file, &mut [0], 0) {
                Ok(_) => {}
                Err(Errno::AGAIN) if read().is_ok() && read_now(file, &mut [0], 0).is_ok() => {}
                Err(error) => self.give_up(FastPath::Nowait, &error),
            }
        }
        if self.is_on(FastPath::Sendfile) {
            match self.nowhere().map(|nowhere| rustix::fs::sendfile(nowhere, file, Some(&mut 0), 1)) {
                Some(Ok(1)) => {}
                Some(Err(error)) => self.give_up(FastPath::Sendfile, &error),
                _ => self.give_up(FastPath::Sendfile, &"it cannot be tried"),
            }
        }
        if self.is_on(FastPath::SyncFileRange)
            && let Err(error) = write_out(file, 0, 1)
        {
            self.give_up(FastPath::SyncFileRange, &error);
        }
        Ok(())
    }

    pub(super) fn nowhere(&self) -> Option<&fs::File> {
        self.nowhere.get_or_init(|| fs::OpenOptions::new().write(true).open("/dev/null").ok()).as_ref()
    }
}

/// Reads what is in memory; [`Errno::AGAIN`] where the disk would have to be waited for at the first byte.
pub(super) fn read_now(file: &fs::File, buffer: &mut [u8], position: u64) -> Result<usize, Errno> {
    rustix::io::preadv2(file, &mut [IoSliceMut::new(buffer)], position, ReadWriteFlags::NOWAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel has stays on, what is switched off stays off, and the names are those of the setting.
    #[test]
    fn tried() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"something").unwrap();
        let paths = FastPaths::only(&[FastPath::Nowait, FastPath::Sendfile]);
        paths.try_on(&file).unwrap();
        assert_eq!(paths.state(FastPath::Cachestat), PathState::SwitchedOff);
        assert_eq!(paths.state(FastPath::Sendfile), PathState::On);
        for path in FastPath::ALL {
            assert_eq!(path.name().parse(), Ok(path));
        }
        assert!("teleport".parse::<FastPath>().is_err());
    }

    /// What a file system does not have is given up; what cannot be read teaches nothing.
    #[test]
    fn given_up() {
        let paths = FastPaths::default();
        assert!(paths.try_on(&fs::File::open("/").unwrap()).is_err());
        assert!(FastPath::ALL.into_iter().all(|path| paths.is_on(path)));
        // The files of /proc are made as they are read: nothing of them is ever in the page cache.
        paths.try_on(&fs::File::open("/proc/self/status").unwrap()).unwrap();
        let reading = [FastPath::Cachestat, FastPath::Nowait, FastPath::Sendfile];
        assert!(reading.into_iter().all(|path| paths.state(path) == PathState::NotThere));
        // Nor can a pipe be written out.
        let (_reader, writer) = io::pipe().unwrap();
        assert!(write_out(&fs::File::from(std::os::fd::OwnedFd::from(writer)), 0, 1).is_err());
    }
}
