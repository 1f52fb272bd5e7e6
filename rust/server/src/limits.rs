//! What a connection may cost. Every bound is a setting; none is a guess in the code.

use std::time::Duration;

/// What `queued.max.request.bytes` is where it is not set: Kafka's -1 knows no bound there, which here would let requests
/// of clients long gone fill the memory.
pub const QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bounds of the data plane, by the Kafka setting each stands for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// `socket.request.max.bytes`: a longer frame closes the connection.
    pub frame_bytes_max: usize,
    /// `ottla.control.frame.bytes.max`: the same for every request but Produce: decoded, and answered, they are larger.
    pub control_frame_bytes_max: usize,
    /// `queued.max.requests`: requests that wait for the control plane to pick them up.
    pub queued_requests_max: usize,
    /// `queued.max.request.bytes`: bytes of those requests.
    pub queued_bytes_max: usize,
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

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 100 * 1024 * 1024,
            control_frame_bytes_max: 8 * 1024 * 1024,
            queued_requests_max: 500,
            queued_bytes_max: QUEUED_BYTES_MAX,
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
