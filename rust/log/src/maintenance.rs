//! The housekeeping thread.

use std::sync::Arc;

use crate::commit::Host;
use crate::partition::Partition;

/// Kafka's broker settings for its background work, with its defaults.
#[derive(Clone, Debug)]
pub struct MaintenanceConfig {
    /// `log.retention.check.interval.ms`
    pub retention_interval_ms: i64,
    /// `log.flush.scheduler.interval.ms` and `log.flush.offset.checkpoint.interval.ms`
    pub flush_interval_ms: i64,
    pub checkpoint_interval_ms: i64,
    /// `producer.id.expiration.check.interval.ms`
    pub producer_expiry_interval_ms: i64,
}

impl Default for MaintenanceConfig {
    fn default() -> MaintenanceConfig {
        MaintenanceConfig {
            retention_interval_ms: 300_000,
            flush_interval_ms: 1_000,
            checkpoint_interval_ms: 60_000,
            producer_expiry_interval_ms: 600_000,
        }
    }
}

/// Who knows the partitions and the directory they lie in.
pub trait PartitionSource: Send + Sync {
    fn partitions(&self) -> Vec<Arc<Partition>>;
    /// Writes the checkpoints of the data directory, if there is one.
    fn checkpoint(&self, partitions: &[Arc<Partition>]);
}

#[derive(Debug)]
pub struct Maintenance {}

impl Maintenance {
    pub fn start(
        host: &Arc<Host>,
        source: Arc<dyn PartitionSource>,
        config: MaintenanceConfig,
    ) -> Maintenance {
        let _ = (host, source, config);
        Maintenance {}
    }

    /// Ends the thread after the work it is at.
    pub fn stop(self) {}
}
