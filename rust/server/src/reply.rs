//! One answer on its way out: bytes from memory, records by file region.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use ottla_log::env::File;

use crate::readers::Readers;

/// A region of a segment file, sent without passing through our memory where the transport allows.
#[derive(Clone)]
pub struct FileRegion {
    pub file: Arc<dyn File>,
    pub position: u64,
    pub bytes: usize,
    /// How far the file may be read: what lies behind is asked for next.
    pub end: u64,
    /// Who brings in what is not in memory.
    pub readers: Arc<Readers>,
}

/// A piece of an answer, in order.
pub enum Chunk {
    Memory(BytesMut),
    File(FileRegion),
}

/// A whole answer: length prefix, response header and body.
pub struct Reply {
    chunks: Vec<Chunk>,
    /// What follows them; all there is, but in answers with records in them.
    last: BytesMut,
}

impl Reply {
    /// The pieces in order, none of them empty.
    pub fn into_chunks(self) -> impl Iterator<Item = Chunk> {
        let last = (!self.last.is_empty()).then_some(Chunk::Memory(self.last));
        self.chunks.into_iter().chain(last)
    }

    /// What it holds in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let of_chunk = |chunk: &Chunk| match chunk {
            Chunk::Memory(bytes) => bytes.len(),
            Chunk::File(_) => 0,
        };
        self.last.len() + self.chunks.iter().map(of_chunk).sum::<usize>()
    }
}

/// Bytes before the body: length (4), correlation id (4), and for flexible headers an empty tag section (1).
const PREFIX_BYTES: usize = 4;

/// Builds a [`Reply`]: bytes go to the current buffer, a file region closes it and opens the next.
pub struct ReplyBuilder {
    buffer: BytesMut,
    chunks: Vec<Chunk>,
    /// Bytes in `chunks`, without `buffer`.
    closed_bytes: usize,
}

impl ReplyBuilder {
    /// Starts an answer with its response header. `flexible_header` is false for ApiVersions whatever its version.
    #[must_use]
    pub fn new(correlation_id: i32, flexible_header: bool, capacity: usize) -> Self {
        let mut buffer = BytesMut::with_capacity(PREFIX_BYTES + 5 + capacity);
        buffer.put_i32(0);
        buffer.put_i32(correlation_id);
        if flexible_header {
            buffer.put_u8(0);
        }
        Self { buffer, chunks: Vec::new(), closed_bytes: 0 }
    }

    /// Where body bytes are written.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Appends records that lie in a file.
    pub fn file(&mut self, region: FileRegion) {
        if region.bytes == 0 {
            return;
        }
        self.close_buffer();
        self.closed_bytes += region.bytes;
        self.chunks.push(Chunk::File(region));
    }

    fn close_buffer(&mut self) {
        if !self.buffer.is_empty() {
            self.closed_bytes += self.buffer.len();
            self.chunks.push(Chunk::Memory(self.buffer.split()));
        }
    }

    /// Writes the length prefix; `None` when the answer does not fit Kafka's signed 32-bit length.
    #[must_use]
    pub fn finish(mut self) -> Option<Reply> {
        let body_bytes = self.closed_bytes + self.buffer.len() - PREFIX_BYTES;
        let length = i32::try_from(body_bytes).ok()?.to_be_bytes();
        let first = match self.chunks.first_mut() {
            None => &mut self.buffer,
            Some(Chunk::Memory(first)) => first,
            Some(Chunk::File(_)) => return None,
        };
        first[..PREFIX_BYTES].copy_from_slice(&length);
        Some(Reply { chunks: self.chunks, last: self.buffer })
    }
}
