//! What exists: the data plane's view of topics, partitions and brokers, published by the control plane by value.
//!
//! A request takes the image once and works on that; a publication swaps in a new one. Nothing here is decided: the
//! control plane folds its metadata log into an image of its own and hands over what changed.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use ottla_protocol::native::api_versions::Features;

use crate::replica::Replica;
use crate::shared_map::SharedMap;

pub type TopicId = [u8; 16];

/// One partition: its state in the cluster and this broker's replica of it.
#[derive(Clone)]
pub struct PartitionState {
    pub index: i32,
    pub leader: i32,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub replica: Arc<Replica>,
}

/// One topic; partitions lie in order of their index, which starts at 0 and has no holes.
pub struct Topic {
    pub name: Arc<str>,
    pub id: TopicId,
    pub is_internal: bool,
    /// `min.insync.replicas`: below it acks=all is refused.
    pub min_insync_replicas: usize,
    pub partitions: Vec<PartitionState>,
    /// What Metadata says of all partitions while each has a leader, encoded when first asked for.
    pub(crate) described: OnceLock<Box<[u8]>>,
}

impl Topic {
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&PartitionState> {
        usize::try_from(index).ok().and_then(|index| self.partitions.get(index))
    }
}

/// A broker and where it is reached, by listener.
#[derive(Clone, Debug)]
pub struct Broker {
    pub id: i32,
    pub rack: Option<String>,
    pub endpoints: HashMap<String, (String, i32)>,
}

/// Everything, at one offset of the metadata log.
#[derive(Default)]
pub struct Image {
    /// Offset of the last metadata record folded in; -1 before the first publication.
    pub offset: i64,
    pub controller_id: i32,
    pub brokers: Vec<Broker>,
    pub features: Features,
    /// By name, in order: DescribeTopicPartitions pages through it.
    pub by_name: SharedMap<Arc<str>, Arc<Topic>>,
    pub by_id: SharedMap<TopicId, Arc<Topic>>,
}

impl Image {
    /// Who waits at a partition that has a new leader epoch, and said which one it knows, looks again: what has taken the place of this image
    /// says so by now.
    pub(crate) fn tell_of_new_epochs(&self, published: &[Arc<Topic>]) {
        for topic in published {
            let Some(known) = self.topic_by_id(&topic.id) else { continue };
            for state in &topic.partitions {
                if known.partition(state.index).is_some_and(|known| known.leader_epoch < state.leader_epoch) {
                    state.replica.waiters().wake_all();
                }
            }
        }
    }

    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    #[must_use]
    pub fn topic_by_id(&self, id: &TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(id)
    }
}

/// A topic as the control plane publishes it.
pub struct TopicUpdate {
    pub name: String,
    pub id: TopicId,
    pub is_internal: bool,
    pub config: ottla_log::PartitionConfig,
    pub min_insync_replicas: usize,
    pub partitions: Vec<PartitionUpdate>,
}

/// A partition as the control plane publishes it.
pub struct PartitionUpdate {
    pub index: i32,
    pub leader: i32,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

/// What changed since the last publication.
pub struct Update {
    pub offset: i64,
    pub controller_id: i32,
    pub brokers: Vec<Broker>,
    pub features: Features,
    pub topics: Vec<TopicUpdate>,
    pub deleted: Vec<TopicId>,
}
