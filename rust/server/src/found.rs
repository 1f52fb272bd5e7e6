//! What lies in the data directories when an engine is opened.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_log::StorageError;
use ottla_log::directory::{DataDirectory, FoundPartition};

pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// A partition directory found at opening, and which data directory it is in.
pub struct Found {
    pub directory: usize,
    pub partition: FoundPartition,
}

/// By topic and partition. More than one place only where a deletion failed: then their topics' ids differ.
pub type FoundPartitions = HashMap<(String, i32), Vec<Found>>;

/// What lies in the directories, and how much in each. Where it cannot be told whose records are right nothing is served: the metadata log
/// in another directory than the first, or a partition in two. As in Kafka.
pub fn find_partitions(directories: &[Arc<DataDirectory>]) -> Result<(FoundPartitions, Vec<usize>), StorageError> {
    let mut found = FoundPartitions::new();
    let mut counts = vec![0; directories.len()];
    for (place, directory) in directories.iter().enumerate() {
        for partition in directory.found()? {
            if partition.topic == METADATA_TOPIC {
                if place > 0 {
                    let what = format!(
                        "the metadata log lies here, and not in {}, the first of log.dirs: was their order changed?",
                        directories[0].path().display()
                    );
                    return Err(StorageError::Invalid { path: partition.path, what });
                }
                continue;
            }
            counts[place] += 1;
            let those = found.entry((partition.topic.clone(), partition.partition)).or_default();
            if let Some(twin) = those.iter().find(|those: &&Found| those.partition.topic_id == partition.topic_id) {
                let what = format!("{} is the same partition: move the wrong one away", twin.partition.path.display());
                return Err(StorageError::Invalid { path: partition.path, what });
            }
            those.push(Found { directory: place, partition });
        }
    }
    Ok((found, counts))
}
