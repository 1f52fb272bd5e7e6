//! The first records of many partitions: what they wait for is done side by side. One after the other takes as long as there are partitions.

use super::{ALL_IN_SYNC, Plan};
use crate::crew;
use crate::replica::BatchPeek;

/// Makes the files of those that have none yet. What is going to be refused gets none.
pub(super) fn prepare(plan: &Plan, frame: &[u8]) {
    crew::prepare_all(plan.topics.iter().flat_map(|topic| {
        topic.partitions.iter().filter_map(move |partition| {
            let target = &topic.target;
            let found = target.topic.as_ref()?.partition(partition.answer.index)?;
            if !found.replica.must_be_prepared() {
                return None;
            }
            let records = partition.records.clone().and_then(|range| frame.get(range))?;
            let is_refused = partition.refusal.is_some()
                || target.partition(partition.answer.index).is_err()
                || (plan.acks == ALL_IN_SYNC && target.lacks_replicas(found).is_some());
            (!is_refused && BatchPeek::may_be_taken(records)).then_some(&found.replica)
        })
    }));
}
