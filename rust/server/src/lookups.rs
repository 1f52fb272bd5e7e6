//! Where something lies in a partition, as ListOffsets and OffsetForLeaderEpoch ask.

use ottla_log::Offsets;
use ottla_log::partition::OffsetAt;

use crate::error_code::ErrorCode;
use crate::isolation::Isolation;
use crate::replica::{Replica, off_the_network};

/// A place in a log, as ListOffsets answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub leader_epoch: i32,
}

impl Replica {
    /// # Errors
    /// The partition is deleted or offline.
    pub fn earliest(&self) -> Result<FoundOffset, ErrorCode> {
        Ok(self.live()?.earliest().into())
    }

    /// # Errors
    /// The partition is deleted or offline.
    pub fn latest(&self, isolation: Isolation) -> Result<FoundOffset, ErrorCode> {
        Ok(self.live()?.latest(isolation.bound()).into())
    }

    /// The record with the largest timestamp, if the isolation level shows it (KIP-734).
    ///
    /// # Errors
    /// The partition is deleted or offline.
    pub fn with_max_timestamp(&self, isolation: Isolation) -> Result<Option<FoundOffset>, ErrorCode> {
        let partition = self.live()?;
        let found = off_the_network(|| partition.max_timestamp()).map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)?;
        Ok(shown(found, partition.offsets(), isolation))
    }

    /// The first record not older than `timestamp_ms`, if the isolation level shows it.
    ///
    /// # Errors
    /// The partition is deleted or offline.
    pub fn at_timestamp(&self, timestamp_ms: i64, isolation: Isolation) -> Result<Option<FoundOffset>, ErrorCode> {
        let partition = self.live()?;
        let found =
            off_the_network(|| partition.lookup_timestamp(timestamp_ms)).map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)?;
        Ok(shown(found, partition.offsets(), isolation))
    }

    /// The largest epoch not above `epoch` and where it ends, if the log knows one.
    ///
    /// # Errors
    /// The partition is deleted or offline.
    pub fn end_of_epoch(&self, epoch: i32) -> Result<Option<(i32, i64)>, ErrorCode> {
        let end = self.live()?.end_offset_for_epoch(epoch);
        Ok((end.epoch >= 0).then_some((end.epoch, end.end_offset)))
    }
}

/// What was found, unless it lies past what the isolation level shows (Kafka: the last fetchable offset of
/// `Partition.fetchOffsetForTimestamp`).
fn shown(found: Option<OffsetAt>, offsets: Offsets, isolation: Isolation) -> Option<FoundOffset> {
    let end = match isolation {
        Isolation::ReadUncommitted => offsets.high_watermark,
        Isolation::ReadCommitted => offsets.last_stable,
    };
    found.map(FoundOffset::from).filter(|found| found.offset < end)
}

impl From<OffsetAt> for FoundOffset {
    fn from(at: OffsetAt) -> Self {
        Self { offset: at.offset, timestamp_ms: at.timestamp_ms, leader_epoch: at.leader_epoch.unwrap_or(-1) }
    }
}
