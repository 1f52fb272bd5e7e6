//! The one way up: what the native data plane asks of the control plane.
//!
//! Everything that is not served natively goes through [`ControlPlane`]; the data plane never learns who implements
//! it. The number of questions under way is bounded by the number of connections: a connection has at most one
//! request that is not a Produce in work, and its frame is bounded by `ottla.control.frame.bytes.max`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

/// Who is at the other end of a connection; made once, when it is accepted.
#[derive(Debug)]
pub struct Peer {
    pub connection_id: u64,
    pub host: IpAddr,
    /// Name of the listener it came in by; answers name the brokers' addresses on that listener.
    pub listener: Arc<str>,
}

impl Peer {
    #[must_use]
    pub fn new(connection_id: u64, host: IpAddr, listener: Arc<str>) -> Self {
        Self { connection_id, host, listener }
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
    /// Takes the encoded response body; dropped without one, the connection is closed.
    pub reply: oneshot::Sender<Vec<u8>>,
}

/// May a producer write its first transactional batch to these partitions? (KIP-890)
pub struct TransactionQuestion {
    pub transactional_id: String,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub partitions: Vec<(Arc<str>, i32)>,
    /// 12 and later: the partitions are to be added (v2); earlier: they must have been added (v1).
    pub produce_version: i16,
    /// Takes Kafka's error code; 0 allows the write.
    pub reply: oneshot::Sender<i16>,
}

/// What the data plane asks of the control plane. Calls return at once; answers come through the reply slots.
pub trait ControlPlane: Send + Sync + 'static {
    /// Serve a request that has no native handler.
    fn serve(&self, request: ControlRequest);
    /// Create topics that a Metadata request named and that do not exist; answers (name, error code) for each.
    fn create_topics(&self, names: Vec<String>, reply: oneshot::Sender<Vec<(String, i16)>>);
    /// Decide on the first batch of a transaction on some partitions.
    fn verify_transaction(&self, question: TransactionQuestion);
    /// A connection ended.
    fn disconnected(&self, connection_id: u64);
}
