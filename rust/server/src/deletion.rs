//! What becomes of the files of deleted topics.

use std::sync::Arc;

use ottla_log::Partition;
use ottla_log::partition::Deletion;
use tracing::error;

use crate::engine::Engine;
use crate::image::Topic;

impl Engine {
    /// Takes the topics' partitions out of the checkpoints, removes their files, and takes them out again: a checkpoint written
    /// in between must not tell a successor of that name where its predecessor started. All together: each step waits for the disk.
    pub(crate) fn delete(&self, topics: &[Arc<Topic>]) {
        if topics.is_empty() {
            return;
        }
        self.forget(topics);
        let states = topics.iter().flat_map(|topic| &topic.partitions);
        let deletions: Vec<Deletion> = states.filter_map(|state| state.replica.delete()).collect();
        for (path, failure) in Partition::delete_all(&self.host, &deletions) {
            error!("cannot delete the files in {}: {failure}", path.display());
        }
        self.forget(topics);
    }

    fn forget(&self, topics: &[Arc<Topic>]) {
        let partitions: Vec<(&str, i32)> =
            topics.iter().flat_map(|topic| topic.partitions.iter().map(|state| (&*topic.name, state.index))).collect();
        for directory in self.inner.directories() {
            if let Err(failure) = directory.forget(&partitions) {
                let count = topics.len();
                error!("{count} deleted topics stay in the checkpoints of {}: {failure}", directory.path().display());
            }
        }
    }
}
