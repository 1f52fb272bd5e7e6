//! Reads a log file from front to end and says of every batch whether it is whole and what it claims to be. Recovery's eye.
//!
//! A scan ends at the first bytes that are no valid next batch: cut, wrong length, magic, checksum, an offset or leader epoch that goes
//! back, or an offset that jumps ahead where nothing can be missing, or further ahead than the batch behind it allows. Whether that is a
//! torn tail or damage is not its business; it says where and why.

use std::sync::Arc;

use crate::Offset;
use crate::batch::BatchHeader;
use crate::batch::header::{self, FRAMING_BYTES, HEADER_BYTES, MAGIC};
use crate::env::File;

/// Bytes read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A reader over `limit` bytes of a log file.
#[derive(Debug)]
pub struct Scan {
    file: Arc<dyn File>,
    limit: u64,
    buffer: Vec<u8>,
    /// File position of the buffer's first byte.
    buffer_at: u64,
    position: u64,
    next_offset: Offset,
    leader_epoch: i32,
    gaps: Gaps,
    compacted: bool,
}

/// May offsets be missing between batches? The offset is outside the checksum: a log without gaps shows damage to it, and so does a
/// batch that reaches past the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gaps {
    Never,
    /// The log is compacted, or was; still nothing reaches up to this offset, where the next segment begins.
    Before(Offset),
}

/// A valid batch.
#[derive(Debug)]
pub struct Scanned<'s> {
    pub position: u32,
    pub header: BatchHeader,
    pub batch: &'s [u8],
}

/// Why a scan ended before the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    pub position: u64,
    pub what: String,
}

#[derive(Debug)]
pub enum Step<'s> {
    Batch(Scanned<'s>),
    /// The limit was reached exactly.
    End,
    Stopped(Stop),
}

impl Scan {
    pub fn new(file: Arc<dyn File>, base_offset: Offset, limit: u64, gaps: Gaps) -> Scan {
        Scan::from(file, 0, base_offset, limit, gaps)
    }

    /// Begins with the batch at `position`, which has `next_offset`.
    pub fn from(file: Arc<dyn File>, position: u64, next_offset: Offset, limit: u64, gaps: Gaps) -> Scan {
        Scan {
            file,
            // A file that was cut meanwhile has nothing there.
            limit: limit.max(position),
            buffer: Vec::new(),
            buffer_at: position,
            position,
            next_offset,
            leader_epoch: -1,
            gaps,
            compacted: false,
        }
    }

    /// Offsets were missing, between batches or inside one, or there was a delete horizon: what was read has been compacted.
    pub fn is_compacted(&self) -> bool {
        self.compacted
    }

    /// The limit was reached.
    pub fn is_at_end(&self) -> bool {
        self.position >= self.limit
    }

    /// From the next batch on reads that file.
    pub fn go_on_in(&mut self, file: Arc<dyn File>) {
        self.file = file;
        self.buffer.clear();
        self.buffer_at = self.position;
    }

    /// The offset the next batch is expected to have.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// The next batch. An I/O error is one: the disk could not be read, which says nothing about the bytes.
    pub fn step(&mut self) -> std::io::Result<Step<'_>> {
        let left = self.limit - self.position;
        if left == 0 {
            return Ok(Step::End);
        }
        let position = self.position;
        let stopped = |what: String| Ok(Step::Stopped(Stop { position, what }));
        if left < HEADER_BYTES as u64 {
            return stopped(format!("{left} bytes are fewer than a batch header"));
        }
        if !self.fill(HEADER_BYTES)? {
            return stopped("the file ends here".into());
        }
        let Some(header) = BatchHeader::read(self.window()) else {
            return stopped("no batch header".into());
        };
        let Some(bytes) = header.total_bytes() else {
            return stopped(format!("batch length {}", header.length));
        };
        if u64::from(bytes) > left {
            return stopped(format!("a batch of {bytes} bytes has only {left}"));
        }
        if header.magic != MAGIC {
            return stopped(format!("magic {}", header.magic));
        }
        let in_place = match self.gaps {
            Gaps::Never => header.base_offset == self.next_offset,
            Gaps::Before(end) => header.base_offset >= self.next_offset && header.last_offset() < end,
        };
        let gap = header.base_offset > self.next_offset;
        let grows = header.last_offset_delta >= 0 && header.next_offset() > header.base_offset;
        if !in_place || !grows || (gap && self.follower(bytes, left)?.is_some_and(|base| base < header.next_offset())) {
            return stopped(format!(
                "offsets {}..={} after {}",
                header.base_offset,
                header.last_offset(),
                self.next_offset.wrapping_sub(1)
            ));
        }
        if header.leader_epoch < self.leader_epoch {
            return stopped(format!("leader epoch {} after {}", header.leader_epoch, self.leader_epoch));
        }
        if !self.fill(bytes as usize)? {
            return stopped("the file ends inside a batch".into());
        }
        let from = (self.position - self.buffer_at) as usize;
        let computed = header::checksum(&self.buffer[from..from + bytes as usize]);
        if computed != header.crc {
            return stopped(format!("checksum {computed:08x}, stored {:08x}", header.crc));
        }
        // A client's batch has all its offsets: that is checked when it is appended.
        let is_thinned = i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1;
        self.compacted |= gap || is_thinned || header.delete_horizon_ms().is_some();
        self.position += u64::from(bytes);
        self.next_offset = header.next_offset();
        self.leader_epoch = header.leader_epoch;
        Ok(Step::Batch(Scanned { position: position as u32, header, batch: &self.buffer[from..from + bytes as usize] }))
    }

    /// Base offset of the batch `bytes` on, if one can be there. A batch behind a gap that reaches past it has a wrong offset itself.
    fn follower(&mut self, bytes: u32, left: u64) -> std::io::Result<Option<Offset>> {
        let ahead = bytes as usize + HEADER_BYTES;
        if ahead as u64 > left || !self.fill(ahead)? {
            return Ok(None);
        }
        Ok(BatchHeader::read(&self.window()[bytes as usize..]).map(|header| header.base_offset))
    }

    fn window(&self) -> &[u8] {
        &self.buffer[(self.position - self.buffer_at) as usize..]
    }

    /// Makes `bytes` from the position on available; false when the file is shorter.
    fn fill(&mut self, bytes: usize) -> std::io::Result<bool> {
        debug_assert!(bytes >= FRAMING_BYTES);
        if self.window().len() >= bytes {
            return Ok(true);
        }
        let used = (self.position - self.buffer_at) as usize;
        self.buffer.drain(..used);
        self.buffer_at = self.position;
        let kept = self.buffer.len();
        let wish = CHUNK_BYTES.max(bytes).min((self.limit - self.buffer_at) as usize);
        if wish > kept {
            self.buffer.resize(wish, 0);
            let read = self.file.read_at(&mut self.buffer[kept..], self.buffer_at + kept as u64)?;
            self.buffer.truncate(kept + read);
        }
        Ok(self.buffer.len() >= bytes)
    }
}
