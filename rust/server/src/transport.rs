//! How an answer leaves: memory by `send`, file regions by `sendfile` on a plain socket, by read where there is no
//! descriptor (the in-memory disk) or where the kernel refuses.

use std::io;
use std::os::fd::AsFd;

use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::reply::{Chunk, FileRegion, Reply};

/// The kernel moves at most this much per `sendfile` call; it also bounds how long one call keeps a worker.
const SENDFILE_BYTES_MAX: usize = 1024 * 1024;
/// Read-and-send buffer of the path without `sendfile`.
const COPY_BYTES: usize = 256 * 1024;

/// Sends a whole answer.
///
/// # Errors
/// The connection failed, or a segment file is shorter than its index of batches says.
pub async fn send(stream: &TcpStream, reply: Reply) -> io::Result<()> {
    let mut chunks = reply.into_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        let flags = if chunks.peek().is_some() { SendFlags::MORE } else { SendFlags::empty() };
        match chunk {
            Chunk::Memory(bytes) => send_memory(stream, &bytes, flags | SendFlags::NOSIGNAL).await?,
            Chunk::File(region) => send_region(stream, region, flags | SendFlags::NOSIGNAL).await?,
        }
    }
    Ok(())
}

async fn send_memory(stream: &TcpStream, mut bytes: &[u8], flags: SendFlags) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = stream
            .async_io(Interest::WRITABLE, || rustix::net::send(stream.as_fd(), bytes, flags).map_err(io::Error::from))
            .await?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

async fn send_region(stream: &TcpStream, region: FileRegion, flags: SendFlags) -> io::Result<()> {
    let FileRegion { file, mut position, mut bytes } = region;
    while bytes > 0 {
        let Some(source) = file.fd() else { break };
        let most = bytes.min(SENDFILE_BYTES_MAX);
        let result = stream
            .async_io(Interest::WRITABLE, || {
                let mut from = position;
                rustix::fs::sendfile(stream.as_fd(), source, Some(&mut from), most).map_err(io::Error::from)
            })
            .await;
        match result {
            Ok(0) => return Err(cut_short(position)),
            Ok(sent) => {
                position += sent as u64;
                bytes -= sent;
            }
            // Not every file system supports it; the plain path does the rest.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let mut buffer = vec![0; bytes.min(COPY_BYTES)];
    while bytes > 0 {
        let most = bytes.min(buffer.len());
        let read = file.read_at(&mut buffer[..most], position)?;
        if read == 0 {
            return Err(cut_short(position));
        }
        send_memory(stream, &buffer[..read], flags).await?;
        position += read as u64;
        bytes -= read;
    }
    Ok(())
}

fn cut_short(position: u64) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("a segment ends at {position}, inside an answer"))
}
