//! Read: which bytes of which file answer a fetch. One slice of one segment, whole batches but for the last.
//!
//! The end is the log end, the high watermark or the last stable offset; their positions are kept in memory, so the slice is cut by
//! bytes without looking at batches. Finding the begin takes the ring of recent batches (a reader at the tail), or the index and a walk
//! over at most an index interval. The lock is held only to pick segment and limit.

use std::sync::Arc;

use super::state::{Mark, RecentBatch};
use super::{Partition, Read, ReadUpTo, Slice};
use crate::batch::compression;
use crate::batch::header::{HEADER_BYTES, MAGIC};
use crate::batch::records::{RecordRef, Records};
use crate::batch::{BatchHeader, Compression};
use crate::env::patience::without_waiting;
use crate::env::read_exact_at;
use crate::error::{IoContext, ReadError, StorageError};
use crate::segment::Segment;
use crate::{Offset, Offsets};

/// What the lock tells a read.
struct Plan {
    offsets: Offsets,
    /// None: nothing below the limit from this offset on.
    segment: Option<Arc<Segment>>,
    /// How far the segment may be read.
    limit: u32,
    /// Base offset of the segment behind, to go on with if this one has nothing.
    next: Option<Offset>,
    recent: Option<RecentBatch>,
    /// Where transactions that overlap the read may have ended: the segments from the one of `start` on. For read_committed only.
    ending: Vec<Arc<Segment>>,
}

impl Partition {
    /// Bytes from `start` on, at most `bytes_max`; when `min_one` is set the first batch comes whole however long it is. A start inside
    /// a batch gives that batch from its begin.
    pub fn read(&self, start: Offset, bytes_max: u32, up_to: ReadUpTo, min_one: bool) -> Result<Read, ReadError> {
        let mut from = start;
        loop {
            let plan = self.plan(start, from, up_to)?;
            let empty = Read {
                slice: None,
                first_offset: start,
                first_batch_bytes: 0,
                offsets: plan.offsets,
                aborted: Vec::new(),
            };
            let Some(segment) = plan.segment else { return Ok(empty) };
            let found = match plan.recent {
                Some(recent) => Ok(Some((recent.base_offset, recent.position, recent.bytes))),
                None => segment
                    .find(self.disk(), from, plan.limit)
                    .map(|found| found.map(|found| (found.header.base_offset, found.position, found.bytes))),
            };
            let (first_offset, position, first_batch_bytes) = match found {
                _ if segment.is_removed() => continue,
                Ok(Some(found)) => found,
                Ok(None) => match plan.next {
                    // Compaction may have emptied the end of a segment.
                    Some(next) => {
                        from = next;
                        continue;
                    }
                    None => return Ok(empty),
                },
                // Damage, or retention or compaction took the segment just now: then the next plan knows.
                Err(_) if segment.is_removed() => continue,
                Err(error) if error.would_wait() => return Err(ReadError::WouldWait),
                Err(error) => return Err(self.failed_read(error)),
            };
            let available = plan.limit - position;
            let wish = if min_one { bytes_max.max(first_batch_bytes) } else { bytes_max };
            let length = available.min(wish);
            if length == 0 {
                return Ok(Read { first_offset, first_batch_bytes, ..empty });
            }
            let file = match segment.log(self.disk()) {
                Ok(file) => file,
                Err(_) if segment.is_removed() => continue,
                Err(error) if error.would_wait() => return Err(ReadError::WouldWait),
                Err(error) => return Err(self.failed_read(error)),
            };
            self.host.open_files().used(&segment);
            let aborted = self.aborted_in(&plan.ending, start, &segment, position + length, plan.offsets.last_stable);
            // What was taken meanwhile may have told nothing of its aborted transactions, and what compaction replaced may have been
            // looked for in the files of its successor, which have the same names.
            if segment.is_removed() || plan.ending.iter().any(|segment| segment.is_removed()) {
                continue;
            }
            let aborted = aborted?;
            let (position, end) = (u64::from(position), u64::from(plan.limit));
            let slice = Some(Slice { file, position, length, end });
            return Ok(Read { slice, first_offset, first_batch_bytes, offsets: plan.offsets, aborted });
        }
    }

    /// The same for who must not wait for the disk: [`ReadError::WouldWait`] if that were needed to find the slice. What is in the slice
    /// may still have to come from there.
    pub fn read_without_waiting(
        &self,
        start: Offset,
        bytes_max: u32,
        up_to: ReadUpTo,
        min_one: bool,
    ) -> Result<Read, ReadError> {
        without_waiting(|| self.read(start, bytes_max, up_to, min_one))
    }

    fn plan(&self, start: Offset, from: Offset, up_to: ReadUpTo) -> Result<Plan, ReadError> {
        let state = self.state.read();
        state.check_online(&self.path)?;
        let offsets = state.offsets();
        if start < offsets.log_start || start > offsets.log_end {
            return Err(ReadError::OffsetOutOfRange {
                requested: start,
                log_start: offsets.log_start,
                log_end: offsets.log_end,
            });
        }
        let mark = match up_to {
            ReadUpTo::LogEnd => state.log_end,
            ReadUpTo::HighWatermark => state.high_watermark,
            ReadUpTo::LastStable => state.last_stable(),
        };
        let index = if from < mark.offset { state.segment_index(from) } else { None };
        let Some(index) = index else {
            return Ok(Plan { offsets, segment: None, limit: 0, next: None, recent: None, ending: Vec::new() });
        };
        let segment = state.segments[index].clone();
        let limit = limit_in(&segment, mark);
        let next = state.segments.get(index + 1).map(|next| next.base_offset()).filter(|next| *next < mark.offset);
        let recent =
            state.recent.find(from).filter(|recent| recent.segment == segment.base_offset() && recent.position < limit);
        let ending = match up_to {
            ReadUpTo::LastStable => state.segments[state.segment_index(start).unwrap_or(0)..].to_vec(),
            ReadUpTo::LogEnd | ReadUpTo::HighWatermark => Vec::new(),
        };
        Ok(Plan { offsets, segment: Some(segment), limit, next, recent, ending })
    }

    /// A read that hits damage fails; only a broken disk takes the partition offline, and that is for the next write to find out.
    fn failed_read(&self, error: StorageError) -> ReadError {
        tracing::error!(partition = %self.name, %error, "read failed");
        if error.is_no_descriptor() {
            self.host.open_files().make_room();
        }
        ReadError::Storage(error)
    }

    /// Hands the records of a read, unpacked, to `visit`, beginning with the first at or after `start`; the offset to go on from.
    /// Checksums are checked. Control records come too; [`RecordRef::is_control`] tells them.
    pub fn for_each_record(
        &self,
        start: Offset,
        bytes_max: u32,
        up_to: ReadUpTo,
        mut visit: impl FnMut(&RecordRef<'_>),
    ) -> Result<Offset, ReadError> {
        let read = self.read(start, bytes_max, up_to, true)?;
        let Some(slice) = read.slice else { return Ok(start) };
        let mut bytes = vec![0; slice.length as usize];
        read_exact_at(slice.file.as_ref(), &mut bytes, slice.position).at("read", &self.path)?;
        let mut next = start;
        let mut at = 0;
        let corrupt = |at: usize, what: String| StorageError::corrupt(&self.path, slice.position + at as u64, what);
        while let Some(header) = BatchHeader::read(&bytes[at..]) {
            let total =
                header.total_bytes().ok_or_else(|| corrupt(at, format!("batch length {}", header.length)))? as usize;
            let Some(batch) = bytes.get(at..at + total) else { break };
            visit_batch(&header, batch, self.config.load().decompressed_bytes_max as usize, start, &mut visit)
                .map_err(|what| corrupt(at, what))?;
            next = header.next_offset();
            at += total;
        }
        Ok(next)
    }
}

/// How far a segment may be read when `mark` is the end.
fn limit_in(segment: &Segment, mark: Mark) -> u32 {
    if mark.segment == segment.base_offset() { mark.position } else { segment.size() }
}

/// Unpacks a whole batch and hands over its records at or after `start`; words, when it is damaged.
pub(crate) fn visit_batch(
    header: &BatchHeader,
    batch: &[u8],
    unpacked_bytes_max: usize,
    start: Offset,
    visit: &mut impl FnMut(&RecordRef<'_>),
) -> Result<(), String> {
    if header.magic != MAGIC {
        return Err(format!("magic {}", header.magic));
    }
    let computed = crate::batch::header::checksum(batch);
    if computed != header.crc {
        return Err(format!("checksum {computed:08x}, stored {:08x}", header.crc));
    }
    let compression = header.compression().ok_or("unknown compression")?;
    let mut walk = |records: &[u8]| -> Result<(), String> {
        for record in Records::new(records, header.record_count) {
            let record = RecordRef::new(header, record?);
            if record.offset >= start {
                visit(&record);
            }
        }
        Ok(())
    };
    if compression == Compression::None {
        return walk(&batch[HEADER_BYTES..]);
    }
    compression::with_scratch(|scratch| {
        compression::decompress(compression, &batch[HEADER_BYTES..], unpacked_bytes_max, scratch)
            .map_err(|error| error.to_string())?;
        walk(scratch)
    })
}
