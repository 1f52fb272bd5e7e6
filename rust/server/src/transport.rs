//! How an answer leaves: memory by `send`, file regions by `sendfile` on a plain socket, by read where there is no
//! descriptor (the in-memory disk) or where the kernel refuses.
//!
//! Most answers leave at once. From the first time the socket takes no more, the memory of an answer is counted
//! (`unsent.rs`), and its connection may be found stalled (`activity.rs`).

use std::io;
use std::os::fd::AsFd;

use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::control::Peer;
use crate::plane::Plane;
use crate::reply::{Chunk, FileRegion, Reply};
use crate::unsent::Held;

/// The kernel moves at most this much per `sendfile` call; it also bounds how long one call keeps a worker.
const SENDFILE_BYTES_MAX: usize = 1024 * 1024;
/// Read-and-send buffer of the path without `sendfile`.
const COPY_BYTES: usize = 256 * 1024;

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
    /// Does `operation` until it moves something; returns how much.
    async fn some(&mut self, mut operation: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        loop {
            match self.stream.try_io(Interest::WRITABLE, &mut operation) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    if self.held.is_some() {
                        self.peer.activity.moved(self.plane.now_ms());
                    }
                    return result;
                }
            }
            if self.held.is_none() {
                self.held = Some(self.plane.unsent.hold(self.memory_bytes));
                self.peer.activity.moved(self.plane.now_ms());
                self.peer.activity.sending(true);
            }
            self.stream.writable().await?;
        }
    }

    async fn memory(&mut self, mut bytes: &[u8], flags: SendFlags) -> io::Result<()> {
        let stream = self.stream;
        while !bytes.is_empty() {
            let sent = self.some(|| Ok(rustix::net::send(stream.as_fd(), bytes, flags)?)).await?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    async fn region(&mut self, region: FileRegion, flags: SendFlags) -> io::Result<()> {
        let FileRegion { file, mut position, mut bytes } = region;
        let stream = self.stream;
        while bytes > 0 {
            let Some(source) = file.fd() else { break };
            let most = bytes.min(SENDFILE_BYTES_MAX);
            // A client that takes all there is must let the others of this thread have their turn.
            tokio::task::coop::consume_budget().await;
            let sendfile = || Ok(rustix::fs::sendfile(stream.as_fd(), source, Some(&mut { position }), most)?);
            match self.some(sendfile).await {
                Ok(0) => return Err(cut_short(position)),
                Ok(sent) => {
                    position += sent as u64;
                    bytes -= sent;
                }
                // Not every file system supports it; the plain path does the rest.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => break,
                Err(error) => return Err(error),
            }
        }
        let mut buffer = vec![0; bytes.min(COPY_BYTES)];
        let _held = self.plane.unsent.hold(buffer.len());
        while bytes > 0 {
            let most = bytes.min(buffer.len());
            let read = file.read_at(&mut buffer[..most], position)?;
            if read == 0 {
                return Err(cut_short(position));
            }
            self.memory(&buffer[..read], flags).await?;
            position += read as u64;
            bytes -= read;
        }
        Ok(())
    }
}

fn cut_short(position: u64) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("a segment ends at {position}, inside an answer"))
}
