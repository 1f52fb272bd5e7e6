//! Taking away: from the end (truncate), from the begin (DeleteRecords, retention), and rolling by age.

use std::io;

use super::replay::replay_segment;
use super::state::{Mark, State};
use super::{Partition, snapshot};
use crate::Offset;
use crate::env::{OpenMode, read_file};
use crate::error::{IoContext, ReadError, StorageError};
use crate::retention::{self, Limits, Reason, SegmentFacts};
use crate::segment::{Segment, names};

/// In memory alone: appends and reads wait for the lock, and the disk may take its time. Where the log starts is for the data directory
/// to note; the file of epochs follows when it is written the next time, and an opening cuts it at the start anyway.
fn move_log_start(state: &mut State, target: Offset) {
    if target > state.log_start {
        state.epochs.truncate_start(target);
        state.log_start = target;
        let _ = state.offsets();
    }
}

/// See [`Partition::if_truncated`].
pub(crate) struct IfTruncated {
    /// Where the log would end.
    pub end: Offset,
    /// Up to where everything would be known to be on the disk. That is below the new end and, so that the names of segments that go are
    /// synced too, not behind the begin of the last one that stays.
    pub synced: Offset,
    /// Nothing would be left but the log start, which no file would tell.
    pub only_start: Option<Offset>,
}

impl Partition {
    /// DeleteRecords: nobody may read below `offset` any more; -1 means the high watermark. Files go with the next retention run.
    /// Returns the log start as it is now; an offset above the high watermark is out of range.
    pub fn delete_records_before(&self, offset: Offset) -> Result<Offset, ReadError> {
        let mut state = self.state.write();
        state.check_online(&self.path)?;
        let high_watermark = state.high_watermark.offset;
        let target = if offset == -1 { high_watermark } else { offset };
        if target < 0 || target > high_watermark {
            return Err(ReadError::OffsetOutOfRange {
                requested: offset,
                log_start: state.log_start,
                log_end: high_watermark,
            });
        }
        let before = state.offsets();
        move_log_start(&mut state, target);
        let after = state.offsets();
        drop(state);
        self.notify(before, after);
        Ok(after.log_start)
    }

    /// Deletes what retention lets go, and what lies below the log start; the number of segments.
    pub fn enforce_retention(&self, now_ms: i64) -> Result<usize, StorageError> {
        let config = self.config.load();
        let _trim = self.trim.lock();
        let segments = {
            let state = self.state.read();
            state.check_online(&self.path)?;
            state.segments.to_vec()
        };
        // Timestamps of closed segments may come from disk: looked at without the lock.
        let mut largest_ms = Vec::with_capacity(segments.len());
        for segment in &segments {
            match segment.largest_timestamp_ms(self.disk()) {
                Ok(timestamp_ms) => {
                    self.host.open_files().used(segment);
                    largest_ms.push(timestamp_ms);
                }
                Err(_) if segment.is_removed() => return Ok(0),
                Err(error) => return Err(error),
            }
        }
        let choose = |state: &State| {
            let facts: Vec<SegmentFacts> = segments
                .iter()
                .zip(&largest_ms)
                .enumerate()
                .map(|(index, (segment, largest_timestamp_ms))| SegmentFacts {
                    base_offset: segment.base_offset(),
                    end_offset: state.segments.get(index + 1).map_or(state.log_end.offset, |next| next.base_offset()),
                    bytes: u64::from(segment.size()),
                    largest_timestamp_ms: *largest_timestamp_ms,
                })
                .collect();
            let delete = config.cleanup_policy.delete;
            let limits = Limits {
                log_start: state.log_start,
                high_watermark: state.high_watermark.offset,
                now_ms,
                retention_ms: config.retention_ms.filter(|_| delete),
                retention_bytes: config.retention_bytes.filter(|_| delete),
            };
            let mut goes = retention::choose(&facts, &limits);
            let kept_from = self.kept_from();
            goes.truncate(facts.iter().take_while(|segment| segment.end_offset <= kept_from).count());
            goes
        };
        let is_current = |state: &State| {
            state.segments.len() >= segments.len()
                && state.segments.iter().zip(&segments).all(|(now, then)| now.base_offset() == then.base_offset())
        };
        let goes = {
            let state = self.state.read();
            if is_current(&state) { choose(&state).len() } else { 0 }
        };
        if goes == 0 {
            return Ok(0);
        }
        if let Some(first) = segments.get(goes) {
            self.sync_snapshot(first.base_offset())?;
        }
        let mut state = self.state.write();
        state.check_online(&self.path)?;
        if !is_current(&state) {
            // Somebody trimmed in between; the next run comes.
            return Ok(0);
        }
        let reasons = choose(&state);
        if reasons.is_empty() {
            return Ok(0);
        }
        let before = state.offsets();
        if reasons.len() == state.segments.len() {
            self.slowly(|| {
                let end = self.with_reserve(|| self.roll_locked(&mut state, now_ms))?.base_offset();
                self.sync_snapshot(end)
            })?;
        }
        let dropped = self.slowly(|| self.drop_front(&mut state, &reasons, config.file_delete_delay_ms));
        let after = state.offsets();
        drop(state);
        self.notify(before, after);
        dropped?;
        Ok(reasons.len())
    }

    /// What producers wrote before `offset` is known from this snapshot alone once the segments before it are gone.
    fn sync_snapshot(&self, offset: Offset) -> Result<(), StorageError> {
        let disk = self.disk();
        let path = names::file(&self.path, offset, names::PRODUCER_SNAPSHOT);
        match disk.open(&path, OpenMode::Write) {
            Ok(file) => file.sync_data().at("sync", &path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StorageError::io("open", &path, error)),
        }
        disk.sync_dir(&self.path).at("sync", &self.path)
    }

    /// Takes the first segments out and schedules their files for removal.
    fn drop_front(&self, state: &mut State, reasons: &[Reason], delay_ms: i64) -> Result<(), StorageError> {
        let first = state.segments.get(reasons.len()).map_or(state.log_end.offset, |segment| segment.base_offset());
        move_log_start(state, first);
        self.tell(|observer| observer.start_moves(state.log_start));
        let gone = state.segments.take_front(reasons.len());
        self.recount_unsynced(state);
        let mut files = Vec::new();
        for (segment, reason) in gone.iter().zip(reasons) {
            tracing::info!(partition = %self.name, segment = segment.base_offset(), bytes = segment.size(), ?reason, "segment deleted");
            files.extend(segment.mark_deleted(self.disk())?);
            let path = names::file(&self.path, segment.base_offset(), names::PRODUCER_SNAPSHOT);
            if self.disk().exists(&path).at("look for", &path)? {
                self.disk().remove_file(&path).at("remove", &path)?;
            }
        }
        self.host.remove_later(files, false, delay_ms);
        Ok(())
    }

    /// Cuts the log so that it ends at or before `offset`: a batch that reaches past it goes as a whole, and where compaction has left
    /// nothing right before it the log ends where what is left does, as an opening would find it. It does not end before its start: where
    /// that lies inside the batch, the log is empty there, and goes on there. Segments that go stay readable to
    /// those who hold them; of the one that is cut short, a reader that holds a slice past the cut finds fewer bytes than it was told.
    /// Where there is a data directory, ask it: [`crate::directory::DataDirectory::truncate`].
    pub fn truncate_to(&self, offset: Offset) -> Result<(), StorageError> {
        let _trim = self.trim.lock();
        let mut state = self.state.write();
        state.check_online(&self.path)?;
        let offset = offset.max(state.log_start);
        if offset >= state.log_end.offset {
            return Ok(());
        }
        let before = state.offsets();
        if let Err(error) = self.truncate_locked(&mut state, offset) {
            // Half done, memory and files tell different stories: only opening them again can bring them together.
            let marked = self.mark_offline(&mut state, &error);
            drop(state);
            self.went_offline(&error, marked);
            return Err(error);
        }
        self.recount_unsynced(&mut state);
        let after = state.offsets();
        drop(state);
        self.notify(before, after);
        Ok(())
    }

    fn truncate_locked(&self, state: &mut State, offset: Offset) -> Result<(), StorageError> {
        let disk = self.disk();
        let segments_before = state.segments.len();
        while state.segments.len() > 1 && state.active().is_some_and(|active| active.base_offset() > offset) {
            if let Some(segment) = state.segments.pop() {
                let files = segment.mark_deleted(disk)?;
                self.host.remove_later(files, false, self.config.load().file_delete_delay_ms);
            }
        }
        if state.segments.len() < segments_before {
            // Names that came back with a power cut would stand behind what is appended from now on, and cut it short.
            disk.sync_dir(&self.path).at("sync", &self.path)?;
        }
        let Some(active) = state.active().cloned() else {
            return Ok(());
        };
        let (position, end) = self.place_of_cut(&active, offset)?;
        if end < state.log_start {
            return self.empty_locked(state);
        }
        let older = &state.segments[..state.segments.len() - 1];
        if !active.load_aborted(disk, older)? {
            self.rebuild_aborted(&active, older)?;
        }
        active.truncate(disk, position, end)?;
        active.sync_log(disk)?;
        let is_compacted = state.cleaned.is_some_and(|cleaned| cleaned > end);
        self.end_at(state, Mark { offset: end, segment: active.base_offset(), position })?;
        if is_compacted {
            // Where offsets are missing anyway, an opening could not tell that a power cut has torn off what was appended there.
            self.roll_locked(state, self.now_ms())?;
        }
        Ok(())
    }

    /// The log start lies inside the batch that goes: nothing is left. Offsets below the start are not given again, since an opening takes
    /// what has them for deleted; and a gap in front of the next batch would pass for damage. So the log goes on from its start without
    /// files, and knows no producer, as one does that is opened and found so (and as Kafka's that is truncated as a whole).
    fn empty_locked(&self, state: &mut State) -> Result<(), StorageError> {
        while let Some(segment) = state.segments.pop() {
            let files = segment.mark_deleted(self.disk())?;
            self.host.remove_later(files, false, self.config.load().file_delete_delay_ms);
        }
        for entry in self.disk().list(&self.path).at("list", &self.path)? {
            if names::offset_of(&entry.name, names::PRODUCER_SNAPSHOT).is_some() {
                let path = self.path.join(&entry.name);
                self.disk().remove_file(&path).at("remove", &path)?;
            }
        }
        self.disk().sync_dir(&self.path).at("sync", &self.path)?;
        let mark = Mark { offset: state.log_start, segment: 0, position: 0 };
        state.durable = mark;
        self.end_at(state, mark)
    }

    /// The files end there; the rest of what is known follows.
    fn end_at(&self, state: &mut State, mark: Mark) -> Result<(), StorageError> {
        let end = mark.offset;
        state.log_end = mark;
        state.truncations += 1;
        state.recent.clear();
        if state.high_watermark.offset >= end {
            state.high_watermark = mark;
        }
        if state.durable.offset >= end {
            state.durable = mark;
        }
        state.cleaned = state.cleaned.map(|cleaned| cleaned.min(end));
        if state.epochs.truncate_end(end) {
            self.write_epochs(&state.epochs)?;
        }
        self.rebuild_producers(state)
    }

    /// What has to be noted before the log is truncated to `offset`. None: nothing would be cut.
    pub(crate) fn if_truncated(&self, offset: Offset) -> Result<Option<IfTruncated>, StorageError> {
        let state = self.state.read();
        state.check_online(&self.path)?;
        let offset = offset.max(state.log_start);
        let Some(index) = state.segment_index(offset).filter(|_| offset < state.log_end.offset) else {
            return Ok(None);
        };
        let segment = &state.segments[index];
        let (_, end) = self.place_of_cut(segment, offset)?;
        let synced = segment.base_offset().min(end - 1).max(0);
        let only_start = (end < state.log_start).then_some(state.log_start);
        Ok(Some(IfTruncated { end: end.max(state.log_start), synced, only_start }))
    }

    /// Where a segment is cut for the log to end at `offset` or before, and where the log ends then: where the last batch that stays does.
    fn place_of_cut(&self, segment: &Segment, offset: Offset) -> Result<(u32, Offset), StorageError> {
        let disk = self.disk();
        let found = segment.find(disk, offset, segment.size())?;
        let position = found.as_ref().map_or(segment.size(), |found| found.position);
        Ok((position, segment.end_before(disk, offset, position)?.min(offset)))
    }

    /// The producers as they were at the log end: from the newest snapshot below it and the batches since.
    fn rebuild_producers(&self, state: &mut State) -> Result<(), StorageError> {
        let disk = self.disk();
        let end = state.log_end.offset;
        state.producers.clear();
        state.snapshot_offset = None;
        let entries = disk.list(&self.path).at("list", &self.path)?;
        let mut snapshots: Vec<Offset> =
            entries.iter().filter_map(|entry| names::offset_of(&entry.name, names::PRODUCER_SNAPSHOT)).collect();
        let first = state.segments.first().map_or(0, |segment| segment.base_offset());
        while let Some(offset) = snapshots.pop().filter(|offset| *offset >= first) {
            let path = names::file(&self.path, offset, names::PRODUCER_SNAPSHOT);
            if offset > end {
                disk.remove_file(&path).at("remove", &path)?;
                continue;
            }
            let bytes = read_file(disk, &path, snapshot::BYTES_MAX).at("read", &path)?;
            if let Some(producers) = snapshot::decode(&bytes) {
                state.producers = producers;
                state.snapshot_offset = Some(offset);
                break;
            }
        }
        let from = state.snapshot_offset.unwrap_or(0);
        for (index, segment) in state.segments.iter().enumerate() {
            if state.segments.get(index + 1).is_none_or(|next| next.base_offset() > from) {
                replay_segment(disk, segment, from, end, &mut state.producers, None)?;
            }
        }
        state.producers.high_watermark_moved(state.high_watermark.offset);
        state.mark_unstable(disk)
    }

    /// Ends the segment being written, unless it is empty.
    pub fn roll(&self) -> Result<(), StorageError> {
        let now_ms = self.now_ms();
        let mut state = self.state.write();
        state.check_online(&self.path)?;
        if !state.segments.is_empty() {
            self.roll_locked(&mut state, now_ms)?;
        }
        Ok(())
    }
}
