//! Whether a data directory can be relied on: its disk, what memory shows of it, and the room kept for what must be written on a full one.
//!
//! After a failed sync the kernel may keep pages that look clean and are not on the disk; while it runs, every process that reads them
//! is shown them. So a directory has a note (`.ottla_disk_state`, open and with its block for as long as the directory is) that says
//! whether memory can be believed. A failed sync first makes it say no: that is one write into memory, which the next process sees as it
//! sees the pages in doubt, and needs no disk. Then the partition's durable offset is written to its marker and synced; with that on the
//! disk the next start knows where to cut, and the note says yes again. When the marker cannot be written the whole directory goes
//! offline and the note stays: the next start reads past the page cache what is past the recovery points ([`Trust::Disk`]). The note
//! names the running kernel: another one has none of the pages. A process that is killed between the failed sync and the note leaves no
//! word of it: so after every stop that was not clean, under the same kernel, tails are compared with the disk ([`Trust::Compared`]).
//!
//! A reserve (`.ottla_reserve`) is given back to the file system when a marker, a checkpoint or metadata meets a full disk, and taken
//! again as soon as there is room; while it is out, records are refused, which would eat it.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::Mutex;

use crate::env::{Env, File, OpenMode, read_file};
use crate::error::{IoContext, StorageError};
use crate::new_names::NewNames;

pub const NOTE: &str = ".ottla_disk_state";
pub const RESERVE: &str = ".ottla_reserve";

const NOTE_BYTES_MAX: u64 = 4096;
/// A full disk is asked for the reserve at most so often.
const RETAKE_INTERVAL_MS: i64 = 1_000;

/// What the tail of a log is read from at the next opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The file as every program sees it.
    #[default]
    Memory,
    /// The same, as far as direct reads bring the same, where there are any: the last owner was killed, perhaps between a sync that
    /// failed and the note of it.
    Compared,
    /// What direct reads bring: memory may show what is not on the disk.
    Disk,
}

/// Told once, when the directory goes offline. Called without a lock; must not block.
pub type FailureObserver = Box<dyn Fn(&StorageError) + Send + Sync>;

/// See the module.
pub struct Health {
    env: Env,
    path: PathBuf,
    boot_id: String,
    note: Mutex<Note>,
    offline: OnceLock<Arc<StorageError>>,
    observer: OnceLock<FailureObserver>,
    reserve_bytes: u64,
    /// The reserve is out.
    is_short: AtomicBool,
    retake_ms: AtomicI64,
    retaking: Mutex<()>,
    pub(crate) new_names: NewNames,
}

struct Note {
    file: Option<Arc<dyn File>>,
    /// What the last owner left, and has not all been looked at yet, is read from.
    inherited: Trust,
    /// Failed syncs whose markers are not on the disk yet.
    open_failures: usize,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Health({})", self.path.display())
    }
}

fn text(trusted: bool, boot_id: &str) -> String {
    // Of one length: replaced in place, without a block or an inode that may not be had.
    format!("version: 0\npage_cache: {:<8}\nboot_id: {boot_id}\n", if trusted { "trusted" } else { "suspect" })
}

/// What the last owner noted.
fn read_note(env: &Env, path: &Path, boot_id: &str) -> Result<Trust, StorageError> {
    let bytes = match read_file(env.disk().as_ref(), path, NOTE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Vec::new(),
        Err(error) => return Err(StorageError::io("read", path, error)),
    };
    let words = String::from_utf8(bytes).unwrap_or_default();
    let value = |name: &str| words.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let other_kernel = value("boot_id:").is_some_and(|id| !id.is_empty() && !boot_id.is_empty() && id != boot_id);
    Ok(match value("page_cache:") {
        _ if other_kernel => Trust::Memory,
        Some("trusted") => Trust::Compared,
        // A note that is missing or damaged may be one that could only be removed.
        _ => Trust::Disk,
    })
}

impl Health {
    /// Reads the note, writes its own, and takes the reserve. `is_clean`: all that lies there was looked at and synced; `is_new`: nothing does.
    pub(crate) fn open(
        env: &Env,
        path: &Path,
        reserve_bytes: u64,
        is_clean: bool,
        is_new: bool,
    ) -> Result<(Arc<Health>, Trust), StorageError> {
        let note_path = path.join(NOTE);
        let boot_id = env.disk().boot_id().unwrap_or_default();
        let trust = if is_clean || is_new { Trust::Memory } else { read_note(env, &note_path, &boot_id)? };
        let health = Health {
            env: env.clone(),
            path: path.to_path_buf(),
            boot_id,
            note: Mutex::new(Note { file: None, inherited: trust, open_failures: 0 }),
            offline: OnceLock::new(),
            observer: OnceLock::new(),
            reserve_bytes,
            is_short: AtomicBool::new(false),
            retake_ms: AtomicI64::new(i64::MIN),
            retaking: Mutex::new(()),
            new_names: NewNames::default(),
        };
        health.with_reserve(|| health.begin_note(&note_path))?;
        if reserve_bytes == 0 {
            let left = path.join(RESERVE);
            if env.disk().exists(&left).at("look for", &left)? {
                env.disk().remove_file(&left).at("remove", &left)?;
            }
        } else if !health.retake() {
            tracing::warn!(path = %path.display(), bytes = reserve_bytes, "no room for the reserve; records are refused until there is");
        }
        Ok((Arc::new(health), trust))
    }

    fn begin_note(&self, path: &Path) -> Result<(), StorageError> {
        let mut note = self.note.lock();
        let file = self.env.disk().open(path, OpenMode::Create).at("create", path)?;
        let content = text(note.inherited != Trust::Disk, &self.boot_id);
        file.write_at(&mut [IoSlice::new(content.as_bytes())], 0).at("write", path)?;
        if file.length().at("look at", path)? > content.len() as u64 {
            file.set_len(content.len() as u64).at("truncate", path)?;
        }
        file.sync_data().at("sync", path)?;
        note.file = Some(file);
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why nothing here is served, if nothing is.
    pub fn offline(&self) -> Option<Arc<StorageError>> {
        self.offline.get().cloned()
    }

    pub(crate) fn check_online(&self) -> Result<(), StorageError> {
        match self.offline.get() {
            None => Ok(()),
            Some(reason) => Err(StorageError::Offline { reason: reason.clone() }),
        }
    }

    /// One per directory; the first one set counts.
    pub fn set_observer(&self, observer: FailureObserver) {
        let _ = self.observer.set(observer);
    }

    /// What the last owner left is read from.
    pub fn trust(&self) -> Trust {
        self.note.lock().inherited
    }

    /// A sync or a write failed for good: `write_marker` is to bring to the disk how far the partition was durable. If it cannot, the
    /// directory must go offline.
    pub(crate) fn disk_failed(
        &self,
        write_marker: impl FnMut() -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.note_failures(1);
        self.with_reserve(write_marker)?;
        self.note_failures(-1);
        Ok(())
    }

    /// Nothing in this directory is served any more.
    pub(crate) fn go_offline(&self, reason: &StorageError) {
        if self.offline.set(Arc::new(reason.clone())).is_err() {
            return;
        }
        tracing::error!(path = %self.path.display(), %reason, "data directory is offline");
        if let Some(observer) = self.observer.get() {
            observer(reason);
        }
    }

    fn note_failures(&self, change: isize) {
        let mut note = self.note.lock();
        let may_be_trusted = note.inherited != Trust::Disk;
        let was_trusted = note.open_failures == 0 && may_be_trusted;
        note.open_failures = note.open_failures.saturating_add_signed(change);
        let trusted = note.open_failures == 0 && may_be_trusted;
        if trusted == was_trusted {
            return;
        }
        let content = text(trusted, &self.boot_id);
        let path = self.path.join(NOTE);
        let Some(file) = &note.file else { return };
        let written = file.write_at(&mut [IoSlice::new(content.as_bytes())], 0);
        if trusted {
            // Left as it is a note in doubt costs a longer start.
            return;
        }
        // Missing it says the same. If that cannot be had either, nothing in this file system can be changed: the next owner cannot
        // write its own note and does not open the directory, until somebody mounts it anew.
        if let Err(error) = written
            && let Err(left) = self.env.disk().remove_file(&path)
        {
            tracing::error!(path = %path.display(), %error, %left, "cannot note that memory may show what is not on the disk: reboot before the next start");
        }
    }

    /// Does `work`, and once more with the reserve given back if there was no room. The reserve is then taken again if it can be.
    pub(crate) fn with_reserve<T>(&self, mut work: impl FnMut() -> Result<T, StorageError>) -> Result<T, StorageError> {
        match work() {
            Err(error) if error.is_no_room() && self.give_back() => {
                let result = work();
                self.retake();
                result
            }
            result => result,
        }
    }

    /// True: there is more room now.
    pub(crate) fn give_back(&self) -> bool {
        if self.reserve_bytes == 0 {
            return false;
        }
        self.is_short.store(true, Ordering::Release);
        let path = self.path.join(RESERVE);
        match self.env.disk().remove_file(&path) {
            Ok(()) => {
                tracing::warn!(path = %self.path.display(), bytes = self.reserve_bytes, "the disk is full: the reserve is given back");
                // Some file systems give blocks back when their journal has them: a sync makes it so.
                if let Err(error) = self.env.disk().sync_dir(&self.path) {
                    tracing::warn!(path = %self.path.display(), %error, "cannot sync");
                }
                true
            }
            // It is out already: what was done with it may have left room since.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// True: the reserve is there.
    pub fn retake(&self) -> bool {
        if self.reserve_bytes == 0 {
            return true;
        }
        let _one = self.retaking.lock();
        let now_ms = self.env.clock().monotonic_ms();
        self.retake_ms.store(now_ms.saturating_add(RETAKE_INTERVAL_MS), Ordering::Relaxed);
        match self.env.disk().reserve(&self.path.join(RESERVE), self.reserve_bytes) {
            Ok(()) => {
                if self.is_short.swap(false, Ordering::AcqRel) {
                    tracing::info!(path = %self.path.display(), bytes = self.reserve_bytes, "the reserve is taken again");
                }
                true
            }
            Err(error) => {
                self.is_short.store(true, Ordering::Release);
                tracing::debug!(path = %self.path.display(), %error, "no room for the reserve");
                false
            }
        }
    }

    /// The reserve is out: the disk is full but for it.
    pub fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Acquire)
    }

    /// May records be appended here? Not while the reserve is out: they would eat it.
    pub(crate) fn check_room(&self) -> Result<(), StorageError> {
        if !self.is_short() {
            return Ok(());
        }
        let due = self.env.clock().monotonic_ms() >= self.retake_ms.load(Ordering::Relaxed);
        if due && self.retake() {
            return Ok(());
        }
        let what = format!("no room left for the reserve of {} bytes", self.reserve_bytes);
        Err(StorageError::io("append in", &self.path, io::Error::new(io::ErrorKind::StorageFull, what)))
    }
}

/// [`Health::with_reserve`], where there is a data directory.
pub(crate) fn with_reserve<T>(
    health: Option<&Arc<Health>>,
    mut work: impl FnMut() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    match health {
        Some(health) => health.with_reserve(work),
        None => work(),
    }
}
