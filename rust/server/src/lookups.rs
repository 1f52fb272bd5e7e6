//! Where something lies in a partition, as ListOffsets and OffsetForLeaderEpoch ask.

use ottla_log::env::patience::without_waiting;
use ottla_log::partition::OffsetAt;
use ottla_log::{Offsets, Partition, StorageError};

use crate::error_code::ErrorCode;
use crate::isolation::Isolation;
use crate::replica::{Patience, Replica, off_the_network};
use crate::walk::WouldWait;

/// A place in a log, as ListOffsets answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub leader_epoch: i32,
}

/// Why a look-up has no answer.
pub enum Unanswered {
    Refused(ErrorCode),
    /// For the disk; to be asked again by who may.
    WouldWait,
}

impl From<ErrorCode> for Unanswered {
    fn from(error: ErrorCode) -> Self {
        Self::Refused(error)
    }
}

impl From<WouldWait> for Unanswered {
    fn from(_: WouldWait) -> Self {
        Self::WouldWait
    }
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
    /// The partition is deleted or offline, or the disk must be waited for.
    pub fn with_max_timestamp(
        &self,
        isolation: Isolation,
        patience: Patience,
    ) -> Result<Option<FoundOffset>, Unanswered> {
        self.look_up(isolation, patience, |partition| partition.max_timestamp())
    }

    /// The first record not older than `timestamp_ms`, if the isolation level shows it.
    ///
    /// # Errors
    /// The partition is deleted or offline, or the disk must be waited for.
    pub fn at_timestamp(
        &self,
        timestamp_ms: i64,
        isolation: Isolation,
        patience: Patience,
    ) -> Result<Option<FoundOffset>, Unanswered> {
        self.look_up(isolation, patience, |partition| partition.lookup_timestamp(timestamp_ms))
    }

    /// It unpacks a batch as a rule, which keeps no other connection waiting either.
    fn look_up(
        &self,
        isolation: Isolation,
        patience: Patience,
        look: impl Fn(&Partition) -> Result<Option<OffsetAt>, StorageError>,
    ) -> Result<Option<FoundOffset>, Unanswered> {
        let partition = self.live()?;
        let found = off_the_network(|| match patience {
            Patience::None => without_waiting(|| look(partition)),
            Patience::Any => look(partition),
        });
        match found {
            Ok(found) => Ok(shown(found, partition.offsets(), isolation)),
            Err(error) if error.would_wait() => Err(Unanswered::WouldWait),
            Err(_) => Err(ErrorCode::KAFKA_STORAGE_ERROR.into()),
        }
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
