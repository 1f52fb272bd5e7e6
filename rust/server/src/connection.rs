//! One client connection: frames in, answers out, in order.
//!
//! One task owns everything of a connection. It reads a frame, hands it to dispatch, and writes the answers in the
//! order of their requests. Consecutive Produces are appended as they arrive while the acknowledgements of earlier
//! ones are still waited for; any other request is held until everything before it is answered (Kafka mutes a channel
//! for every request; the exception is what lets a producer with `acks=all` fill a group commit). While an answer is
//! written nothing is read: a slow reader costs one answer and no more.
//!
//! At a stop, what was begun is answered, also where the answer waits for a commit or for the control plane, and nothing
//! more is begun. Only what waits for other clients (a Fetch for records, a JoinGroup for members) is cut off: those come
//! back with their request, and lose nothing. Who stops the server bounds the time all this takes.
//!
//! What a connection may hold, and when it ends for doing nothing: `inbox.rs`, `memory.rs`, `unsent.rs`, `activity.rs`.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::activity::{Due, Rules};
use crate::control::Peer;
use crate::dispatch::{self, Outcome, Pending};
use crate::frame::Frame;
use crate::inbox::{Inbox, Receives};
use crate::plane::Plane;
use crate::reply::Reply;
use crate::transport;

/// How long a connection that was answered during a stop stays open, unless the client speaks or goes first. Some clients
/// drop an answer that they read together with the end of the connection (kafka-python 3.0).
const LINGER: Duration = Duration::from_millis(100);

/// Why a connection ended, for the log line and the counters.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("the client closed the connection")]
    ByClient,
    #[error("the broker is stopping")]
    Stopping,
    #[error("it was idle for connections.max.idle.ms")]
    Idle,
    #[error("nothing more of its request came while others wait for memory (queued.max.request.bytes)")]
    RequestStalled,
    #[error("it took nothing of its answer while unsent ones exceed ottla.unsent.bytes.max")]
    AnswerStalled,
    #[error("max.connections was made less than there were")]
    OneTooMany,
    #[error("the frame length {0} is negative")]
    NegativeLength(i32),
    #[error("the frame length {length} exceeds {limit_name} = {limit}")]
    FrameTooLong { length: usize, limit: usize, limit_name: &'static str },
    #[error("{0}")]
    BadRequest(String),
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
}

impl Ended {
    /// Whether the peer misbehaved, which is worth a warning, or merely left.
    fn is_violation(&self) -> bool {
        matches!(self, Self::NegativeLength(_) | Self::FrameTooLong { .. } | Self::BadRequest(_))
    }
}

impl From<Due> for Ended {
    fn from(due: Due) -> Self {
        match due {
            Due::Idle => Self::Idle,
            Due::RequestStalled => Self::RequestStalled,
            Due::AnswerStalled => Self::AnswerStalled,
            Due::OneTooMany => Self::OneTooMany,
        }
    }
}

pub struct Connection {
    stream: TcpStream,
    peer: Arc<Peer>,
    plane: Arc<Plane>,
    inbox: Inbox,
    /// Answers owed, oldest first.
    owed: VecDeque<Pending>,
    /// Whether everything in `owed` lets a Produce start before it is answered.
    is_pipelining: bool,
    /// Whether the request in work waits for a place in the queue to the control plane.
    is_crowded: bool,
    /// Whether the request in work may wait for other clients, and so is not waited for at a stop.
    waits_for_others: bool,
    /// A frame that must wait until `owed` is empty.
    held: Option<Frame>,
    /// Changes to `true` when the server stops.
    stop: watch::Receiver<bool>,
}

enum Event {
    Frame(Option<Frame>),
    Answer(Option<Reply>),
    Stop,
}

impl Connection {
    #[must_use]
    pub fn new(stream: TcpStream, peer: Arc<Peer>, plane: Arc<Plane>, stop: watch::Receiver<bool>) -> Self {
        plane.connections.add(&peer, plane.now_ms());
        Self {
            stream,
            peer,
            plane,
            inbox: Inbox::default(),
            owed: VecDeque::new(),
            is_pipelining: true,
            is_crowded: false,
            waits_for_others: false,
            held: None,
            stop,
        }
    }

    /// Serves the connection until either side ends it.
    pub async fn run(mut self) {
        let ended = self.serve_until_due().await;
        let (id, host, listener) = (self.peer.connection_id, self.peer.host, &self.peer.listener);
        let counters = &self.plane.counters;
        match &ended {
            Ended::Idle => counters.connections_idle.add_one(),
            Ended::RequestStalled | Ended::AnswerStalled => counters.connections_stalled.add_one(),
            _ if ended.is_violation() => counters.violations.add_one(),
            _ => {}
        }
        if ended.is_violation() || matches!(ended, Ended::RequestStalled | Ended::AnswerStalled) {
            warn!("closing connection {id} from {host} on {listener}: {ended}");
        } else {
            debug!("connection {id} from {host} on {listener} ended: {ended}");
        }
        if self.peer.has_asked.load(Ordering::Relaxed) {
            self.plane.control.disconnected(id);
        }
    }

    async fn serve_until_due(&mut self) -> Ended {
        let (peer, plane) = (Arc::clone(&self.peer), Arc::clone(&self.plane));
        let mut serve = std::pin::pin!(self.serve());
        loop {
            tokio::select! {
                biased;
                ended = &mut serve => match ended {
                    Ok(never) => match never {},
                    Err(ended) => return ended,
                },
                () = peer.activity.ended() => {
                    // It may have gone on since.
                    if let Some(due) = Rules::of(&plane).due(&peer.activity) {
                        return due.into();
                    }
                }
            }
        }
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, Ended> {
        let mut stopping = false;
        loop {
            if self.owed.is_empty() {
                if stopping {
                    // Only who was owed something gets here: the last answer has just left.
                    let _ = tokio::time::timeout(LINGER, self.stream.readable()).await;
                    return Err(Ended::Stopping);
                }
                if let Some(frame) = self.held.take() {
                    self.begin(frame).await?;
                    continue;
                }
            }
            let event = match self.next_event(stopping).await? {
                Event::Frame(Some(_)) if self.stop_has_begun() => Event::Stop,
                event => event,
            };
            self.peer.activity.does_not_receive();
            match event {
                Event::Stop if self.waits_for_others || self.owed.is_empty() => return Err(Ended::Stopping),
                Event::Stop => stopping = true,
                Event::Frame(None) => return Err(Ended::ByClient),
                Event::Frame(Some(frame)) => {
                    // While bytes lie in the socket nothing here ever waits: a flood of requests that want no answer
                    // must let the other connections of this thread have their turn.
                    tokio::task::coop::consume_budget().await;
                    let may_pipeline = self.is_pipelining && dispatch::is_produce(&frame);
                    if self.owed.is_empty() || may_pipeline {
                        self.begin(frame).await?;
                    } else {
                        self.held = Some(frame);
                    }
                }
                Event::Answer(answer) => {
                    self.owed.pop_front();
                    if let Some(reply) = answer {
                        transport::send(&self.stream, reply, &self.plane, &self.peer).await?;
                    }
                    self.peer.activity.moved(self.plane.now_ms());
                    if self.owed.is_empty() {
                        self.peer.activity.in_work(false);
                        self.is_pipelining = true;
                        self.is_crowded = false;
                        self.waits_for_others = false;
                        stopping |= self.stop_has_begun();
                    }
                }
            }
        }
    }

    /// Asked before a request is begun: the stop itself is heard of last, after the answers and frames that lie ready.
    fn stop_has_begun(&self) -> bool {
        self.stop.has_changed().unwrap_or(true)
    }

    /// Begins work on a frame, when there is room for what it may be answered.
    async fn begin(&mut self, frame: Frame) -> Result<(), Ended> {
        if self.plane.unsent.is_over() && !dispatch::moves_records(&frame) {
            self.peer.activity.crowded(true);
            let Self { stream, plane, stop, .. } = self;
            tokio::select! {
                biased;
                () = plane.unsent.room() => {}
                gone = peer_gone(stream, true) => return Err(gone),
                _ = stop.wait_for(|stop| *stop) => return Err(Ended::Stopping),
            }
            self.peer.activity.crowded(false);
        }
        self.peer.activity.in_work(true);
        self.begin_now(frame)
    }

    fn begin_now(&mut self, frame: Frame) -> Result<(), Ended> {
        let waits_for_others = dispatch::may_wait_for_others(&frame);
        match dispatch::begin(&self.plane, &self.peer, frame) {
            Outcome::Pipelined(pending) => {
                self.owed.push_back(pending);
                Ok(())
            }
            Outcome::Answer(pending) => {
                self.is_pipelining = false;
                self.waits_for_others = waits_for_others;
                self.is_crowded = matches!(pending, Pending::Crowded(_));
                self.owed.push_back(pending);
                Ok(())
            }
            Outcome::Close(reason) => Err(Ended::BadRequest(reason)),
        }
    }

    async fn next_event(&mut self, stopping: bool) -> Result<Event, Ended> {
        let may_read = self.held.is_none()
            && !self.is_crowded
            && self.owed.len() < self.plane.limits.pipelined_produces_max
            && !stopping;
        let receives = match (self.owed.is_empty(), self.is_pipelining) {
            (true, _) => Receives::Everything,
            (false, true) => Receives::Produce,
            (false, false) => Receives::Small,
        };
        let is_crowded = self.is_crowded;
        let Self { stream, inbox, owed, stop, plane, peer, .. } = self;
        if let Some(front) = owed.front_mut() {
            tokio::select! {
                biased;
                answer = poll_fn(|context| front.poll(context)) => match answer {
                    Ok(answer) => Ok(Event::Answer(answer)),
                    Err(reason) => Err(Ended::BadRequest(reason)),
                },
                frame = inbox.next(stream, plane, peer, receives), if may_read => frame.map(Event::Frame),
                // While nothing is read, a peer that has gone must still be noticed.
                gone = peer_gone(stream, is_crowded), if !may_read => Err(gone),
                _ = stop.wait_for(|stop| *stop), if !stopping => Ok(Event::Stop),
            }
        } else {
            tokio::select! {
                biased;
                frame = inbox.next(stream, plane, peer, receives), if may_read => frame.map(Event::Frame),
                _ = stop.wait_for(|stop| *stop), if !stopping => Ok(Event::Stop),
            }
        }
    }
}

/// Waits until the peer has reset the connection, without reading from it. A peer that has closed its side, perhaps with
/// requests before that, is served first, unless what it asked for has not even found a place to wait: then it must not
/// keep its memory (`PRIORITY` is how tokio tells of a closed side while bytes lie before it).
pub(crate) async fn peer_gone(stream: &TcpStream, is_crowded: bool) -> Ended {
    let error = tokio::io::Interest::ERROR;
    match stream.ready(if is_crowded { error.add(tokio::io::Interest::PRIORITY) } else { error }).await {
        Ok(_) => Ended::ByClient,
        Err(error) => Ended::Io(error),
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.plane.connections.remove(&self.peer);
    }
}
