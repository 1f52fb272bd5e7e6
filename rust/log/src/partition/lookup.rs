//! Look-ups for ListOffsets and OffsetForLeaderEpoch.

use std::sync::Arc;

use super::read::visit_batch;
use super::segments::{NO_TIME_MS, Segments};
use super::{EpochEnd, OffsetAt, Partition, ReadUpTo};
use crate::Offset;
use crate::error::StorageError;
use crate::segment::{self, Segment};

/// So many segments are looked at before the list is looked at again.
const LEARN_MAX: usize = 64;

/// Where a look-up by time goes on.
enum Next {
    /// Here, and then at this offset.
    In(Arc<Segment>, Option<Offset>),
    /// It is not known which segment: these, behind so many that are known, are to be asked first.
    Learn(usize, Vec<Arc<Segment>>),
    Nothing,
}

impl Next {
    fn of(segments: &Segments, found: Result<Option<usize>, usize>) -> Next {
        match found {
            Ok(None) => Next::Nothing,
            Ok(Some(index)) => {
                Next::In(segments[index].clone(), segments.get(index + 1).map(|next| next.base_offset()))
            }
            Err(known) => {
                let closed = segments.len().saturating_sub(1);
                Next::Learn(known, segments[known..closed.min(known + LEARN_MAX)].to_vec())
            }
        }
    }
}

impl Partition {
    /// ListOffsets -2 (and -4: nothing is tiered).
    pub fn earliest(&self) -> OffsetAt {
        let state = self.state.read();
        OffsetAt { offset: state.log_start, timestamp_ms: -1, leader_epoch: state.epochs.at(state.log_start) }
    }

    /// ListOffsets -1, by isolation level.
    pub fn latest(&self, up_to: ReadUpTo) -> OffsetAt {
        let state = self.state.read();
        let offsets = state.offsets();
        let offset = match up_to {
            ReadUpTo::LogEnd => offsets.log_end,
            ReadUpTo::HighWatermark => offsets.high_watermark,
            ReadUpTo::LastStable => offsets.last_stable,
        };
        OffsetAt { offset, timestamp_ms: -1, leader_epoch: state.epochs.latest() }
    }

    /// The first record whose timestamp is not below `timestamp_ms`. It may lie at or above the high watermark: what a client may be
    /// told is the caller's to decide. (Kafka's `UnifiedLog.fetchOffsetByTimestamp`, which looks into one segment only.)
    pub fn lookup_timestamp(&self, timestamp_ms: i64) -> Result<Option<OffsetAt>, StorageError> {
        let mut searched = 0;
        loop {
            let (next, log_start) = {
                let state = self.state.read();
                state.check_online(&self.path)?;
                let from = state.segment_index(searched.max(state.log_start)).unwrap_or(0);
                (Next::of(&state.segments, state.segments.first_since(from, timestamp_ms)), state.log_start)
            };
            let (segment, next_base) = match next {
                Next::Nothing => return Ok(None),
                Next::Learn(known, segments) => {
                    self.learn(known, &segments, timestamp_ms)?;
                    continue;
                }
                Next::In(segment, next_base) => (segment, next_base),
            };
            let found = self.lookup_in(&segment, timestamp_ms, log_start);
            self.host.open_files().used(&segment);
            // Retention or compaction went over it meanwhile: what was found may have come from other files.
            match (found, next_base) {
                _ if segment.is_removed() => searched = 0,
                (Ok(None), Some(next_base)) => searched = next_base,
                (found, _) => return found,
            }
        }
    }

    fn lookup_in(
        &self,
        segment: &Segment,
        timestamp_ms: i64,
        log_start: Offset,
    ) -> Result<Option<OffsetAt>, StorageError> {
        let from = segment.time_floor(self.disk(), timestamp_ms)?.max(log_start);
        self.first_record_since(segment, from, timestamp_ms, log_start)
    }

    /// Looks for the greatest timestamps of closed segments, of which `known` stand before these, up to one that is not below
    /// `timestamp_ms`.
    fn learn(&self, known: usize, segments: &[Arc<Segment>], timestamp_ms: i64) -> Result<(), StorageError> {
        let rebuilds = segment::rebuilds();
        let mut learned = Vec::with_capacity(segments.len());
        for segment in segments {
            let youngest = segment.max_timestamp(self.disk());
            self.host.open_files().used(segment);
            let youngest_ms = match youngest {
                // It went to retention or compaction: the others may have as well.
                _ if segment.is_removed() => break,
                youngest => youngest?.map_or(NO_TIME_MS, |max| max.timestamp_ms),
            };
            learned.push((segment.clone(), youngest_ms));
            if youngest_ms >= timestamp_ms {
                break;
            }
        }
        self.state.write().segments.learn(known, &learned, rebuilds);
        Ok(())
    }

    /// The first record at or after `log_start` and not below `timestamp_ms` in the batches from `from` on.
    fn first_record_since(
        &self,
        segment: &Segment,
        from: Offset,
        timestamp_ms: i64,
        log_start: Offset,
    ) -> Result<Option<OffsetAt>, StorageError> {
        let size = segment.size();
        let Some(first) = segment.find(self.disk(), from, size)? else { return Ok(None) };
        let mut position = first.position;
        while let Some(batch) =
            segment.walk(self.disk(), position, size, |found| found.header.max_timestamp_ms >= timestamp_ms)?
        {
            let bytes = segment.read_batch(self.disk(), &batch)?;
            let mut found = None;
            visit_batch(
                &batch.header,
                &bytes,
                self.config.load().decompressed_bytes_max as usize,
                log_start,
                &mut |record| {
                    if found.is_none() && record.timestamp_ms >= timestamp_ms {
                        found = Some(OffsetAt {
                            offset: record.offset,
                            timestamp_ms: record.timestamp_ms,
                            leader_epoch: Some(record.leader_epoch).filter(|epoch| *epoch >= 0),
                        });
                    }
                },
            )
            .map_err(|what| StorageError::corrupt(segment.log_path(), u64::from(batch.position), what))?;
            if found.is_some() {
                return Ok(found);
            }
            position = batch.position + batch.bytes;
        }
        Ok(None)
    }

    /// The first record with the greatest timestamp (ListOffsets -3, KIP-734); None when no record has one.
    pub fn max_timestamp(&self) -> Result<Option<OffsetAt>, StorageError> {
        loop {
            let next = {
                let state = self.state.read();
                state.check_online(&self.path)?;
                Next::of(&state.segments, state.segments.with_greatest())
            };
            let segment = match next {
                Next::Nothing => return Ok(None),
                Next::Learn(known, segments) => {
                    self.learn(known, &segments, i64::MAX)?;
                    continue;
                }
                Next::In(segment, _) => segment,
            };
            let found = match segment.max_timestamp(self.disk()) {
                Ok(None) => Ok(None),
                Ok(Some(max)) => self.first_record_since(&segment, max.offset, max.timestamp_ms, 0),
                Err(error) => Err(error),
            };
            if !segment.is_removed() {
                return found;
            }
        }
    }

    /// OffsetForLeaderEpoch.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> EpochEnd {
        let state = self.state.read();
        state.epochs.end_of(epoch, state.log_end.offset)
    }
}
