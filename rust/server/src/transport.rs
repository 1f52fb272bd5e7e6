//! How an answer leaves: memory by `send`, file regions by `sendfile` on a plain socket, by read where there is no
//! descriptor (the in-memory disk) or where the kernel refuses.
//!
//! Records go piece by piece, each once it is in memory: [`crate::readers`] sees to that, on other threads.
//!
//! Most answers leave at once. From the first time the socket takes no more, the memory of an answer is counted
//! (`unsent.rs`), and its connection may be found stalled (`activity.rs`).

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::control::Peer;
use crate::plane::Plane;
use crate::readers::{PIECE_BYTES, Piece, Readers};
use crate::reply::{Chunk, FileRegion, Reply};
use crate::unsent::Held;

/// Read-and-send buffer of the path without `sendfile`.
const COPY_BYTES: usize = 64 * 1024;

/// Sends a whole answer.
///
/// # Errors
/// The connection failed, or a segment file is shorter than its index of batches says.
pub async fn send(stream: &TcpStream, reply: Reply, plane: &Plane, peer: &Peer) -> io::Result<()> {
    let mut sending = Sending { stream, plane, peer, memory_bytes: reply.memory_bytes(), held: None };
    let mut chunks = reply.into_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        let flags = if chunks.peek().is_some() { SendFlags::MORE } else { SendFlags::empty() };
        match chunk {
            Chunk::Memory(bytes) => sending.memory(&bytes, flags | SendFlags::NOSIGNAL).await?,
            Chunk::File(region) => sending.region(region, flags | SendFlags::NOSIGNAL).await?,
        }
    }
    if sending.held.is_some() {
        peer.activity.sending(false);
    }
    Ok(())
}

/// An answer on its way.
struct Sending<'a> {
    stream: &'a TcpStream,
    plane: &'a Plane,
    peer: &'a Peer,
    /// What the answer holds in memory.
    memory_bytes: usize,
    /// Set from the first wait on.
    held: Option<Held<'a>>,
}

impl Sending<'_> {
    /// Does `operation` once; none: the socket takes no more.
    fn once(&mut self, mut operation: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
        loop {
            match self.stream.try_io(Interest::WRITABLE, &mut operation) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                result => {
                    if self.held.is_some() {
                        self.peer.activity.moved(self.plane.now_ms());
                    }
                    return result.map(Some);
                }
            }
        }
    }

    /// Waits until the socket takes more.
    async fn room(&mut self) -> io::Result<()> {
        let mut writable = std::pin::pin!(self.stream.writable());
        tokio::select! {
            biased;
            there = &mut writable => return there,
            () = std::future::ready(()) => {}
        }
        if self.held.is_none() {
            self.held = Some(self.plane.unsent.hold(self.memory_bytes));
            self.peer.activity.moved(self.plane.now_ms());
            self.peer.activity.sending(true);
        }
        writable.await
    }

    async fn memory(&mut self, mut bytes: &[u8], flags: SendFlags) -> io::Result<()> {
        let stream = self.stream;
        while !bytes.is_empty() {
            match self.once(|| Ok(rustix::net::send(stream.as_fd(), bytes, flags)?))? {
                Some(sent) => bytes = &bytes[sent..],
                None => self.room().await?,
            }
        }
        Ok(())
    }

    /// Returns when the piece is in memory, as a rule at once. Meanwhile it is not the client that is waited for; but a peer that has closed
    /// its side is not waited for with the disk, which others want something of.
    async fn prepare(&mut self, readers: &Arc<Readers>, piece: Piece<'_>) -> io::Result<()> {
        let activity = &self.peer.activity;
        activity.sending(false);
        tokio::select! {
            biased;
            () = readers.prepare(piece) => {}
            // `PRIORITY` is how tokio tells of a closed side while bytes lie before it.
            _ = self.stream.ready(Interest::ERROR.add(Interest::PRIORITY)) => {
                return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
            }
        }
        if self.held.is_some() {
            activity.moved(self.plane.now_ms());
            activity.sending(true);
        }
        Ok(())
    }

    async fn region(&mut self, region: FileRegion, flags: SendFlags) -> io::Result<()> {
        let FileRegion { file, mut position, mut bytes, end, readers } = region;
        let stream = self.stream;
        // Up to here it was in memory when it was asked for.
        let mut ready = position;
        while bytes > 0 {
            let Some(source) = file.fd() else { break };
            // A client that takes all there is must let the others of this thread have their turn.
            tokio::task::coop::consume_budget().await;
            // Right before it is sent, so that it is hardly ever gone again: then the thread waits for this piece. Of a piece that leaves in
            // several parts, to a reader that takes its time, each begin is looked at again.
            if position >= ready || !file.is_resident(position, 1) {
                let bytes = bytes.min(PIECE_BYTES);
                self.prepare(&readers, Piece { file: &file, position, bytes, end }).await?;
                ready = position + bytes as u64;
            }
            let most = usize::try_from(ready - position).unwrap_or(bytes);
            let sendfile = || Ok(rustix::fs::sendfile(stream.as_fd(), source, Some(&mut { position }), most)?);
            match self.once(sendfile) {
                Ok(Some(0)) => return Err(cut_short(position)),
                Ok(Some(sent)) => {
                    position += sent as u64;
                    bytes -= sent;
                }
                Ok(None) => self.room().await?,
                // Not every file system supports it; the plain path does the rest.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => break,
                Err(error) => return Err(error),
            }
        }
        // Kept while the socket takes what is read; a reader that takes its time holds none, and what did not leave is read again.
        let mut buffer = Vec::new();
        while bytes > 0 {
            tokio::task::coop::consume_budget().await;
            if position >= ready || !file.is_resident(position, bytes.min(COPY_BYTES) as u64) {
                let bytes = bytes.min(PIECE_BYTES);
                self.prepare(&readers, Piece { file: &file, position, bytes, end }).await?;
                ready = position + bytes as u64;
            }
            let most = usize::try_from(ready - position).unwrap_or(bytes);
            buffer.resize(most.min(COPY_BYTES), 0);
            let read = file.read_at(&mut buffer, position)?;
            if read == 0 {
                return Err(cut_short(position));
            }
            match self.once(|| Ok(rustix::net::send(stream.as_fd(), &buffer[..read], flags)?))? {
                Some(sent) => {
                    position += sent as u64;
                    bytes -= sent;
                }
                None => {
                    buffer = Vec::new();
                    self.room().await?;
                }
            }
        }
        Ok(())
    }
}

fn cut_short(position: u64) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("a segment ends at {position}, inside an answer"))
}
