//! Metadata (3), versions 0-13.
//!
//! Behavior:
//! - brokers as clients of this listener reach them
//! - a topic named that does not exist: created where the client and `auto.create.topics.enable` allow it, and answered
//!   once it is there (Apache Kafka answers 3 and creates behind it; a client of ours saves the second round); else
//!   UNKNOWN_TOPIC_OR_PARTITION, or INVALID_TOPIC_EXCEPTION for a name no topic can have
//! - by id: UNKNOWN_TOPIC_ID; one id in the request and no name in it is looked at (the Java client sends an empty name
//!   with each id)
//! - neither a name nor an id, or an id below version 12: the connection closes in Kafka with InvalidRequestException;
//!   here INVALID_REQUEST for that topic
//! - authorized operations only when asked for
//! - a topic named twice, or by name and by id, is answered once
//!
//! Version notes: 0 an empty list is all topics; 10 ids; 12 by id; 11 drops the cluster's operations.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ottla_protocol::native::metadata::{
    BrokerAddress, Head, MetadataRequest, PartitionView, RequestedTopic, TopicHead, write_end, write_head,
    write_partition, write_topic, write_topic_end,
};
use ottla_protocol::native::{Out, Written};
use ottla_protocol::wire::{Error, Writer};
use tokio::sync::oneshot;

use super::{ALL_CLUSTER_OPERATIONS, ALL_TOPIC_OPERATIONS, OPERATIONS_OMITTED};
use crate::dispatch::{Pending, RequestInfo};
use crate::error_code::ErrorCode;
use crate::image::{Image, PartitionState, Topic};
use crate::plane::Plane;
use crate::reply::Reply;

const KEY: i16 = 3;
const NO_ID: [u8; 16] = [0; 16];

/// A request that outlives its frame: it may wait for topics to be created.
struct Question {
    info: RequestInfo,
    /// `None`: all topics.
    topics: Option<Vec<Named>>,
    include_cluster_operations: bool,
    include_topic_operations: bool,
}

enum Named {
    Name(String),
    Id([u8; 16]),
    /// As no version of the protocol allows.
    Wrongly,
}

impl Named {
    fn all(topics: &[RequestedTopic<'_>], version: i16) -> Vec<Self> {
        let by_id = topics.iter().any(|topic| topic.topic_id != NO_ID);
        if by_id && version >= 12 {
            return topics.iter().map(|topic| topic.topic_id).filter(|id| *id != NO_ID).map(Self::Id).collect();
        }
        let named = topics.iter().map(|topic| match topic.name {
            Some(name) if topic.topic_id == NO_ID => Self::Name(name.to_owned()),
            _ => Self::Wrongly,
        });
        named.collect()
    }
}

/// One topic of the answer.
enum Found<'a> {
    Topic(&'a Topic),
    Missing { name: Option<&'a str>, id: [u8; 16], error: ErrorCode },
}

pub fn begin(plane: &Arc<Plane>, info: &RequestInfo, frame: &[u8]) -> Result<Pending, Error> {
    let mut reader = super::body(frame, info)?;
    let request = MetadataRequest::read(&mut reader, info.version)?;
    let image = plane.engine.image();
    let question = Question {
        info: info.clone(),
        topics: request.topics.as_ref().map(|topics| Named::all(topics, info.version)),
        include_cluster_operations: request.include_cluster_authorized_operations,
        include_topic_operations: request.include_topic_authorized_operations,
    };
    let may_create = request.allow_auto_topic_creation && plane.limits.auto_create_topics;
    let missing: BTreeSet<String> = match &question.topics {
        Some(topics) if may_create => topics
            .iter()
            .filter_map(|topic| match topic {
                Named::Name(name) if image.topic(name).is_none() && is_valid_topic_name(name) => Some(name.clone()),
                _ => None,
            })
            .collect(),
        _ => BTreeSet::new(),
    };
    if missing.is_empty() {
        return Ok(Pending::made(question.respond(plane, &image, &[])));
    }
    let missing: Vec<String> = missing.into_iter().take(plane.limits.topics_created_max).collect();
    let bytes: usize = missing.iter().map(|name| name.len() + size_of::<String>()).sum();
    let (reply, created) = oneshot::channel::<Vec<(String, i16)>>();
    let control = Arc::clone(&plane.control);
    let answering = Arc::clone(plane);
    Ok(Pending::ask(
        plane,
        &info.peer,
        bytes,
        move |ticket| control.create_topics(missing, ticket, reply),
        async move {
            let errors = created.await.map_err(|_| "the control plane is gone".to_owned())?;
            let image = answering.engine.image();
            question.respond(&answering, &image, &errors)
        },
    ))
}

/// Kafka's rule for names (`Topic.validate`).
#[must_use]
pub fn is_valid_topic_name(name: &str) -> bool {
    const NAME_BYTES_MAX: usize = 249;
    !name.is_empty()
        && name != "."
        && name != ".."
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
}

/// How a partition looks to a client: without a leader on any live broker it is leaderless.
pub fn view<'a>(image: &Image, partition: &'a PartitionState) -> PartitionView<'a> {
    let has_leader = image.brokers.iter().any(|broker| broker.id == partition.leader);
    PartitionView {
        error_code: if has_leader { 0 } else { ErrorCode::LEADER_NOT_AVAILABLE.0 },
        index: partition.index,
        leader: if has_leader { partition.leader } else { -1 },
        leader_epoch: partition.leader_epoch,
        replicas: &partition.replicas,
        isr: &partition.isr,
        offline: &[],
    }
}

impl Question {
    fn find<'a>(&'a self, image: &'a Image, errors: &[(String, i16)]) -> Vec<Found<'a>> {
        let Some(topics) = &self.topics else {
            return image.by_name.values().map(|topic| Found::Topic(topic)).collect();
        };
        let errors: HashMap<&str, i16> = errors.iter().map(|(name, code)| (&**name, *code)).collect();
        let mut seen = HashSet::new();
        let found = topics.iter().map(|topic| match topic {
            Named::Name(name) => image.topic(name).map_or_else(
                || {
                    let told = errors.get(name.as_str()).map(|code| ErrorCode(*code));
                    let error = match told {
                        Some(error) if error != ErrorCode::NONE => error,
                        _ if !is_valid_topic_name(name) => ErrorCode::INVALID_TOPIC_EXCEPTION,
                        _ => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    };
                    Found::Missing { name: Some(name), id: NO_ID, error }
                },
                |topic| Found::Topic(topic),
            ),
            Named::Id(id) => image
                .topic_by_id(id)
                .map_or(Found::Missing { name: None, id: *id, error: ErrorCode::UNKNOWN_TOPIC_ID }, |topic| {
                    Found::Topic(topic)
                }),
            Named::Wrongly => Found::Missing { name: None, id: NO_ID, error: ErrorCode::INVALID_REQUEST },
        });
        found
            .filter(|found| match found {
                Found::Topic(topic) => seen.insert((Some(&*topic.name), NO_ID)),
                Found::Missing { name, id, .. } => seen.insert((*name, *id)),
            })
            .collect()
    }

    fn respond(&self, plane: &Plane, image: &Image, errors: &[(String, i16)]) -> Result<Option<Reply>, String> {
        let topics = self.find(image, errors);
        self.info.reply(KEY, 256 + 96 * topics.len(), |builder| {
            self.write(plane, image, &topics, &mut Writer::new(builder.buffer()))
        })
    }

    fn write(&self, plane: &Plane, image: &Image, topics: &[Found<'_>], writer: &mut Out<'_>) -> Written {
        let version = self.info.version;
        let brokers: Vec<BrokerAddress<'_>> = image
            .brokers
            .iter()
            .filter_map(|broker| {
                let (host, port) = broker.endpoints.get(&*self.info.peer.listener)?;
                Some(BrokerAddress { id: broker.id, host, port: *port, rack: broker.rack.as_deref() })
            })
            .collect();
        let head = Head {
            brokers: &brokers,
            cluster_id: plane.engine.cluster_id(),
            controller_id: image.controller_id,
            topic_count: topics.len(),
        };
        write_head(writer, version, &head)?;
        for found in topics {
            match found {
                Found::Topic(topic) => {
                    let head = TopicHead {
                        error_code: 0,
                        name: Some(&topic.name),
                        topic_id: topic.id,
                        is_internal: topic.is_internal,
                        partition_count: topic.partitions.len(),
                    };
                    write_topic(writer, version, &head)?;
                    for partition in &topic.partitions {
                        write_partition(writer, version, &view(image, partition))?;
                    }
                    let operations =
                        if self.include_topic_operations { ALL_TOPIC_OPERATIONS } else { OPERATIONS_OMITTED };
                    write_topic_end(writer, version, operations)?;
                }
                Found::Missing { name, id, error } => {
                    let head = TopicHead {
                        error_code: error.0,
                        name: *name,
                        topic_id: *id,
                        is_internal: name.is_some_and(is_internal_name),
                        partition_count: 0,
                    };
                    write_topic(writer, version, &head)?;
                    write_topic_end(writer, version, OPERATIONS_OMITTED)?;
                }
            }
        }
        let operations = if self.include_cluster_operations { ALL_CLUSTER_OPERATIONS } else { OPERATIONS_OMITTED };
        write_end(writer, version, operations)
    }
}

/// Names that are internal before they exist (Kafka: `Topic.isInternal`).
fn is_internal_name(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}
