//! Metadata (key 3), versions 0-13, and the parts of its answer that DescribeTopicPartitions shares.
//!
//! Version notes: 0 an empty list means all topics; 1 null means all; 4 auto-creation may be declined; 8 authorized
//! operations; 9 flexible; 10 topic ids in answers; 12 topic ids in requests; 13 a top-level error code.

use super::allowance::{Allowance, Element, name_bytes_min, tags_bytes_min};
use super::{Out, Written};
use crate::wire::{Error, Reader};

pub const FIRST_FLEXIBLE: i16 = 9;

#[derive(Debug)]
pub struct MetadataRequest<'a> {
    /// `None`: all topics.
    pub topics: Option<Vec<RequestedTopic<'a>>>,
    pub allow_auto_topic_creation: bool,
    pub include_cluster_authorized_operations: bool,
    pub include_topic_authorized_operations: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct RequestedTopic<'a> {
    pub topic_id: [u8; 16],
    pub name: Option<&'a str>,
}

impl<'a> MetadataRequest<'a> {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// The frame is cut short, or holds what this version cannot.
    pub fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, Error> {
        let flexible = version >= FIRST_FLEXIBLE;
        let id_bytes = if version >= 10 { 16 } else { 0 };
        let bytes_min = id_bytes + name_bytes_min(flexible) + tags_bytes_min(flexible);
        let element = Element { name: "topics", bytes_min, weight: 128 };
        let mut allowance = Allowance::of(reader, flexible);
        let read_topic = |_: &mut Allowance, reader: &mut Reader<'a>| {
            let topic_id = if version >= 10 { reader.uuid("topic_id")? } else { [0; 16] };
            let name = if version >= 10 {
                reader.nullable_string(flexible, "name")?
            } else {
                Some(reader.string(flexible, "name")?)
            };
            reader.skip_tags(flexible)?;
            Ok(RequestedTopic { topic_id, name })
        };
        let topics = if version == 0 {
            Some(allowance.list(reader, element, read_topic)?).filter(|topics| !topics.is_empty())
        } else {
            allowance.nullable_list(reader, element, read_topic)?
        };
        let allow_auto_topic_creation = version < 4 || reader.bool("allow_auto_topic_creation")?;
        let include_cluster_authorized_operations =
            (8..=10).contains(&version) && reader.bool("include_cluster_authorized_operations")?;
        let include_topic_authorized_operations = version >= 8 && reader.bool("include_topic_authorized_operations")?;
        reader.skip_tags(flexible)?;
        Ok(Self {
            topics,
            allow_auto_topic_creation,
            include_cluster_authorized_operations,
            include_topic_authorized_operations,
        })
    }
}

/// A broker as its clients reach it on one listener.
#[derive(Clone, Debug)]
pub struct BrokerAddress<'a> {
    pub id: i32,
    pub host: &'a str,
    pub port: i32,
    pub rack: Option<&'a str>,
}

/// What stands before the topics.
#[derive(Debug)]
pub struct Head<'a> {
    pub brokers: &'a [BrokerAddress<'a>],
    pub cluster_id: &'a str,
    pub controller_id: i32,
    pub topic_count: usize,
}

/// Writes what stands before the topics; `topic_count` topics must follow, then [`write_end`].
pub fn write_head(writer: &mut Out<'_>, version: i16, head: &Head<'_>) -> Written {
    let flexible = version >= FIRST_FLEXIBLE;
    if version >= 3 {
        writer.i32(0);
    }
    writer.array(flexible, Some(head.brokers.len()))?;
    for broker in head.brokers {
        writer.i32(broker.id);
        writer.string(flexible, broker.host)?;
        writer.i32(broker.port);
        if version >= 1 {
            writer.nullable_string(flexible, broker.rack)?;
        }
        writer.no_tags(flexible);
    }
    if version >= 2 {
        writer.nullable_string(flexible, Some(head.cluster_id))?;
    }
    if version >= 1 {
        writer.i32(head.controller_id);
    }
    writer.array(flexible, Some(head.topic_count))?;
    Ok(())
}

/// What an answer says of a topic before its partitions.
#[derive(Debug)]
pub struct TopicHead<'a> {
    pub error_code: i16,
    pub name: Option<&'a str>,
    pub topic_id: [u8; 16],
    pub is_internal: bool,
    pub partition_count: usize,
}

/// Opens a topic; its partitions must follow, then [`write_topic_end`].
pub fn write_topic(writer: &mut Out<'_>, version: i16, topic: &TopicHead<'_>) -> Written {
    let flexible = version >= FIRST_FLEXIBLE;
    writer.i16(topic.error_code);
    if version >= 12 {
        writer.nullable_string(flexible, topic.name)?;
    } else {
        writer.string(flexible, topic.name.unwrap_or_default())?;
    }
    if version >= 10 {
        writer.uuid(&topic.topic_id);
    }
    if version >= 1 {
        writer.bool(topic.is_internal);
    }
    writer.array(flexible, Some(topic.partition_count))?;
    Ok(())
}

/// A partition as clients see it.
#[derive(Clone, Copy, Debug)]
pub struct PartitionView<'a> {
    pub error_code: i16,
    pub index: i32,
    pub leader: i32,
    pub leader_epoch: i32,
    pub replicas: &'a [i32],
    pub isr: &'a [i32],
    pub offline: &'a [i32],
}

/// Writes one partition.
pub fn write_partition(writer: &mut Out<'_>, version: i16, partition: &PartitionView<'_>) -> Written {
    let flexible = version >= FIRST_FLEXIBLE;
    writer.i16(partition.error_code);
    writer.i32(partition.index);
    writer.i32(partition.leader);
    if version >= 7 {
        writer.i32(partition.leader_epoch);
    }
    write_ids(writer, flexible, partition.replicas)?;
    write_ids(writer, flexible, partition.isr)?;
    if version >= 5 {
        write_ids(writer, flexible, partition.offline)?;
    }
    writer.no_tags(flexible);
    Ok(())
}

pub(crate) fn write_ids(writer: &mut Out<'_>, flexible: bool, ids: &[i32]) -> Written {
    writer.array(flexible, Some(ids.len()))?;
    for id in ids {
        writer.i32(*id);
    }
    Ok(())
}

/// Closes a topic.
pub fn write_topic_end(writer: &mut Out<'_>, version: i16, authorized_operations: i32) -> Written {
    if version >= 8 {
        writer.i32(authorized_operations);
    }
    writer.no_tags(version >= FIRST_FLEXIBLE);
    Ok(())
}

/// Closes the answer.
pub fn write_end(writer: &mut Out<'_>, version: i16, cluster_authorized_operations: i32) -> Written {
    if (8..=10).contains(&version) {
        writer.i32(cluster_authorized_operations);
    }
    if version >= 13 {
        writer.i16(0);
    }
    writer.no_tags(version >= FIRST_FLEXIBLE);
    Ok(())
}
