//! Syncs: group commit, flush, the producer snapshot, closing.
//!
//! One sync covers everything appended before it began; what arrives meanwhile goes with the next. So the number of syncs does not grow
//! with the number of appenders. What is synced: the segments from the durable offset on, the indexes of those that are closed, and the
//! directories that got new names. After a failed sync nothing is tried again: the pages may be marked clean without being on disk. The
//! partition goes offline with the error, and so does everybody waiting for it.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use super::state::{Mark, State};
use super::{Partition, snapshot};
use crate::Durability;
use crate::directory::CheckpointFacts;
use crate::env::{Disk, OpenMode, replace_file};
use crate::error::{IoContext, StorageError};
use crate::segment::{Segment, names};

/// What one sync will cover.
struct Target {
    end: Mark,
    segments: Vec<Arc<Segment>>,
    names: Option<u64>,
    parent: Option<u64>,
    truncations: u64,
    started_ms: i64,
    started_us: i64,
    appends: u64,
}

impl Partition {
    /// Queues a group commit; without commit threads it is done here and now.
    pub(super) fn begin_commit(&self) {
        let Some(this) = self.this.upgrade() else { return };
        if !self.host.queue_commit(&this) {
            while self.commit_once() {}
        }
    }

    /// On a thread of the pool, before a commit: waits for those who are about to append ([`super::state::Crowd`]).
    pub(crate) fn gather(&self) {
        let Some(window_us) = self.state.write().crowd.gather() else { return };
        let clock = self.host.env().clock();
        let until_us = clock.monotonic_us() + window_us;
        while clock.monotonic_us() < until_us {
            std::thread::park_timeout(Duration::from_micros((until_us - clock.monotonic_us()).max(0).unsigned_abs()));
            if self.state.read().crowd.is_gathered() {
                return;
            }
        }
        self.state.write().crowd.stop_gathering();
    }

    /// One group commit. True: more was appended meanwhile, call again.
    pub(crate) fn commit_once(&self) -> bool {
        if let Err(error) = self.sync_to_end() {
            if error.is_no_descriptor() {
                // Nothing was lost: the next append, or the tick of the housekeeping, tries again.
                self.state.write().commit_running = false;
                tracing::error!(partition = %self.name, %error, "not synced yet");
            }
            return false;
        }
        let mut state = self.state.write();
        // In `os` mode somebody asked for one sync; but what was appended before it became that waits to be shown.
        let goes_on =
            self.config.load().durability == Durability::Fsync || state.high_watermark.offset < state.log_end.offset;
        let is_live = state.offline.is_none() && !state.closed;
        state.commit_running = goes_on && is_live && state.durable.offset < state.log_end.offset;
        state.commit_running
    }

    /// Syncs everything appended so far; then durable offset and, in `fsync` mode, high watermark are there.
    pub fn flush(&self) -> Result<(), StorageError> {
        self.state.read().check_online(&self.path)?;
        self.sync_to_end()
    }

    /// One at a time: the kernel tells of lost writes once, and the other of two syncs would take its own for a success.
    fn sync_to_end(&self) -> Result<(), StorageError> {
        let _one = self.syncing.lock();
        let target = {
            let state = self.state.read();
            if let Some(reason) = &state.offline {
                return Err(StorageError::Offline { reason: reason.clone() });
            }
            Target {
                end: state.log_end,
                segments: state
                    .segments
                    .iter()
                    .filter(|segment| segment.base_offset() >= state.durable.segment)
                    .cloned()
                    .collect(),
                names: (state.names_made > state.names_synced).then_some(state.names_made),
                parent: state.parent_unsynced,
                truncations: state.truncations,
                started_ms: self.host.env().clock().monotonic_ms(),
                started_us: self.host.env().clock().monotonic_us(),
                appends: state.crowd.appends,
            }
        };
        if let Err(error) = self.host.with_descriptors(|| self.sync(&target)) {
            if error.is_no_descriptor() {
                return Err(error);
            }
            // The directory of a deleted partition has another name by now.
            if is_not_found(&error) && self.state.read().is_deleted() {
                return Err(StorageError::Closed { path: self.path.clone() });
            }
            self.go_offline(&error);
            return Err(error);
        }
        let mut state = self.state.write();
        if let Some(reason) = &state.offline {
            return Err(StorageError::Offline { reason: reason.clone() });
        }
        state.crowd.synced(target.appends, self.host.env().clock().monotonic_us() - target.started_us);
        let before = state.offsets();
        if let Some(names) = target.names {
            state.names_synced = state.names_synced.max(names);
        }
        if target.parent.is_some() {
            state.parent_unsynced = None;
        }
        if target.truncations == state.truncations && target.end.offset >= state.durable.offset {
            // The segment it ended may have been compacted meanwhile, and then is on the disk with its indexes. If it was only rolled, they
            // are for the next sync.
            let is_there = |active: &Arc<Segment>| state.segments.iter().any(|segment| Arc::ptr_eq(segment, active));
            let is_lost = target.segments.last().is_some_and(|active| !is_there(active));
            let end = if is_lost { state.placed(target.end) } else { target.end };
            state.durable = end;
            let caught_up = state.durable.offset == state.log_end.offset;
            state.unsynced_since_ms = if caught_up { None } else { Some(target.started_ms) };
            state.advance_high_watermark(end);
        }
        self.recount_unsynced(&mut state);
        let after = state.offsets();
        drop(state);
        self.notify(before, after);
        Ok(())
    }

    fn sync(&self, target: &Target) -> Result<(), StorageError> {
        let disk = self.disk();
        if let Some((active, closed)) = target.segments.split_last() {
            for segment in closed {
                sync_segment(disk, segment)?;
                segment.sync_closed_indexes(disk)?;
            }
            sync_segment(disk, active)?;
            self.host.open_files().used(active);
        }
        if target.names.is_some() {
            disk.sync_dir(&self.path).at("sync", &self.path)?;
        }
        if let (Some(number), Some(parent)) = (target.parent, self.path.parent()) {
            match &self.health {
                Some(health) => health.new_names.sync(disk, parent, number)?,
                None => disk.sync_dir(parent).at("sync", parent)?,
            }
        }
        Ok(())
    }

    /// What the data directory notes of this partition; None while it has no directory.
    pub(crate) fn checkpoint_facts(&self) -> Option<CheckpointFacts> {
        let state = self.state.read();
        state.made.then_some(CheckpointFacts {
            recovery_point: state.durable.offset,
            log_start: state.log_start,
            cleaned: state.cleaned,
        })
    }

    /// Bytes past the durable offset: what a power cut would take in `os` mode.
    pub fn unsynced_bytes(&self) -> u64 {
        self.state.read().unsynced_bytes
    }

    /// Tells the host how much there is to sync, after anything but an append.
    pub(super) fn recount_unsynced(&self, state: &mut State) {
        let now = state.count_unsynced();
        self.host.count_unsynced(state.unsynced_bytes, now);
        state.unsynced_bytes = now;
    }

    /// True when `flush.ms` has passed since the oldest append that is not synced; and when something waits for a commit that nobody
    /// makes: one found no descriptor, or the topic was in `os` mode until now.
    pub fn flush_is_due(&self) -> bool {
        let config = self.config.load();
        let state = self.state.read();
        let shown = match config.durability {
            Durability::Fsync => state.durable.offset,
            Durability::Os => state.high_watermark.offset,
        };
        let forgotten = !state.commit_running && shown < state.log_end.offset;
        let late = |since_ms: i64| self.host.env().clock().monotonic_ms().saturating_sub(since_ms) >= config.flush_ms;
        forgotten || (config.durability == Durability::Os && state.unsynced_since_ms.is_some_and(late))
    }

    /// Brings the index files of the segment being written up to date, for tools that read a live directory.
    pub fn flush_indexes(&self) -> Result<(), StorageError> {
        let active = self.state.read().active().cloned();
        active.map_or(Ok(()), |active| active.flush_indexes(self.disk(), false))
    }

    /// Writes the producers as they are at the log end. Synced at a stop only: a snapshot that a power cut took or tore is noticed by
    /// its checksum, and an older one and more of the log are read.
    pub(super) fn write_snapshot(&self, state: &mut State, sync: bool) -> Result<(), StorageError> {
        let offset = state.log_end.offset;
        let path = names::file(&self.path, offset, names::PRODUCER_SNAPSHOT);
        let bytes = snapshot::encode(&state.producers);
        if sync {
            replace_file(self.disk(), &path, &bytes).at("write", &path)?;
        } else {
            let file = self.disk().open(&path, OpenMode::Truncate).at("create", &path)?;
            file.write_at(&mut [IoSlice::new(&bytes)], 0).at("write", &path)?;
        }
        state.snapshot_offset = Some(offset);
        Ok(())
    }

    /// Syncs, brings indexes to disk and writes the producer snapshot, unless a clean stop left all that and nothing was appended since.
    /// Every later operation fails with [`StorageError::Closed`].
    pub fn close(&self) -> Result<(), StorageError> {
        let _trim = self.trim.lock();
        {
            let state = self.state.read();
            if state.closed {
                return Ok(());
            }
            state.check_online(&self.path)?;
        }
        loop {
            {
                let mut state = self.state.write();
                if state.is_as_found() {
                    state.closed = true;
                    return Ok(());
                }
            }
            self.sync_to_end()?;
            let mut state = self.state.write();
            if state.durable.offset < state.log_end.offset {
                continue;
            }
            if let Some(active) = state.active().cloned() {
                self.with_reserve(|| active.seal_indexes(self.disk(), true))?;
                self.with_reserve(|| self.write_snapshot(&mut state, true))?;
            }
            state.closed = true;
            self.recount_unsynced(&mut state);
            return Ok(());
        }
    }
}

/// A segment that retention or truncation took meanwhile, and whose file has another name by now, needs no sync. Any other error
/// counts: the kernel tells of lost writes only once.
fn sync_segment(disk: &dyn Disk, segment: &Segment) -> Result<(), StorageError> {
    match segment.sync_log(disk) {
        Err(error) if is_not_found(&error) && segment.is_removed() => Ok(()),
        result => result,
    }
}

pub(super) fn is_not_found(error: &StorageError) -> bool {
    matches!(error, StorageError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
