//! From bytes of a socket to frames.
//!
//! An idle connection holds no buffer: it waits for readability first and allocates then. A frame larger than the first read
//! takes its memory from all requests' share (`memory.rs`), in steps that follow what has arrived.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::connection::{Ended, peer_gone};
use crate::control::Peer;
use crate::dispatch;
use crate::frame::Frame;
use crate::limits::Limits;
use crate::memory::{Kind, Lease};
use crate::plane::Plane;

/// First read of a frame: most requests but Produce fit.
const FIRST_READ_BYTES: usize = 8 * 1024;
/// Second, of a frame that does not fit: all that somebody gets who sends a length and little more.
const SECOND_READ_BYTES: usize = 64 * 1024;
/// Third; from then on the buffer doubles with what has arrived.
const THIRD_READ_BYTES: usize = 1024 * 1024;
const LENGTH_BYTES: usize = 4;

/// What may be received whole while earlier requests are in work. The rest stays in the socket, but for a first read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Receives {
    Everything,
    Produce,
    Small,
}

/// Bytes received and not yet framed; unallocated while idle.
#[derive(Default)]
pub struct Inbox {
    bytes: BytesMut,
    /// Memory of a large frame that has begun.
    lease: Option<Lease>,
}

impl Inbox {
    /// The next whole frame without its length prefix; `None` when the peer closed between frames. Cancel safe: all that
    /// was received stays.
    pub async fn next(
        &mut self,
        stream: &TcpStream,
        plane: &Plane,
        peer: &Arc<Peer>,
        receives: Receives,
    ) -> Result<Option<Frame>, Ended> {
        loop {
            let mut needed = LENGTH_BYTES;
            if let Some(length) = self.length(&plane.limits)? {
                let whole = LENGTH_BYTES + length;
                if self.bytes.len() >= whole {
                    self.bytes.advance(LENGTH_BYTES);
                    return Ok(Some(Frame::new(self.bytes.split_to(length), self.lease.take())));
                }
                needed = whole;
                if whole > FIRST_READ_BYTES {
                    needed = self.room_for(whole, stream, plane, peer, receives).await?;
                }
            } else if self.bytes.is_empty() {
                // What is left of a shared buffer keeps all of it.
                self.bytes = BytesMut::new();
                stream.readable().await?;
            }
            self.reach(needed);
            match self.read(stream) {
                Ok(0) if self.bytes.is_empty() => return Ok(None),
                Ok(0) => return Err(Ended::ByClient),
                Ok(_) => peer.activity.moved(plane.now_ms()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.lease.is_some() {
                        peer.activity.begins_to_receive(plane.now_ms());
                    } else if self.bytes.is_empty() {
                        self.bytes = BytesMut::new();
                    }
                    stream.readable().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads once. What leaves room has taken all there was: that is noted, or the next wait would end at once, for nothing, as
    /// tokio's own `AsyncRead` does it. (What arrives meanwhile makes a new event, which this one does not clear.)
    fn read(&mut self, stream: &TcpStream) -> io::Result<usize> {
        let room = self.bytes.capacity() - self.bytes.len();
        let mut last = None;
        let result = stream.try_io(Interest::READABLE, || {
            let read = stream.try_read_buf(&mut self.bytes)?;
            if (1..room).contains(&read) {
                last = Some(read);
                return Err(ErrorKind::WouldBlock.into());
            }
            Ok(read)
        });
        last.map_or(result, Ok)
    }

    /// The length of the frame that has begun, once that has come.
    fn length(&self, limits: &Limits) -> Result<Option<usize>, Ended> {
        let Some((prefix, begin)) = self.bytes.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = i32::from_be_bytes(*prefix);
        let length = usize::try_from(length).map_err(|_| Ended::NegativeLength(length))?;
        let (limit, limit_name) = limit_of(begin, limits);
        if length > limit {
            return Err(Ended::FrameTooLong { length, limit, limit_name });
        }
        Ok(Some(length))
    }

    /// Waits for memory for more of a large frame, and for the turn of that frame; returns how many bytes there may be.
    async fn room_for(
        &mut self,
        whole: usize,
        stream: &TcpStream,
        plane: &Plane,
        peer: &Arc<Peer>,
        receives: Receives,
    ) -> Result<usize, Ended> {
        let is_produce = dispatch::is_produce(&self.bytes[LENGTH_BYTES..]);
        let may_come = receives == Receives::Everything || (receives == Receives::Produce && is_produce);
        let arrived = self.bytes.len();
        let first = FIRST_READ_BYTES.max(self.bytes.capacity());
        if self.lease.is_none() && arrived < first.min(whole) {
            return Ok(first.min(whole));
        }
        if !may_come {
            return Err(peer_gone(stream, false).await);
        }
        let kind = if is_produce { Kind::Produce } else { Kind::Other };
        let step = if arrived < SECOND_READ_BYTES { SECOND_READ_BYTES } else { THIRD_READ_BYTES.max(2 * arrived) };
        let room = step.min(whole);
        let lease = self.lease.get_or_insert_with(|| plane.memory(kind).lease(peer));
        if !lease.try_grow(room, whole) {
            peer.activity.does_not_receive();
            peer.activity.crowded(true);
            tokio::select! {
                biased;
                () = lease.grow(room, whole) => {}
                gone = peer_gone(stream, true) => return Err(gone),
            }
            peer.activity.moved(plane.now_ms());
        }
        peer.activity.crowded(false);
        Ok(room)
    }

    /// Makes a buffer that large, exactly: what is received is never more than what was taken for it.
    fn reach(&mut self, needed: usize) {
        if self.bytes.capacity() < needed {
            let mut larger = BytesMut::with_capacity(needed.max(FIRST_READ_BYTES));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
    }
}

/// How long a frame may be that begins like this. Only records make a request long; which API it is, is known
/// once its key has arrived.
fn limit_of(begin: &[u8], limits: &Limits) -> (usize, &'static str) {
    let key_has_come = begin.len() >= size_of::<i16>();
    if key_has_come && !dispatch::is_produce(begin) && limits.control_frame_bytes_max < limits.frame_bytes_max {
        return (limits.control_frame_bytes_max, "ottla.control.frame.bytes.max");
    }
    (limits.frame_bytes_max, "socket.request.max.bytes")
}
