//! What a connection may cost. Every bound is a setting; none is a guess in the code.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::rate::Windows;

/// What `queued.max.request.bytes` is where it is not set: Kafka's -1 knows no bound there, which here would let requests
/// fill the memory.
pub const REQUEST_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One part of those is for requests that are no Produce.
const OTHERS_SHARE: usize = 4;

/// Bounds of the data plane, by the Kafka setting each stands for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `socket.request.max.bytes`: a longer frame closes the connection.
    pub frame_bytes_max: usize,
    /// `ottla.control.frame.bytes.max`: the same for every request but Produce: decoded, and answered, they are larger.
    pub control_frame_bytes_max: usize,
    /// `queued.max.requests`: requests that wait for the control plane to pick them up.
    pub queued_requests_max: usize,
    /// `queued.max.request.bytes`: bytes of requests that are received or in work. Of those without records, and of those among
    /// them that wait for the control plane; and of Produce.
    pub queued_bytes_max: usize,
    pub produce_bytes_max: usize,
    /// `ottla.unsent.bytes.max`: bytes of answers that clients do not take.
    pub unsent_bytes_max: usize,
    /// `connections.max.idle.ms`; none: idle connections stay.
    pub idle_max: Option<Duration>,
    /// `max.connections`.
    pub connections_max: usize,
    /// `max.connections.per.ip`, and what `max.connections.per.ip.overrides` says of single hosts.
    pub connections_per_host_max: usize,
    pub connections_of_host_max: HashMap<IpAddr, usize>,
    /// `max.connection.creation.rate`: new connections in a second; none: as many as come.
    pub connection_rate_max: Option<u32>,
    /// `quota.window.num`, `quota.window.size.seconds`: how that rate is measured.
    pub rate_windows: Windows,
    /// `socket.listen.backlog.size`: connections that the kernel keeps until they are accepted.
    pub backlog: u32,
    /// `socket.send.buffer.bytes`, `socket.receive.buffer.bytes`; none: the system's own, which it adapts.
    pub send_buffer_bytes: Option<u32>,
    pub receive_buffer_bytes: Option<u32>,
    /// Topics that one Metadata asks to be created; the rest are answered as unknown, and asked for again (Kafka's
    /// controller refuses more in one go: `ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`).
    pub topics_created_max: usize,
    /// Consecutive Produces of one connection that may wait for their commit at once.
    pub pipelined_produces_max: usize,
    /// `fetch.max.bytes`: no Fetch answer holds more records than this, but for a first batch that is larger alone.
    pub fetch_bytes_max: usize,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_sessions_max: usize,
    /// `max.request.partition.size.limit`: partitions in one DescribeTopicPartitions answer.
    pub described_partitions_max: usize,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// How long `stop` lets answers drain.
    pub drain: Duration,
}

impl Limits {
    /// `queued.max.request.bytes`.
    pub fn set_request_bytes_max(&mut self, bytes: usize) {
        self.queued_bytes_max = bytes / OTHERS_SHARE;
        self.produce_bytes_max = bytes - self.queued_bytes_max;
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 100 * 1024 * 1024,
            control_frame_bytes_max: 8 * 1024 * 1024,
            queued_requests_max: 500,
            queued_bytes_max: REQUEST_BYTES_MAX / OTHERS_SHARE,
            produce_bytes_max: REQUEST_BYTES_MAX - REQUEST_BYTES_MAX / OTHERS_SHARE,
            unsent_bytes_max: 64 * 1024 * 1024,
            idle_max: Some(Duration::from_secs(600)),
            connections_max: usize::MAX,
            connections_per_host_max: usize::MAX,
            connections_of_host_max: HashMap::new(),
            connection_rate_max: None,
            rate_windows: Windows { count: 11, each: Duration::from_secs(1) },
            backlog: 1024,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            topics_created_max: 10_000,
            pipelined_produces_max: 64,
            fetch_bytes_max: 55 * 1024 * 1024,
            fetch_sessions_max: 1000,
            described_partitions_max: 2000,
            auto_create_topics: true,
            drain: Duration::from_secs(5),
        }
    }
}
