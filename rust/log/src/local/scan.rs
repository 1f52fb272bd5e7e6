//! Reading a log batch by batch, unpacked and checked; those of aborted transactions, and control batches, are left out.
//!
//! What is left out is known as a consumer of Kafka's knows it: with each piece comes the list of transactions that were aborted in it.

use std::collections::HashSet;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use crate::batch::compression;
use crate::batch::control::{Marker, end_marker_of};
use crate::batch::header::{HEADER_BYTES, MAGIC, checksum};
use crate::batch::{BatchHeader, Compression};
use crate::env::read_exact_at;
use crate::error::{IoContext, ReadError, StorageError};
use crate::partition::{AbortedTransaction, Partition, ReadUpTo};
use crate::{Offset, Offsets};

/// Read at a time.
const PIECE_BYTES: u32 = 1 << 20;

/// The records of one batch: `header.record_count` of them, in `bytes` from `at` on.
#[derive(Clone, Debug)]
pub struct UnpackedBatch {
    pub header: BatchHeader,
    pub bytes: Arc<Vec<u8>>,
    pub at: usize,
    /// Where the records end.
    pub end: usize,
}

/// Where batches are read: a partition that is open, or the files of one that somebody else has.
pub(super) trait Source: Send + Sync + Debug {
    /// Whole batches from the one that holds `start` on, about so many bytes but one at least. Empty: nothing to read yet.
    fn read(&self, start: Offset, bytes_max: u32, up_to: ReadUpTo) -> Result<Piece, ReadError>;
    fn offsets(&self) -> Offsets;
    /// For messages.
    fn path(&self) -> &Path;
    /// What a batch may grow to when it is unpacked.
    fn unpacked_bytes_max(&self) -> usize;
}

#[derive(Debug, Default)]
pub(super) struct Piece {
    pub bytes: Vec<u8>,
    /// Where it begins in its file, for messages.
    pub position: u64,
    pub aborted: Vec<AbortedTransaction>,
    /// Where `bytes` is empty: there is nothing to read before this offset.
    pub nothing_below: Offset,
}

impl Source for Partition {
    fn read(&self, start: Offset, bytes_max: u32, up_to: ReadUpTo) -> Result<Piece, ReadError> {
        let read = Partition::read(self, start, bytes_max, up_to, true)?;
        let Some(slice) = read.slice else {
            let nothing_below = match up_to {
                ReadUpTo::LogEnd => read.offsets.log_end,
                ReadUpTo::HighWatermark => read.offsets.high_watermark,
                ReadUpTo::LastStable => read.offsets.last_stable,
            };
            return Ok(Piece { nothing_below, ..Piece::default() });
        };
        let mut bytes = vec![0; slice.length as usize];
        read_exact_at(slice.file.as_ref(), &mut bytes, slice.position).at("read", Partition::path(self))?;
        bytes.truncate(whole_batches(&bytes, Offset::MAX));
        if bytes.is_empty() {
            return Err(StorageError::corrupt(Partition::path(self), slice.position, "a batch is cut").into());
        }
        Ok(Piece { bytes, position: slice.position, aborted: read.aborted, nothing_below: 0 })
    }

    fn offsets(&self) -> Offsets {
        Partition::offsets(self)
    }

    fn path(&self) -> &Path {
        Partition::path(self)
    }

    fn unpacked_bytes_max(&self) -> usize {
        self.config().decompressed_bytes_max as usize
    }
}

/// See the module.
#[derive(Debug)]
pub struct Batches {
    source: Arc<dyn Source>,
    up_to: ReadUpTo,
    /// Where to go on.
    next: Offset,
    piece: Arc<Vec<u8>>,
    /// Where `piece` begins in its file, for messages.
    piece_position: u64,
    at: usize,
    aborted: Vec<AbortedTransaction>,
    /// Producers whose open transaction is one of those.
    aborting: HashSet<i64>,
}

impl Batches {
    pub(super) fn new(source: Arc<dyn Source>, start: Offset, up_to: ReadUpTo) -> Batches {
        Batches {
            source,
            up_to,
            next: start,
            piece: Arc::default(),
            piece_position: 0,
            at: 0,
            aborted: Vec::new(),
            aborting: HashSet::new(),
        }
    }

    /// The offset to go on from.
    pub fn next_offset(&self) -> Offset {
        self.next
    }

    pub fn offsets(&self) -> Offsets {
        self.source.offsets()
    }

    /// For messages.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// True when the next batch is in memory already.
    pub fn is_filled(&self) -> bool {
        self.at < self.piece.len()
    }

    /// The next batch with records in it that begins below `stop`; None: nothing to read yet, or nothing below `stop`.
    pub fn next(&mut self, stop: Offset) -> Result<Option<UnpackedBatch>, ReadError> {
        while self.next < stop {
            if !self.is_filled() && !self.fill()? {
                return Ok(None);
            }
            if let Some(batch) = self.take()? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    fn fill(&mut self) -> Result<bool, ReadError> {
        let piece = self.source.read(self.next, PIECE_BYTES, self.up_to)?;
        self.next = self.next.max(piece.nothing_below);
        self.piece = Arc::new(piece.bytes);
        self.piece_position = piece.position;
        self.at = 0;
        self.aborted = piece.aborted;
        self.aborted.sort_unstable_by_key(|aborted| std::cmp::Reverse(aborted.first_offset));
        Ok(!self.piece.is_empty())
    }

    fn corrupt(&self, what: String) -> StorageError {
        StorageError::corrupt(self.source.path(), self.piece_position + self.at as u64, what)
    }

    /// The batch that is next in memory; None when it has no records for the caller.
    fn take(&mut self) -> Result<Option<UnpackedBatch>, StorageError> {
        let rest = &self.piece[self.at..];
        let found = BatchHeader::read(rest).and_then(|header| Some((header, header.total_bytes()? as usize)));
        let Some((header, batch)) = found.and_then(|(header, total)| Some((header, rest.get(..total)?))) else {
            return Err(self.corrupt("no batch where one should begin".to_owned()));
        };
        let (begin, end) = (self.at, self.at + batch.len());
        if header.magic != MAGIC {
            return Err(self.corrupt(format!("magic {}", header.magic)));
        }
        let computed = checksum(batch);
        if computed != header.crc {
            return Err(self.corrupt(format!("checksum {computed:08x}, stored {:08x}", header.crc)));
        }
        let wanted = self.next;
        self.at = end;
        if header.next_offset() <= wanted {
            return Ok(None);
        }
        self.next = header.next_offset();
        if self.is_left_out(&header, begin, end) || header.record_count == 0 {
            return Ok(None);
        }
        let unpacked = match header.compression() {
            None => return Err(self.corrupt("unknown compression".to_owned())),
            Some(Compression::None) => {
                UnpackedBatch { header, bytes: self.piece.clone(), at: begin + HEADER_BYTES, end }
            }
            Some(codec) => {
                let mut bytes = Vec::new();
                let bytes_max = self.source.unpacked_bytes_max();
                compression::decompress(codec, &self.piece[begin + HEADER_BYTES..end], bytes_max, &mut bytes)
                    .map_err(|error| self.corrupt(error.to_string()))?;
                let end = bytes.len();
                UnpackedBatch { header, bytes: Arc::new(bytes), at: 0, end }
            }
        };
        Ok(Some(unpacked))
    }

    fn is_left_out(&mut self, header: &BatchHeader, begin: usize, end: usize) -> bool {
        while let Some(aborted) = self.aborted.pop_if(|aborted| aborted.first_offset <= header.last_offset()) {
            self.aborting.insert(aborted.producer_id);
        }
        if header.is_control() {
            let ends = end_marker_of(header, &self.piece[begin + HEADER_BYTES..end]);
            if ends.is_some_and(|(marker, _)| marker == Marker::Abort) {
                self.aborting.remove(&header.producer_id);
            }
            return true;
        }
        header.is_transactional() && self.aborting.contains(&header.producer_id)
    }
}

/// How many of the bytes are whole batches that begin below `stop`.
pub(super) fn whole_batches(bytes: &[u8], stop: Offset) -> usize {
    let mut at = 0;
    while let Some(header) = BatchHeader::read(&bytes[at..]).filter(|header| header.base_offset < stop) {
        match header.total_bytes().and_then(|total| at.checked_add(total as usize)) {
            Some(end) if end <= bytes.len() => at = end,
            _ => break,
        }
    }
    at
}
