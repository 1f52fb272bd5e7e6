//! Which aborted transactions a read_committed fetch is told of, and what happens when the index of them is wrong.

use std::sync::Arc;

use super::producers::Producers;
use super::replay::replay_segment;
use super::{AbortedTransaction, Partition, snapshot};
use crate::Offset;
use crate::env::patience::allow_waiting;
use crate::env::read_file;
use crate::error::{IoContext, ReadError, StorageError};
use crate::segment::{Segment, names};

impl Partition {
    /// The aborted transactions that overlap what is read: from `start` to the offset that bytes up to `end` in `segment` may reach.
    /// `ending`: the segments they may have ended in.
    pub(super) fn aborted_in(
        &self,
        ending: &[Arc<Segment>],
        start: Offset,
        segment: &Segment,
        end: u32,
        last_stable: Offset,
    ) -> Result<Vec<AbortedTransaction>, ReadError> {
        let mut aborted = Vec::new();
        let mut upper = None;
        for ending_here in ending {
            // It went to retention; the caller sees to that.
            let count = match self.load_aborted(ending_here) {
                Err(_) if ending_here.is_removed() => return Ok(aborted),
                result => result?,
            };
            if count == Some(0) {
                continue;
            }
            let upper = match upper {
                Some(upper) => upper,
                None => {
                    let next =
                        ending.iter().map(|other| other.base_offset()).find(|base| *base > segment.base_offset());
                    let found = match segment.offset_at_or_after(self.disk(), end) {
                        Err(_) if segment.is_removed() => return Ok(aborted),
                        result => result?,
                    };
                    *upper.insert(found.or(next).unwrap_or(last_stable))
                }
            };
            // What ended before `start` says nothing of later ones: all that lay below its own end was stable then.
            let go_on = ending_here.aborted(self.disk(), start, |entry| {
                if entry.first_offset < upper {
                    aborted
                        .push(AbortedTransaction { producer_id: entry.producer_id, first_offset: entry.first_offset });
                }
                entry.last_stable_offset < upper
            })?;
            if !go_on {
                break;
            }
        }
        Ok(aborted)
    }

    /// Sees to it that the segment's aborted transactions are in memory and right. How many they are, if they were there.
    pub(super) fn load_aborted(&self, segment: &Arc<Segment>) -> Result<Option<usize>, StorageError> {
        let loaded = segment.loaded_aborted().at("search the indexes of", segment.log_path())?;
        if loaded.is_some() {
            return Ok(loaded);
        }
        allow_waiting().at("load the aborted transactions of", segment.log_path())?;
        let segments = self.state.read().segments.to_vec();
        let older = &segments[..segments.partition_point(|older| older.base_offset() < segment.base_offset())];
        let is_right = segment.load_aborted(self.disk(), older)?;
        self.host.open_files().used(segment);
        if !is_right {
            self.rebuild_aborted(segment, older)?;
        }
        Ok(None)
    }

    /// Makes the index of a segment anew from the log.
    pub(super) fn rebuild_aborted(&self, segment: &Segment, older: &[Arc<Segment>]) -> Result<(), StorageError> {
        tracing::warn!(log = %segment.log_path().display(), "the index of aborted transactions is wrong; it is made anew");
        let mut producers = self.producers_at(segment.base_offset(), older)?;
        let (from, until) = (segment.base_offset(), Offset::MAX);
        let aborted = replay_segment(self.disk(), segment, from, until, &mut producers, None)?;
        segment.set_aborted(self.disk(), aborted)
    }

    /// The same for the segment that begins at `base`, if it is still there: it does not name the transaction aborted at `marker`.
    pub(super) fn index_aborted_again(&self, base: Offset, marker: Offset) -> Result<(), StorageError> {
        let segments = self.state.read().segments.to_vec();
        let Some(at) = segments.iter().position(|segment| segment.base_offset() == base) else { return Ok(()) };
        let segment = &segments[at];
        self.rebuild_aborted(segment, &segments[..at])?;
        if segment.aborted(self.disk(), marker, |entry| entry.last_offset != marker)? {
            let what = format!("of the transaction aborted at offset {marker} no begin is known");
            return Err(StorageError::corrupt(segment.log_path(), 0, what));
        }
        Ok(())
    }

    /// The producers as they were where a segment begins.
    fn producers_at(&self, offset: Offset, older: &[Arc<Segment>]) -> Result<Producers, StorageError> {
        let disk = self.disk();
        let entries = disk.list(&self.path).at("list", &self.path)?;
        let snapshots =
            entries.iter().rev().filter_map(|entry| names::offset_of(&entry.name, names::PRODUCER_SNAPSHOT));
        let (mut producers, mut from) = (Producers::default(), 0);
        for at in snapshots.filter(|at| *at <= offset) {
            let path = names::file(&self.path, at, names::PRODUCER_SNAPSHOT);
            if let Some(found) = snapshot::decode(&read_file(disk, &path, snapshot::BYTES_MAX).at("read", &path)?) {
                (producers, from) = (found, at);
                break;
            }
        }
        for (index, segment) in older.iter().enumerate() {
            if older.get(index + 1).is_none_or(|next| next.base_offset() > from) {
                replay_segment(disk, segment, from, offset, &mut producers, None)?;
            }
        }
        Ok(producers)
    }
}
