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

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ottla_protocol::native::metadata::{
    BrokerAddress, FIRST_FLEXIBLE, Head, MetadataRequest, PartitionView, RequestedTopic, TopicHead, write_end,
    write_head, write_partition, write_topic, write_topic_end,
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

/// What is asked. The names are those of the frame, or its own if it outlives it: it may wait for topics to be created.
struct Question<'q> {
    info: RequestInfo,
    /// `None`: all topics.
    topics: Option<Vec<Named<'q>>>,
    include_cluster_operations: bool,
    include_topic_operations: bool,
}

enum Named<'q> {
    Name(Cow<'q, str>),
    Id([u8; 16]),
    /// As no version of the protocol allows.
    Wrongly,
}

impl<'q> Named<'q> {
    fn all(topics: &[RequestedTopic<'q>], version: i16) -> Vec<Self> {
        let by_id = topics.iter().any(|topic| topic.topic_id != NO_ID);
        if by_id && version >= 12 {
            return topics.iter().map(|topic| topic.topic_id).filter(|id| *id != NO_ID).map(Self::Id).collect();
        }
        let named = topics.iter().map(|topic| match topic.name {
            Some(name) if topic.topic_id == NO_ID => Self::Name(Cow::Borrowed(name)),
            _ => Self::Wrongly,
        });
        named.collect()
    }

    fn into_owned(self) -> Named<'static> {
        match self {
            Self::Name(name) => Named::Name(Cow::Owned(name.into_owned())),
            Self::Id(id) => Named::Id(id),
            Self::Wrongly => Named::Wrongly,
        }
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
    let found = question.find(&image, &[]);
    let may_create = request.allow_auto_topic_creation && plane.limits.auto_create_topics;
    let missing: BTreeSet<&str> = found.iter().filter(|_| may_create).filter_map(Found::absent).collect();
    if missing.is_empty() {
        return Ok(Pending::made(question.respond(plane, &image, &found)));
    }
    let missing: Vec<String> = missing.into_iter().take(plane.limits.topics_created_max).map(str::to_owned).collect();
    let question = question.into_owned();
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
            question.respond(&answering, &image, &question.find(&image, &errors))
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

fn has_leader(image: &Image, partition: &PartitionState) -> bool {
    image.brokers.iter().any(|broker| broker.id == partition.leader)
}

/// How a partition looks to a client: without a leader on any live broker it is leaderless.
pub fn view<'a>(image: &Image, partition: &'a PartitionState) -> PartitionView<'a> {
    let has_leader = has_leader(image, partition);
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

impl Found<'_> {
    fn partitions(&self) -> usize {
        match self {
            Self::Topic(topic) => topic.partitions.len(),
            Self::Missing { .. } => 0,
        }
    }

    /// Its name, if it is a topic that could be and is not.
    fn absent(&self) -> Option<&str> {
        match self {
            Self::Missing { name, error: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, .. } => *name,
            _ => None,
        }
    }
}

impl Question<'_> {
    fn into_owned(self) -> Question<'static> {
        let topics = self.topics.map(|topics| topics.into_iter().map(Named::into_owned).collect());
        Question {
            info: self.info,
            topics,
            include_cluster_operations: self.include_cluster_operations,
            include_topic_operations: self.include_topic_operations,
        }
    }

    fn find<'a>(&'a self, image: &'a Image, errors: &[(String, i16)]) -> Vec<Found<'a>> {
        let Some(topics) = &self.topics else {
            return image.by_name.values().map(|topic| Found::Topic(topic)).collect();
        };
        let errors: HashMap<&str, i16> = errors.iter().map(|(name, code)| (&**name, *code)).collect();
        let found = topics.iter().map(|topic| match topic {
            Named::Name(name) => image.topic(name).map_or_else(
                || {
                    let told = errors.get(&**name).map(|code| ErrorCode(*code));
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
        let (mut seen, mut missed) = (HashSet::with_capacity(topics.len()), HashSet::new());
        found
            .filter(|found| match found {
                Found::Topic(topic) => seen.insert(std::ptr::from_ref(*topic)),
                Found::Missing { name, id, .. } => missed.insert((*name, *id)),
            })
            .collect()
    }

    fn respond(&self, plane: &Plane, image: &Image, topics: &[Found<'_>]) -> Result<Option<Reply>, String> {
        let partitions: usize = topics.iter().map(Found::partitions).sum();
        self.info.reply(KEY, 256 + 96 * topics.len() + 32 * partitions, |builder| {
            self.write(plane, image, topics, &mut Writer::new(builder.buffer()))
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
                    write_partitions(writer, version, image, topic)?;
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

/// Most answers say the same of a topic again and again: it is encoded once, as long as nothing about it changes. All flexible versions
/// say it alike.
fn write_partitions(writer: &mut Out<'_>, version: i16, image: &Image, topic: &Topic) -> Written {
    let write_all = |writer: &mut Out<'_>| {
        topic.partitions.iter().try_for_each(|partition| write_partition(writer, version, &view(image, partition)))
    };
    // A leader goes and comes with its broker, which is no change of the topic.
    if version < FIRST_FLEXIBLE || !topic.partitions.iter().all(|partition| has_leader(image, partition)) {
        return write_all(writer);
    }
    if let Some(described) = topic.described.get() {
        writer.raw(described);
        return Ok(());
    }
    let begin = writer.position();
    write_all(writer)?;
    let described = Box::from(&writer.buffer()[begin..]);
    let _ = topic.described.set(described);
    Ok(())
}

/// Names that are internal before they exist (Kafka: `Topic.isInternal`).
fn is_internal_name(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}
