//! From a frame to whoever answers it.
//!
//! The API table is the control plane's: keys, versions and who serves them are handed down at start. An unknown key
//! or version closes the connection, as Kafka does; only an unknown ApiVersions version is answered (KIP-511).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use ottla_protocol::header::{RequestHeader, response_header_is_flexible};
use ottla_protocol::native::{Written, api_versions};
use ottla_protocol::wire::{Error, Reader};
use tokio::sync::oneshot;

use crate::api;
use crate::control::{ControlRequest, Peer};
use crate::frame::Frame;
use crate::plane::Plane;
use crate::reply::{Reply, ReplyBuilder};
use crate::room::Ticket;

pub const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const OFFSET_FOR_LEADER_EPOCH: i16 = 23;
const JOIN_GROUP: i16 = 11;
const SYNC_GROUP: i16 = 14;
const DESCRIBE_TOPIC_PARTITIONS: i16 = 75;

/// The native APIs; everything else in the table goes up.
pub const NATIVE: [i16; 7] =
    [PRODUCE, FETCH, LIST_OFFSETS, METADATA, api_versions::KEY, OFFSET_FOR_LEADER_EPOCH, DESCRIBE_TOPIC_PARTITIONS];

/// One row of the API table.
#[derive(Clone, Copy, Debug)]
pub struct ApiRow {
    pub key: i16,
    /// What ApiVersions says; below `min_served` for Produce only (KAFKA-18659).
    pub min_advertised: i16,
    pub min_served: i16,
    pub max: i16,
}

/// An answer that is made, or being made.
pub enum Pending {
    Ready(Option<Reply>),
    /// Resolves to the answer, to `None` when the request wants none, or to why the connection must close.
    Later(Pin<Box<dyn Future<Output = Result<Option<Reply>, String>> + Send>>),
    /// The same, but there was no room yet to ask the control plane: nothing is read from this connection meanwhile.
    Crowded(Pin<Box<dyn Future<Output = Result<Option<Reply>, String>> + Send>>),
    /// The connection must close, once everything before it is answered.
    Closed(String),
}

impl Pending {
    /// An answer that was made, or why it could not be.
    #[must_use]
    pub fn made(reply: Result<Option<Reply>, String>) -> Self {
        reply.map_or_else(Self::Closed, Self::Ready)
    }

    /// Asks the control plane with `ask`, once there is room for a question of so many bytes, and answers what `answered`
    /// makes of what comes back.
    pub fn ask(
        plane: &Arc<Plane>,
        peer: &Arc<Peer>,
        bytes: usize,
        ask: impl FnOnce(Ticket) + Send + 'static,
        answered: impl Future<Output = Result<Option<Reply>, String>> + Send + 'static,
    ) -> Self {
        if let Some(ticket) = plane.room.try_enter(bytes) {
            peer.has_asked.store(true, Ordering::Relaxed);
            ask(ticket);
            return Self::later(answered);
        }
        let (room, peer) = (Arc::clone(&plane.room), Arc::clone(peer));
        Self::Crowded(Box::pin(async move {
            let ticket = room.enter(bytes).await?;
            peer.has_asked.store(true, Ordering::Relaxed);
            ask(ticket);
            answered.await
        }))
    }

    pub fn later(future: impl Future<Output = Result<Option<Reply>, String>> + Send + 'static) -> Self {
        Self::Later(Box::pin(future))
    }

    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Reply>, String>> {
        match self {
            Self::Ready(reply) => Poll::Ready(Ok(reply.take())),
            Self::Later(future) | Self::Crowded(future) => future.as_mut().poll(context),
            Self::Closed(reason) => Poll::Ready(Err(std::mem::take(reason))),
        }
    }

    /// The same as a future of its own.
    ///
    /// # Errors
    /// Why the connection must close.
    pub async fn finished(mut self) -> Result<Option<Reply>, String> {
        std::future::poll_fn(|context| self.poll(context)).await
    }
}

/// What becomes of a frame.
pub enum Outcome {
    /// Nothing else of the connection starts before this is answered.
    Answer(Pending),
    /// The next request, if it is a Produce, may start at once: this one has been appended.
    Pipelined(Pending),
    Close(String),
}

/// What every native API knows of its request.
#[derive(Clone)]
pub struct RequestInfo {
    pub version: i16,
    pub correlation_id: i32,
    pub peer: Arc<Peer>,
    /// Where the body starts in the frame.
    pub body_start: usize,
}

impl RequestInfo {
    /// Makes the answer to this request; `capacity` is a guess of its bytes.
    ///
    /// # Errors
    /// It does not fit the protocol (a name, a count, the whole), and the connection must close.
    pub fn reply(
        &self,
        key: i16,
        capacity: usize,
        write: impl FnOnce(&mut ReplyBuilder) -> Written,
    ) -> Result<Option<Reply>, String> {
        let flexible = response_header_is_flexible(key, self.version);
        let mut builder = ReplyBuilder::new(self.correlation_id, flexible, capacity);
        let too_long = |why: &dyn std::fmt::Display| {
            format!("the answer to API key {key} version {} cannot be written: {why}", self.version)
        };
        write(&mut builder).map_err(|error| too_long(&error))?;
        builder.finish().map(Some).ok_or_else(|| too_long(&"it is longer than 2 GiB"))
    }
}

/// Whether the answer to this frame may wait for what other clients do: for records to come, for members to join.
#[must_use]
pub fn may_wait_for_others(frame: &[u8]) -> bool {
    leading_i16(frame, 0).is_some_and(|key| [FETCH, JOIN_GROUP, SYNC_GROUP].contains(&key))
}

/// Whether a frame is of the data plane's own traffic, whose answers hold little memory.
#[must_use]
pub fn moves_records(frame: &[u8]) -> bool {
    leading_i16(frame, 0).is_some_and(|key| [PRODUCE, FETCH].contains(&key))
}

#[must_use]
pub fn is_produce(frame: &[u8]) -> bool {
    frame.first_chunk() == Some(&PRODUCE.to_be_bytes())
}

/// Starts work on a frame.
pub fn begin(plane: &Arc<Plane>, peer: &Arc<Peer>, frame: Frame) -> Outcome {
    plane.counters.requests.add_one();
    let (Some(key), Some(version)) = (leading_i16(&frame, 0), leading_i16(&frame, 2)) else {
        return Outcome::Close(format!("a frame of {} bytes has no request header", frame.len()));
    };
    let Some(row) = plane.row(key) else {
        return Outcome::Close(format!("unknown API key {key} (version {version})"));
    };
    if !(row.min_served..=row.max).contains(&version) {
        if key == api_versions::KEY {
            return api::api_versions::unsupported(plane, peer, &frame);
        }
        return Outcome::Close(format!(
            "API key {key} version {version} is not served; {} to {} are",
            row.min_served, row.max
        ));
    }
    let mut reader = Reader::new(&frame);
    let header = match RequestHeader::read(&mut reader) {
        Ok(header) => header,
        Err(error) => {
            return Outcome::Close(format!("request header of API key {key} version {version}: {error}"));
        }
    };
    let info = RequestInfo {
        version,
        correlation_id: header.correlation_id,
        peer: Arc::clone(peer),
        body_start: reader.position(),
    };
    let outcome = match key {
        PRODUCE => {
            return api::produce::begin(plane, &info, frame).unwrap_or_else(|error| malformed(key, version, &error));
        }
        FETCH => api::fetch::begin(plane, &info, &frame),
        LIST_OFFSETS => api::list_offsets::answer(plane, &info, &frame),
        METADATA => api::metadata::begin(plane, &info, &frame),
        OFFSET_FOR_LEADER_EPOCH => api::offset_for_leader_epoch::answer(plane, &info, &frame),
        DESCRIBE_TOPIC_PARTITIONS => api::describe_topic_partitions::answer(plane, &info, &frame),
        api_versions::KEY => api::api_versions::answer(plane, &info, &frame),
        _ => {
            let client_id = header.client_id.map(str::to_owned);
            return ask_control_plane(plane, key, info, client_id, frame);
        }
    };
    match outcome {
        Ok(pending) => Outcome::Answer(pending),
        Err(error) => malformed(key, version, &error),
    }
}

fn malformed(key: i16, version: i16, error: &Error) -> Outcome {
    Outcome::Close(format!("body of API key {key} version {version}: {error}"))
}

fn leading_i16(frame: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(*frame.get(at..)?.first_chunk()?))
}

fn ask_control_plane(
    plane: &Arc<Plane>,
    key: i16,
    info: RequestInfo,
    client_id: Option<String>,
    frame: Frame,
) -> Outcome {
    let received = plane.engine.monotonic();
    let (reply, answer) = oneshot::channel();
    let (control, peer) = (Arc::clone(&plane.control), Arc::clone(&info.peer));
    let asked = info.clone();
    let bytes = frame.len();
    let ask = move |ticket: Ticket| {
        let (body, lease) = frame.split(asked.body_start);
        control.serve(ControlRequest {
            api_key: key,
            api_version: asked.version,
            correlation_id: asked.correlation_id,
            client_id,
            peer: asked.peer,
            received,
            body,
            ticket: ticket.with(lease),
            reply,
        });
    };
    Outcome::Answer(Pending::ask(plane, &peer, bytes, ask, async move {
        let body: Vec<u8> =
            answer.await.map_err(|_| format!("the control plane refused API key {key} version {}", info.version))?;
        info.reply(key, body.len(), |builder| {
            builder.buffer().extend_from_slice(&body);
            Ok(())
        })
    }))
}
