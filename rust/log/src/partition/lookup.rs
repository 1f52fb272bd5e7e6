//! Look-ups for ListOffsets and OffsetForLeaderEpoch.

use super::read::visit_batch;
use super::{EpochEnd, OffsetAt, Partition, ReadUpTo};
use crate::Offset;
use crate::error::StorageError;
use crate::segment::Segment;

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
    /// told is the caller's to decide.
    pub fn lookup_timestamp(&self, timestamp_ms: i64) -> Result<Option<OffsetAt>, StorageError> {
        loop {
            let (segments, log_start) = {
                let state = self.state.read();
                state.check_online(&self.path)?;
                (state.segments.clone(), state.log_start)
            };
            match self.lookup_in(&segments, timestamp_ms, log_start) {
                // Retention or compaction went over the segments meanwhile: what was found may have come from other files.
                _ if segments.iter().any(|segment| segment.is_removed()) => {}
                result => return result,
            }
        }
    }

    fn lookup_in(
        &self,
        segments: &[std::sync::Arc<Segment>],
        timestamp_ms: i64,
        log_start: Offset,
    ) -> Result<Option<OffsetAt>, StorageError> {
        for segment in segments {
            let youngest = segment.max_timestamp(self.disk())?.map_or(-1, |max| max.timestamp_ms);
            self.host.open_files().used(segment);
            if youngest < timestamp_ms {
                continue;
            }
            let from = segment.time_floor(self.disk(), timestamp_ms)?.max(log_start);
            if let Some(found) = self.first_record_since(segment, from, timestamp_ms, log_start)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
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
            let segments = {
                let state = self.state.read();
                state.check_online(&self.path)?;
                state.segments.clone()
            };
            match self.max_timestamp_in(&segments) {
                _ if segments.iter().any(|segment| segment.is_removed()) => {}
                result => return result,
            }
        }
    }

    fn max_timestamp_in(&self, segments: &[std::sync::Arc<Segment>]) -> Result<Option<OffsetAt>, StorageError> {
        let mut youngest: Option<(i64, &Segment, Offset)> = None;
        for segment in segments {
            if let Some(max) = segment.max_timestamp(self.disk())?
                && youngest.is_none_or(|(timestamp_ms, ..)| max.timestamp_ms > timestamp_ms)
            {
                youngest = Some((max.timestamp_ms, segment, max.offset));
            }
        }
        let Some((timestamp_ms, segment, offset)) = youngest else { return Ok(None) };
        self.first_record_since(segment, offset, timestamp_ms, 0)
    }

    /// OffsetForLeaderEpoch.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> EpochEnd {
        let state = self.state.read();
        state.epochs.end_of(epoch, state.log_end.offset)
    }
}
