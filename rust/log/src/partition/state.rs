//! What the lock of a partition guards.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::Thread;

use super::epochs::Epochs;
use super::producers::Producers;
use super::segments::Segments;
use crate::env::Disk;
use crate::error::StorageError;
use crate::health::Health;
use crate::segment::Segment;
use crate::{Offset, Offsets};

/// An offset and where in which segment its batch begins (or would).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub offset: Offset,
    /// Base offset of the segment.
    pub segment: Offset,
    pub position: u32,
}

/// Where the last few batches lie, so that readers at the tail need no look-up.
#[derive(Debug, Default)]
pub struct Recent {
    ring: [Option<RecentBatch>; RECENT],
    next: usize,
}

const RECENT: usize = 16;

#[derive(Clone, Copy, Debug)]
pub struct RecentBatch {
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub segment: Offset,
    pub position: u32,
    pub bytes: u32,
}

impl Recent {
    pub fn push(&mut self, batch: RecentBatch) {
        self.ring[self.next] = Some(batch);
        self.next = (self.next + 1) % RECENT;
    }

    pub fn find(&self, offset: Offset) -> Option<RecentBatch> {
        self.ring.iter().flatten().find(|batch| (batch.base_offset..=batch.last_offset).contains(&offset)).copied()
    }

    pub fn clear(&mut self) {
        *self = Recent::default();
    }
}

/// What a group commit knows of those who append side by side. When a sync ends, all who waited for it append again, one after another; the
/// first of them starts the next sync, and the others would have to wait for the one after it. So a commit that sees fewer appends than the
/// last ones covered waits for the rest, for a tenth of a sync at most. Who appends alone waits for nobody.
#[derive(Debug, Default)]
pub struct Crowd {
    /// Appends so far, and how many of them the syncs have covered.
    pub appends: u64,
    pub covered: u64,
    /// How many the last two syncs covered.
    last: [u64; 2],
    /// How long a sync takes, smoothed.
    sync_us: i64,
    /// The commit that waits, and for how many appends.
    gathering: Option<(Thread, u64)>,
}

/// A shorter wait is not worth its system call.
const GATHER_US_MIN: i64 = 50;

impl Crowd {
    /// One more; wakes the commit that waited for it.
    pub fn appended(&mut self) {
        self.appends += 1;
        if let Some((thread, wanted)) = &self.gathering
            && self.appends >= *wanted
        {
            thread.unpark();
            self.gathering = None;
        }
    }

    /// How long, in microseconds, this thread should wait for the others to append; None: not at all.
    pub fn gather(&mut self) -> Option<i64> {
        let wanted = self.covered + self.last[0].max(self.last[1]);
        let window_us = self.sync_us / 10;
        if self.appends >= wanted || window_us < GATHER_US_MIN {
            return None;
        }
        self.gathering = Some((std::thread::current(), wanted));
        Some(window_us)
    }

    /// Everything that was waited for is there.
    pub fn is_gathered(&self) -> bool {
        self.gathering.is_none()
    }

    pub fn stop_gathering(&mut self) {
        self.gathering = None;
    }

    /// A sync covered the first `appends`.
    pub fn synced(&mut self, appends: u64, took_us: i64) {
        self.last = [self.last[1], appends.saturating_sub(self.covered)];
        self.covered = self.covered.max(appends);
        self.sync_us = if self.sync_us == 0 { took_us } else { (self.sync_us * 7 + took_us) / 8 };
    }
}

#[derive(Debug)]
pub struct State {
    /// The directory exists.
    pub made: bool,
    /// In ascending order; the last is being written. Empty until the first append.
    pub segments: Segments,
    pub log_start: Offset,
    pub log_end: Mark,
    pub high_watermark: Mark,
    /// Everything before has been synced.
    pub durable: Mark,
    /// First offsets of transactions that are not stable yet.
    pub unstable: BTreeMap<Offset, Mark>,
    pub epochs: Epochs,
    pub leader_epoch: i32,
    pub producers: Producers,
    pub recent: Recent,
    /// Names made in the directory, and how many of them a sync of it has covered. `parent` for the directory's own name,
    /// by its number ([`crate::new_names`]).
    pub names_made: u64,
    pub names_synced: u64,
    pub parent_unsynced: Option<u64>,
    /// The last of `epochs` is not in its file yet: it is written before the first batch of it. Until then no batch must be judged by it,
    /// and the epoch of the next start begins where it does.
    pub epoch_unwritten: bool,
    /// A clean stop left everything as it was found.
    pub found_clean: bool,
    /// A group commit is queued or running.
    pub commit_running: bool,
    /// Who else is about to append, as far as the last commits tell.
    pub crowd: Crowd,
    /// Counts truncations: a sync that began before one proves nothing about what came after.
    pub truncations: u64,
    /// Monotonic time of the oldest append that is not durable.
    pub unsynced_since_ms: Option<i64>,
    /// Bytes past the durable offset, as the host was told.
    pub unsynced_bytes: u64,
    /// Offset of the newest producer snapshot on disk.
    pub snapshot_offset: Option<Offset>,
    /// Compacted below this offset; None: not known to be.
    pub cleaned: Option<Offset>,
    pub offline: Option<Arc<StorageError>>,
    pub closed: bool,
    /// Of the data directory; None where there is none.
    pub health: Option<Arc<Health>>,
}

impl State {
    /// A partition without a directory.
    pub fn empty(leader_epoch: i32) -> State {
        let start = Mark { offset: 0, segment: 0, position: 0 };
        State {
            made: false,
            segments: Segments::default(),
            log_start: 0,
            log_end: start,
            high_watermark: start,
            durable: start,
            unstable: BTreeMap::new(),
            epochs: Epochs::default(),
            leader_epoch,
            producers: Producers::default(),
            recent: Recent::default(),
            names_made: 0,
            names_synced: 0,
            parent_unsynced: None,
            epoch_unwritten: false,
            found_clean: false,
            commit_running: false,
            crowd: Crowd::default(),
            truncations: 0,
            unsynced_since_ms: None,
            unsynced_bytes: 0,
            snapshot_offset: None,
            cleaned: None,
            offline: None,
            closed: false,
            health: None,
        }
    }

    pub fn check_online(&self, path: &Path) -> Result<(), StorageError> {
        if let Some(reason) = &self.offline {
            return Err(StorageError::Offline { reason: reason.clone() });
        }
        if let Some(health) = &self.health {
            health.check_online()?;
        }
        if self.closed {
            return Err(StorageError::Closed { path: path.to_path_buf() });
        }
        Ok(())
    }

    /// What is being written is on the disk as a clean stop left it, with its indexes and the producers.
    pub fn is_as_found(&self) -> bool {
        self.found_clean && self.crowd.appends == 0 && self.names_made == 0 && self.truncations == 0
    }

    /// Out of service, its directory renamed.
    pub fn is_deleted(&self) -> bool {
        self.closed && !self.made
    }

    /// It is written from now on.
    pub fn begin_segment(&mut self, segment: Arc<Segment>) {
        self.log_end = Mark { offset: self.log_end.offset, segment: segment.base_offset(), position: 0 };
        self.segments.push(segment);
        self.names_made += 1;
    }

    pub fn active(&self) -> Option<&Arc<Segment>> {
        self.segments.last()
    }

    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.size())).sum()
    }

    /// Bytes past the durable offset. What is out of service has none to sync.
    pub fn count_unsynced(&self) -> u64 {
        if self.durable.offset >= self.log_end.offset || self.offline.is_some() || self.closed {
            return 0;
        }
        let from = self.segments.partition_point(|segment| segment.base_offset() < self.durable.segment);
        let after: u64 = self.segments[from..].iter().map(|segment| u64::from(segment.size())).sum();
        let first_is_partly =
            self.segments.get(from).is_some_and(|segment| segment.base_offset() == self.durable.segment);
        after.saturating_sub(if first_is_partly { u64::from(self.durable.position) } else { 0 })
    }

    /// Index of the segment that holds `offset`, or would.
    pub fn segment_index(&self, offset: Offset) -> Option<usize> {
        self.segments.partition_point(|segment| segment.base_offset() <= offset).checked_sub(1)
    }

    /// The same place, for a mark at the end of a segment that gave way to another: the begin of the next.
    pub fn placed(&self, mark: Mark) -> Mark {
        match self.segment_index(mark.offset).map(|index| self.segments[index].base_offset()) {
            Some(base) if base == mark.offset => Mark { offset: mark.offset, segment: base, position: 0 },
            _ => mark,
        }
    }

    /// Where read_committed ends.
    pub fn last_stable(&self) -> Mark {
        match self.unstable.first_key_value() {
            Some((_, mark)) if mark.offset < self.high_watermark.offset => *mark,
            _ => self.high_watermark,
        }
    }

    pub fn offsets(&self) -> Offsets {
        Offsets {
            log_start: self.log_start,
            last_stable: self.last_stable().offset.max(self.log_start),
            high_watermark: self.high_watermark.offset,
            log_end: self.log_end.offset,
            durable: self.durable.offset,
        }
        .checked()
    }

    /// Moves the high watermark up, never down.
    pub fn advance_high_watermark(&mut self, to: Mark) {
        if to.offset > self.high_watermark.offset {
            self.high_watermark = to;
            for first_offset in self.producers.high_watermark_moved(to.offset) {
                self.unstable.remove(&first_offset);
            }
            debug_assert_eq!(self.unstable.keys().next().copied(), self.producers.first_unstable());
        }
    }

    /// Finds where the transactions begin that are not stable, after the producers were rebuilt.
    pub fn mark_unstable(&mut self, disk: &dyn Disk) -> Result<(), StorageError> {
        self.unstable.clear();
        for first_offset in self.producers.unstable_starts() {
            // A transaction whose first batch is gone begins, for readers, at the log start.
            let offset = first_offset.max(self.log_start);
            let mark = match self.segment_index(offset).map(|index| self.segments[index].clone()) {
                Some(segment) => {
                    let found = segment.find(disk, offset, segment.size())?;
                    let position = found.map_or(segment.size(), |found| found.position);
                    Mark { offset, segment: segment.base_offset(), position }
                }
                None => self.log_end,
            };
            self.unstable.insert(first_offset, mark);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A commit after `appends` more; how long it waits for others.
    fn commit(crowd: &mut Crowd, appends: u64) -> Option<i64> {
        (0..appends).for_each(|_| crowd.appended());
        let window_us = crowd.gather();
        crowd.stop_gathering();
        crowd.synced(crowd.appends, 2_000);
        window_us
    }

    /// Who appends alone waits for nobody; once a commit saw several, one that sees fewer waits for them, for a tenth of a sync.
    #[test]
    fn gathering() {
        let mut crowd = Crowd::default();
        for _ in 0..5 {
            assert_eq!(commit(&mut crowd, 1), None);
        }
        assert_eq!(commit(&mut crowd, 7), None);
        assert_eq!(commit(&mut crowd, 1), Some(200));
        assert_eq!(commit(&mut crowd, 7), None);
        // The others are gone: they are waited for twice.
        assert_eq!([1, 1, 1].map(|appends| commit(&mut crowd, appends)), [Some(200), Some(200), None]);
    }

    /// The wait ends with the append that was waited for, and a disk that is fast is not waited for at all.
    #[test]
    fn gathered() {
        let mut crowd = Crowd::default();
        commit(&mut crowd, 3);
        crowd.appended();
        assert!(crowd.gather().is_some() && !crowd.is_gathered());
        crowd.appended();
        assert!(!crowd.is_gathered());
        crowd.appended();
        assert!(crowd.is_gathered());
        let mut fast = Crowd::default();
        (0..3).for_each(|_| fast.appended());
        fast.synced(3, 400);
        fast.appended();
        assert_eq!(fast.gather(), None);
    }
}
