//! Pages that are on the disk only: who may not wait does not get them, and who does may be held until the test lets go.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::env::patience::{may_wait, would_wait};

const PAGE_BYTES: u64 = 4096;

#[derive(Debug, Default)]
struct State {
    /// Pages that are not in memory.
    cold: BTreeMap<PathBuf, BTreeSet<u64>>,
    /// Those of them that were asked for ahead.
    coming: BTreeMap<PathBuf, BTreeSet<u64>>,
    is_held: bool,
    waiting: usize,
    /// How often somebody waited for the disk.
    waits: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Cold {
    state: Mutex<State>,
    changed: Condvar,
}

fn pages(position: u64, bytes: u64) -> std::ops::Range<u64> {
    let first = position / PAGE_BYTES;
    first..if bytes == 0 { first } else { (position + bytes).div_ceil(PAGE_BYTES) }
}

fn has_any(of: &BTreeMap<PathBuf, BTreeSet<u64>>, path: &Path, position: u64, bytes: u64) -> bool {
    of.get(path).is_some_and(|set| set.range(pages(position, bytes)).next().is_some())
}

fn take(of: &mut BTreeMap<PathBuf, BTreeSet<u64>>, path: &Path, position: u64, bytes: u64) {
    if let Some(set) = of.get_mut(path) {
        pages(position, bytes).for_each(|page| {
            set.remove(&page);
        });
    }
}

impl Cold {
    /// The first `bytes` of the file leave memory.
    pub fn chill(&self, path: &Path, bytes: u64) {
        self.chill_from(path, 0, bytes);
    }

    /// So many bytes from `position` on do, and nothing of the file is on its way any more.
    pub fn chill_from(&self, path: &Path, position: u64, bytes: u64) {
        let mut state = self.state.lock();
        state.coming.remove(path);
        state.cold.entry(path.to_path_buf()).or_default().extend(pages(position, bytes));
    }

    /// What was asked for ahead is in memory.
    pub fn arrive(&self) {
        let mut state = self.state.lock();
        let State { cold, coming, .. } = &mut *state;
        for (path, coming) in std::mem::take(coming) {
            if let Some(cold) = cold.get_mut(&path) {
                cold.retain(|page| !coming.contains(page));
            }
        }
    }

    /// While true, who waits for the disk waits on.
    pub fn hold(&self, is_held: bool) {
        self.state.lock().is_held = is_held;
        self.changed.notify_all();
    }

    /// Returns once so many wait for the disk, which must be held.
    pub fn await_waiting(&self, count: usize) {
        let mut state = self.state.lock();
        while state.waiting < count {
            let late = self.changed.wait_for(&mut state, Duration::from_secs(30)).timed_out();
            assert!(!late, "{} of {count} wait for the disk", state.waiting);
        }
    }

    /// How many wait for the disk right now.
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    /// How often somebody has waited for the disk.
    pub fn waits(&self) -> u64 {
        self.state.lock().waits
    }

    pub(super) fn is_resident(&self, path: &Path, position: u64, bytes: u64) -> bool {
        !has_any(&self.state.lock().cold, path, position, bytes)
    }

    pub(super) fn is_coming(&self, path: &Path, position: u64, bytes: u64) -> bool {
        let state = self.state.lock();
        let Some(cold) = state.cold.get(path) else { return true };
        let coming = state.coming.get(path);
        cold.range(pages(position, bytes)).all(|page| coming.is_some_and(|coming| coming.contains(page)))
    }

    pub(super) fn read_ahead(&self, path: &Path, position: u64, bytes: u64) {
        self.state.lock().coming.entry(path.to_path_buf()).or_default().extend(pages(position, bytes));
    }

    /// Before a read of this range.
    pub(super) fn pass(&self, path: &Path, position: u64, bytes: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        if !has_any(&state.cold, path, position, bytes) {
            return Ok(());
        }
        if !may_wait() {
            return Err(would_wait());
        }
        state.waits += 1;
        state.waiting += 1;
        self.changed.notify_all();
        while state.is_held {
            self.changed.wait(&mut state);
        }
        state.waiting -= 1;
        take(&mut state.cold, path, position, bytes);
        Ok(())
    }

    /// What is written is in memory.
    pub(super) fn wrote(&self, path: &Path, position: u64, bytes: u64) {
        take(&mut self.state.lock().cold, path, position, bytes);
    }
}
