//! The one way up: what the native data plane asks of the control plane.
//!
//! Everything that is not served natively goes through [`ControlPlane`]; the data plane never learns who implements
//! it. Every question has a ticket of [`crate::room`], which bounds how many wait to be picked up, and how many bytes;
//! dropping it says that the question was picked up.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::activity::Activity;
use crate::room::Ticket;

/// Who is at the other end of a connection; made once, when it is accepted.
#[derive(Debug)]
pub struct Peer {
    pub connection_id: u64,
    pub host: IpAddr,
    /// Name of the listener it came in by; answers name the brokers' addresses on that listener.
    pub listener: Arc<str>,
    /// Whether the control plane has heard of this connection, and so must hear of its end.
    pub(crate) has_asked: AtomicBool,
    /// What its connection is doing.
    pub(crate) activity: Activity,
}

impl Peer {
    #[must_use]
    pub fn new(connection_id: u64, host: IpAddr, listener: Arc<str>) -> Self {
        Self { connection_id, host, listener, has_asked: AtomicBool::new(false), activity: Activity::default() }
    }
}

/// A request for the control plane: checked header, body still bytes.
pub struct ControlRequest {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<String>,
    pub peer: Arc<Peer>,
    /// When the frame was complete, on the engine's monotonic clock.
    pub received: Duration,
    pub body: Bytes,
    pub ticket: Ticket,
    /// Takes the encoded response body; dropped without one, the connection is closed.
    pub reply: oneshot::Sender<Vec<u8>>,
}

/// May a producer write its first transactional batch to these partitions? (KIP-890)
pub struct TransactionQuestion {
    pub transactional_id: String,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub partitions: Vec<(Arc<str>, i32)>,
    /// The partitions are to be added (v2); else they must have been added (v1).
    pub is_adding: bool,
    pub ticket: Ticket,
    /// Takes Kafka's error code; 0 allows the write.
    pub reply: oneshot::Sender<i16>,
}

/// What the data plane asks of the control plane. Calls return at once; answers come through the reply slots.
pub trait ControlPlane: Send + Sync + 'static {
    /// Serve a request that has no native handler.
    fn serve(&self, request: ControlRequest);
    /// Create topics that a Metadata request named and that do not exist; answers (name, error code) for each.
    fn create_topics(&self, names: Vec<String>, ticket: Ticket, reply: oneshot::Sender<Vec<(String, i16)>>);
    /// Decide on the first batch of a transaction on some partitions.
    fn verify_transaction(&self, question: TransactionQuestion);
    /// A connection that has asked something ended.
    fn disconnected(&self, connection_id: u64);
}
