//! What the control plane asks of partitions on behalf of DeleteRecords and DescribeLogDirs. Both touch the disk: not for a network thread.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_log::segment::names;
use ottla_log::{Partition, ReadError};
use tracing::error;

use crate::engine::Engine;
use crate::error_code::ErrorCode;
use crate::replica::Replica;

/// A partition and the first offset that is to stay; -1 stands for the high watermark.
pub type DeleteBefore = (String, i32, i64);

/// What one data directory holds.
#[derive(Debug)]
pub struct DirectoryUsage {
    pub path: PathBuf,
    pub code: ErrorCode,
    /// Of the file system it lies on: all bytes, and those an ordinary user may still write.
    pub space: Option<(u64, u64)>,
    /// (topic, partition, bytes of its segments).
    pub partitions: Vec<(Arc<str>, i32, u64)>,
}

impl Engine {
    /// Moves the log start of each partition, in the order given: (code, log start after it, -1 with an error). The new starts are on the
    /// disk when this returns (Kafka checkpoints them within a minute: a crash brings records back there). Files go with the next
    /// retention run. Kafka's `ReplicaManager.deleteRecordsOnLocalLog`.
    pub fn delete_records(&self, wanted: &[DeleteBefore]) -> Vec<(ErrorCode, i64)> {
        let mut moved: Vec<Arc<Partition>> = Vec::new();
        let mut results: Vec<(ErrorCode, i64)> = wanted
            .iter()
            .map(|(topic, index, offset)| match self.delete_before(topic, *index, *offset, &mut moved) {
                Ok(log_start) => (ErrorCode::NONE, log_start),
                Err(code) => (code, -1),
            })
            .collect();
        if !moved.is_empty()
            && let Err(failure) = self.checkpoint(&moved)
        {
            error!("records were deleted, but a crash may bring them back: {failure}");
            for (code, log_start) in results.iter_mut().filter(|(code, _)| *code == ErrorCode::NONE) {
                (*code, *log_start) = (ErrorCode::KAFKA_STORAGE_ERROR, -1);
            }
        }
        results
    }

    fn delete_before(
        &self,
        topic: &str,
        index: i32,
        offset: i64,
        moved: &mut Vec<Arc<Partition>>,
    ) -> Result<i64, ErrorCode> {
        let image = self.image();
        let topic = image.topic(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let state = topic.partition(index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        if topic.is_internal {
            return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
        }
        if state.leader != self.node_id() {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        let partition = state.replica.live()?;
        if !partition.config().cleanup_policy.delete {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        let log_start = partition.delete_records_before(offset).map_err(|error| match error {
            ReadError::OffsetOutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
            _ => ErrorCode::KAFKA_STORAGE_ERROR,
        })?;
        moved.push(Arc::clone(partition));
        Ok(log_start)
    }

    /// Every data directory with the partitions of users' and internal topics in it; the metadata log is not one, as in Kafka.
    /// Kafka's `ReplicaManager.describeLogDirs`.
    pub fn usage(&self) -> Vec<DirectoryUsage> {
        let disk = self.env().disk();
        let image = self.image();
        let mut found: BTreeMap<PathBuf, DirectoryUsage> = self
            .paths()
            .iter()
            .map(|path| {
                let is_offline = self.directory_failure(path).is_some();
                let (code, space) = match disk.space(path) {
                    Ok(_) if is_offline => (ErrorCode::KAFKA_STORAGE_ERROR, None),
                    Ok(space) => (ErrorCode::NONE, space),
                    Err(failure) => {
                        error!("{} cannot be looked at: {failure}", path.display());
                        (ErrorCode::KAFKA_STORAGE_ERROR, None)
                    }
                };
                (path.clone(), DirectoryUsage { path: path.clone(), code, space, partitions: Vec::new() })
            })
            .collect();
        for state in image.by_name.values().flat_map(|topic| &topic.partitions) {
            let replica = &state.replica;
            if replica.failure().is_some() {
                continue;
            }
            let usage = replica.path().parent().and_then(|directory| found.get_mut(directory));
            if let (Some(usage), Some(bytes)) = (usage, self.size_of(replica)) {
                usage.partitions.push((Arc::clone(replica.topic()), replica.index(), bytes));
            }
        }
        found.into_values().collect()
    }

    /// Bytes of a partition's segments, without opening it for that.
    fn size_of(&self, replica: &Replica) -> Option<u64> {
        if let Some(partition) = replica.opened() {
            return Some(partition.size_bytes());
        }
        match names::segment_bytes_in(self.env().disk().as_ref(), replica.path()) {
            Ok(bytes) => Some(bytes),
            Err(failure) => {
                error!("{} cannot be looked at: {failure}", replica.path().display());
                None
            }
        }
    }
}
