//! A data directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::commit::Host;
use crate::error::StorageError;
use crate::partition::{OpenHint, Partition};
use crate::{PartitionConfig, TopicId};

/// A partition directory found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPartition {
    pub topic: String,
    pub partition: i32,
    /// From `partition.metadata`; None when that file is missing.
    pub topic_id: Option<TopicId>,
    pub path: PathBuf,
}

#[derive(Debug)]
pub struct DataDirectory {}

#[allow(clippy::unimplemented, unused_variables)]
impl DataDirectory {
    /// Takes `.lock`, reads or makes `meta.properties` (a missing cluster id is made from `new_cluster_id`), reads the checkpoints.
    pub fn open(
        host: &Arc<Host>,
        path: &Path,
        node_id: i32,
        cluster_id: Option<&str>,
        random: &mut dyn FnMut() -> [u8; 16],
    ) -> Result<DataDirectory, StorageError> {
        unimplemented!()
    }
    pub fn path(&self) -> &Path {
        unimplemented!()
    }
    pub fn cluster_id(&self) -> &str {
        unimplemented!()
    }
    pub fn node_id(&self) -> i32 {
        unimplemented!()
    }
    pub fn directory_id(&self) -> TopicId {
        unimplemented!()
    }
    /// The last owner stopped cleanly.
    pub fn was_clean(&self) -> bool {
        unimplemented!()
    }
    pub fn found(&self) -> Result<Vec<FoundPartition>, StorageError> {
        unimplemented!()
    }
    pub fn partition_path(&self, topic: &str, partition: i32) -> PathBuf {
        unimplemented!()
    }
    pub fn hint(&self, topic: &str, partition: i32) -> OpenHint {
        unimplemented!()
    }
    /// Writes recovery points and log starts of all partitions.
    pub fn checkpoint(&self, partitions: &[Arc<Partition>]) -> Result<(), StorageError> {
        unimplemented!()
    }
    /// After every partition was closed: checkpoints, then the clean-shutdown marker, then the lock is let go.
    pub fn close(self, partitions: &[Arc<Partition>]) -> Result<(), StorageError> {
        unimplemented!()
    }
}

/// Default settings of a partition that has none of its own.
pub fn default_config() -> Arc<PartitionConfig> {
    Arc::new(PartitionConfig::default())
}
