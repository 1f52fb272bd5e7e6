//! Writing out what nobody waits for, before it is synced: piece by piece, so that the queue of the disk stays short.
//!
//! A sync of hundreds of MiB fills that queue at once, and until it is through, appends to the same file wait for pages and for the
//! journal of the file system. A piece at a time, waited for, leaves room between; the sync that follows has little left to do. The tail of
//! the log is left to it: that is where appends go on.

use std::sync::Arc;

use super::Partition;
use super::flush::is_not_found;
use crate::error::StorageError;
use crate::segment::Segment;

const PIECE_BYTES: u32 = 2 << 20;
const TAIL_BYTES: u32 = 8 << 20;

/// What of one segment is written out.
struct Stretch {
    segment: Arc<Segment>,
    from: u32,
    to: u32,
}

impl Partition {
    /// On a thread of the pool, before a commit that nobody waits for. Once appenders wait for room somebody does: then the commit goes on at
    /// once, on as many threads as there are, since a disk may do several pieces in the time of one.
    pub(crate) fn write_out(&self) {
        for Stretch { segment, from, to } in self.stretches() {
            let mut position = from;
            while position < to {
                if self.host.is_over() {
                    return;
                }
                let bytes = PIECE_BYTES.min(to - position);
                // A lock for each piece: who wants a sync now does not wait for all of them. None goes on beside a sync, since the kernel
                // tells of lost writes once.
                let _one = self.syncing.lock();
                {
                    let state = self.state.read();
                    if state.offline.is_some() || state.closed || state.durable.offset >= state.log_end.offset {
                        return;
                    }
                }
                match self.host.with_descriptors(|| segment.write_out(self.disk(), position, bytes)) {
                    Ok(()) => {}
                    Err(error) if error.is_no_descriptor() => return,
                    Err(error) if is_not_found(&error) && segment.is_removed() => break,
                    // The directory of a deleted partition has another name by now.
                    Err(error) if is_not_found(&error) && self.state.read().is_deleted() => return,
                    Err(error) => {
                        self.go_offline(&error);
                        return;
                    }
                }
                position += bytes;
            }
        }
    }

    fn stretches(&self) -> Vec<Stretch> {
        let state = self.state.read();
        let active = state.segments.last().map(|segment| segment.base_offset());
        let unsynced = state.segments.iter().filter(|segment| segment.base_offset() >= state.durable.segment);
        let stretch = |segment: &Arc<Segment>| {
            let is_first = segment.base_offset() == state.durable.segment;
            let tail = if active == Some(segment.base_offset()) { TAIL_BYTES } else { 0 };
            Stretch {
                segment: segment.clone(),
                from: if is_first { state.durable.position } else { 0 },
                to: segment.size().saturating_sub(tail),
            }
        };
        unsynced.map(stretch).collect()
    }

    /// Has the pool write out and sync everything appended so far, once; without a pool it is synced here and now. For the background
    /// flusher.
    pub fn flush_soon(&self) -> Result<(), StorageError> {
        let is_waited_for = {
            let mut state = self.state.write();
            state.check_online(&self.path)?;
            if state.commit_running || state.durable.offset >= state.log_end.offset {
                return Ok(());
            }
            state.commit_running = true;
            // In `os` mode nobody waits, but for what was appended before it became that.
            self.config.load().durability != crate::Durability::Os || state.high_watermark.offset < state.log_end.offset
        };
        let queued = |partition| !is_waited_for && self.host.queue_write_out(&partition);
        if !self.this.upgrade().is_some_and(queued) {
            self.begin_commit();
        }
        Ok(())
    }
}
