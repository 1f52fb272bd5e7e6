//! Append: check outside the lock; then, under it, judge the producer, place the batch behind the last one and write it in one call.
//!
//! Nothing changes unless the write succeeded. A full disk, or no descriptor to open a file with, refuses the batch and leaves the
//! partition as it was; any other write error takes it offline. Metadata may use the room that is kept for a full disk; while that is out, nothing else is appended.

use std::io;
use std::sync::Arc;

use super::epochs::Epochs;
use super::open::check_owner;
use super::producers::Verdict;
use super::state::{Mark, RecentBatch, State};
use super::{AppendOptions, Appended, Origin, Partition, VerificationGuard};
use crate::batch::builder::{self, BatchShape};
use crate::batch::header::{self, CONTROL_BIT, TRANSACTIONAL_BIT};
use crate::batch::validate::{Checked, Rules, validate};
use crate::batch::{Compression, Marker, NO_SEQUENCE, NewRecord, control};
use crate::error::{AppendError, StorageError};
use crate::segment::{Segment, names};
use crate::{Durability, Offset, PartitionConfig, checkpoint};

/// What must follow an append once the lock is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    /// Start a group commit: none is under way.
    Commit,
    /// `flush.messages` is reached: sync before answering, as Kafka.
    Flush,
}

/// What the coordinators' appends may do that clients' may not.
#[derive(Clone, Copy, Debug)]
struct Source {
    origin: Origin,
    options: AppendOptions,
    transaction_version: i16,
}

impl Partition {
    /// Checks the one batch in `frame`, patches offset and leader epoch in place (and timestamps, where the topic says so) and appends
    /// it. `frame` is the `records` field of one partition in a Produce request.
    pub fn append(&self, frame: &mut [u8], origin: Origin, options: AppendOptions) -> Result<Appended, AppendError> {
        self.append_from(frame, Source { origin, options, transaction_version: 0 })
    }

    /// Builds one batch from plain records and appends it, for coordinators, the metadata log and the embedded log. All or nothing.
    pub fn append_records(&self, records: &[NewRecord<'_>], compression: Compression) -> Result<Appended, AppendError> {
        let level = self.config.load().level_of(compression);
        self.append_built(BatchShape::plain(compression, level), records, None, 0)
    }

    /// One control record, of no producer.
    pub fn append_control(
        &self,
        kind: control::ControlType,
        value: &[u8],
        timestamp_ms: i64,
    ) -> Result<Appended, AppendError> {
        let shape = BatchShape { attributes: CONTROL_BIT, ..BatchShape::plain(Compression::None, -1) };
        let key = control::key(kind);
        let record = NewRecord { timestamp_ms, key: Some(&key), value: Some(value), headers: &[] };
        self.append_built(shape, &[record], None, 0)
    }

    /// Builds one batch of a producer's transaction and appends it: offsets committed in it (TxnOffsetCommit). It has no sequence. `guard`
    /// is what [`Partition::start_verification`] returned, before the transaction's coordinator was asked.
    pub fn append_in_transaction(
        &self,
        records: &[NewRecord<'_>],
        producer_id: i64,
        producer_epoch: i16,
        guard: Option<VerificationGuard>,
    ) -> Result<Appended, AppendError> {
        let attributes = TRANSACTIONAL_BIT;
        let plain = BatchShape::plain(Compression::None, -1);
        self.append_built(BatchShape { attributes, producer_id, producer_epoch, ..plain }, records, guard, 0)
    }

    /// Ends a producer's transaction on this partition with a control batch (WriteTxnMarkers).
    pub fn append_marker(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        marker: Marker,
        coordinator_epoch: i32,
        transaction_version: i16,
    ) -> Result<Appended, AppendError> {
        let shape = BatchShape {
            attributes: CONTROL_BIT | TRANSACTIONAL_BIT,
            producer_id,
            producer_epoch,
            base_sequence: NO_SEQUENCE,
            ..BatchShape::plain(Compression::None, -1)
        };
        let key = control::key(marker.control_type());
        let value = control::end_marker_value(coordinator_epoch);
        let record = NewRecord { timestamp_ms: self.now_ms(), key: Some(&key), value: Some(&value), headers: &[] };
        self.append_built(shape, &[record], None, transaction_version)
    }

    fn append_built(
        &self,
        shape: BatchShape,
        records: &[NewRecord<'_>],
        guard: Option<VerificationGuard>,
        transaction_version: i16,
    ) -> Result<Appended, AppendError> {
        let mut batch = builder::build(shape, records).ok_or_else(|| {
            AppendError::invalid(format!("no batch can be made of {} records for {}", records.len(), self.name))
        })?;
        let options = AppendOptions { size_limited: false, guard, ..AppendOptions::default() };
        self.append_from(&mut batch, Source { origin: Origin::Coordinator, options, transaction_version })
    }

    fn append_from(&self, frame: &mut [u8], source: Source) -> Result<Appended, AppendError> {
        let config = self.config.load();
        let now_ms = self.now_ms();
        let rules = Rules {
            name: &self.name,
            config: &config,
            origin: source.origin,
            zstd_allowed: source.options.zstd_allowed,
            size_limited: source.options.size_limited,
            now_ms,
        };
        let mut checked = validate(frame, &rules)?;
        let bytes = checked.bytes;
        let mut rewritten = checked.rewritten.take();
        let batch = rewritten.as_deref_mut().unwrap_or(&mut frame[..bytes]);

        if let Some(health) = self.health.as_ref().filter(|_| !self.is_metadata) {
            health.check_room()?;
        }
        let mut state = self.state.write();
        let before = state.offsets();
        let mut result = self.append_locked(&mut state, batch, &checked, source, &config, now_ms);
        if let (Err(AppendError::Storage(error)), Some(health)) = (&result, self.health.as_ref())
            && self.is_metadata
            && error.is_no_room()
            && health.give_back()
        {
            result = self.append_locked(&mut state, batch, &checked, source, &config, now_ms);
            health.retake();
        }
        if let Err(AppendError::Storage(error)) = &result
            && error.is_no_descriptor()
        {
            self.host.open_files().make_room();
            result = self.append_locked(&mut state, batch, &checked, source, &config, now_ms);
        }
        let then = match &result {
            Ok(appended) if !appended.duplicate => self.after_append(&mut state, &config),
            _ => Then::Nothing,
        };
        let after = state.offsets();
        drop(state);
        if let Ok(appended) = &mut result {
            appended.high_watermark = after.high_watermark;
        }

        self.notify(before, after);
        match (&result, then) {
            (Err(AppendError::Storage(error)), _) if is_fatal(error) => self.go_offline(error),
            (_, Then::Commit) => self.begin_commit(),
            (_, Then::Flush) => self.flush()?,
            _ => {}
        }
        result
    }

    fn append_locked(
        &self,
        state: &mut State,
        batch: &mut [u8],
        checked: &Checked,
        source: Source,
        config: &PartitionConfig,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        state.check_online(&self.path)?;
        let mut header = checked.header;
        let base_offset = state.log_end.offset;
        if header.has_producer() {
            match source.origin {
                Origin::Client => {
                    if let Verdict::Duplicate(batch) =
                        state.producers.judge(&header, base_offset, source.options.guard, &self.name)?
                    {
                        return Ok(Appended {
                            base_offset: batch.first_offset(),
                            last_offset: batch.last_offset,
                            log_append_time_ms: batch.timestamp_ms,
                            log_start_offset: state.log_start,
                            high_watermark: state.high_watermark.offset,
                            duplicate: true,
                        });
                    }
                }
                Origin::Coordinator => {
                    state.producers.judge_internal(
                        &header,
                        checked.marker,
                        source.options.guard,
                        base_offset,
                        source.transaction_version,
                        &self.name,
                    )?;
                }
            }
        }
        if base_offset.checked_add(i64::from(header.last_offset_delta) + 1).is_none() {
            let what = format!("offset {base_offset} leaves none for {} records", header.record_count);
            return Err(StorageError::invalid(&self.path, what).into());
        }
        header.base_offset = base_offset;
        header.leader_epoch = state.leader_epoch;
        let segment = self.segment_for(state, &header, batch.len(), config, now_ms)?;
        self.begin_epoch(state, header.leader_epoch, base_offset)?;
        header::place(batch, base_offset, header.leader_epoch);
        let position = segment.append(self.disk(), &header, batch, config.index_interval_bytes)?;
        self.host.open_files().used(&segment);

        let end = Mark { offset: header.next_offset(), segment: segment.base_offset(), position: segment.size() };
        assert!(
            end.offset > state.log_end.offset,
            "offsets of {} do not grow: {end:?} after {:?}",
            self.name,
            state.log_end
        );
        state.log_end = end;
        state.crowd.appended();
        let unsynced_bytes = state.unsynced_bytes + batch.len() as u64;
        self.host.count_unsynced(state.unsynced_bytes, unsynced_bytes);
        state.unsynced_bytes = unsynced_bytes;
        state.recent.push(RecentBatch {
            base_offset,
            last_offset: header.last_offset(),
            segment: end.segment,
            position,
            bytes: batch.len() as u32,
        });
        if header.has_producer() {
            let begins = header.is_transactional() && !state.producers.has_transaction(header.producer_id);
            if begins && !header.is_control() {
                state.unstable.insert(base_offset, Mark { offset: base_offset, segment: end.segment, position });
            }
            if let Some(ended) = state.producers.apply(&header, checked.marker)
                && ended.aborted
            {
                let entry = state.producers.aborted_entry(&ended);
                segment.note_aborted(self.disk(), entry)?;
            }
        }
        Ok(Appended {
            base_offset,
            last_offset: header.last_offset(),
            log_append_time_ms: checked.log_append_time_ms,
            log_start_offset: state.log_start,
            high_watermark: state.high_watermark.offset,
            duplicate: false,
        })
    }

    /// The segment the batch goes into: the one being written, or a new one where Kafka would roll (`LogSegment.shouldRoll`).
    fn segment_for(
        &self,
        state: &mut State,
        header: &header::BatchHeader,
        bytes: usize,
        config: &PartitionConfig,
        now_ms: i64,
    ) -> Result<Arc<Segment>, StorageError> {
        let Some(active) = state.active().cloned() else {
            return self.slowly(|| {
                self.make_directory(state, now_ms)?;
                match state.active() {
                    Some(made) => Ok(made.clone()),
                    None => self.add_segment(state, now_ms),
                }
            });
        };
        let mut roll = !active.has_room(header.last_offset(), bytes, config.segment_bytes, config.segment_index_bytes);
        if !roll && active.size() > 0 {
            let waited_ms = active.waited_ms(self.disk(), now_ms, header.max_timestamp_ms)?;
            roll = waited_ms > config.segment_ms_max() - self.jitter_ms(config, active.base_offset());
        }
        if roll { self.slowly(|| self.roll_locked(state, now_ms)) } else { Ok(active) }
    }

    /// Spread evenly over partitions and segments, the same at every look.
    pub(super) fn jitter_ms(&self, config: &PartitionConfig, base_offset: i64) -> i64 {
        if config.segment_jitter_ms <= 0 {
            return 0;
        }
        let seed = crc_fast::crc32_iscsi(self.name.as_bytes()) ^ crc_fast::crc32_iscsi(&base_offset.to_be_bytes());
        i64::from(seed) % config.segment_jitter_ms
    }

    /// Ends the segment being written and begins the next at the log end. On an error the old one is written on.
    pub(super) fn roll_locked(&self, state: &mut State, now_ms: i64) -> Result<Arc<Segment>, StorageError> {
        let Some(active) = state.active().cloned() else {
            return self.add_segment(state, now_ms);
        };
        if active.size() == 0 {
            return Ok(active);
        }
        active.seal_indexes(self.disk(), false)?;
        self.write_snapshot(state, false)?;
        let next = self.add_segment(state, now_ms)?;
        active.retire();
        Ok(next)
    }

    fn add_segment(&self, state: &mut State, now_ms: i64) -> Result<Arc<Segment>, StorageError> {
        let segment = Arc::new(Segment::create(self.disk(), &self.path, state.log_end.offset, now_ms)?);
        state.begin_segment(segment.clone());
        Ok(segment)
    }

    /// Makes ahead of the first batch what must be on the disk before it. That is waited for, and many partitions can be prepared side by
    /// side. What went wrong the append meets itself.
    pub fn prepare(&self) -> Result<(), StorageError> {
        if let Some(health) = self.health.as_ref().filter(|_| !self.is_metadata) {
            health.check_room()?;
        }
        let prepare = || {
            let mut state = self.state.write();
            state.check_online(&self.path)?;
            self.slowly(|| {
                self.make_directory(&mut state, self.now_ms())?;
                if let Some(active) = state.active() {
                    self.host.open_files().used(active);
                }
                self.write_owed_epoch(&mut state)
            })
        };
        let prepared = self.host.with_descriptors(prepare);
        if let Err(error) = &prepared
            && is_fatal(error)
        {
            self.go_offline(error);
        }
        prepared
    }

    /// The directory and the files that are there from its first day, the first segment among them, so that one sync brings all their names.
    fn make_directory(&self, state: &mut State, now_ms: i64) -> Result<(), StorageError> {
        if state.made {
            return Ok(());
        }
        let disk = self.disk();
        // Looked at again: it was not there when the partition was opened.
        check_owner(disk, &self.path, &self.identity)?;
        disk.create_dir_all(&self.path).map_err(|error| StorageError::io("create", &self.path, error))?;
        if state.parent_unsynced.is_none() {
            // An earlier try may have made the name.
            state.parent_unsynced = Some(self.health.as_ref().map_or(0, |health| health.new_names.made()));
        }
        let first = Arc::new(Segment::create(disk, &self.path, state.log_end.offset, now_ms)?);
        checkpoint::write_first(disk, &self.path, &self.identity.topic_id, state.epochs.entries())?;
        state.made = true;
        state.begin_segment(first);
        state.names_synced = state.names_made;
        Ok(())
    }

    /// An epoch counts once it is on disk: recovery takes batches of one that the checkpoint does not know for damage.
    pub(super) fn begin_epoch(&self, state: &mut State, epoch: i32, start: Offset) -> Result<(), StorageError> {
        if !state.epochs.is_news(epoch) {
            return self.write_owed_epoch(state);
        }
        let mut epochs = state.epochs.clone();
        epochs.assign(epoch, start);
        if state.made {
            self.slowly(|| self.write_epochs(&epochs))?;
            state.epoch_unwritten = false;
        }
        state.epochs = epochs;
        Ok(())
    }

    /// Writes the epoch down that began when the partition was opened.
    pub(super) fn write_owed_epoch(&self, state: &mut State) -> Result<(), StorageError> {
        if state.epoch_unwritten {
            self.slowly(|| self.write_epochs(&state.epochs))?;
            state.epoch_unwritten = false;
        }
        Ok(())
    }

    pub(super) fn write_epochs(&self, epochs: &Epochs) -> Result<(), StorageError> {
        let path = self.path.join(names::LEADER_EPOCHS);
        self.with_reserve(|| checkpoint::write_epochs(self.disk(), &path, epochs.entries()))
    }

    /// What durability asks for after an append.
    fn after_append(&self, state: &mut State, config: &PartitionConfig) -> Then {
        if state.unsynced_since_ms.is_none() {
            state.unsynced_since_ms = Some(self.host.env().clock().monotonic_ms());
        }
        match config.durability {
            Durability::Fsync => {
                if state.commit_running {
                    return Then::Nothing;
                }
                state.commit_running = true;
                Then::Commit
            }
            Durability::Os => {
                state.advance_high_watermark(state.log_end);
                if state.log_end.offset - state.durable.offset >= config.flush_messages {
                    Then::Flush
                } else {
                    Then::Nothing
                }
            }
        }
    }
}

/// A full disk is no reason to go offline: the batch is refused, space may come back. So may descriptors.
fn is_fatal(error: &StorageError) -> bool {
    match error {
        error if error.is_no_descriptor() => false,
        StorageError::Io { source, .. } => !matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        ),
        StorageError::Corrupt { .. } => true,
        _ => false,
    }
}
