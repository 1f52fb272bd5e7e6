//! DescribeTopicPartitions (key 75), version 0: topics page by page (KIP-966).

use super::allowance::{Allowance, Element, name_bytes_min, tags_bytes_min};
use super::{Out, Written};
use crate::native::metadata::{PartitionView, write_ids};
use crate::wire::{Error, Reader};

#[derive(Debug)]
pub struct DescribeTopicPartitionsRequest<'a> {
    /// Empty: all topics.
    pub topics: Vec<&'a str>,
    pub response_partition_limit: i32,
    pub cursor: Option<Cursor<'a>>,
}

/// The first partition that a page did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor<'a> {
    pub topic: &'a str,
    pub partition: i32,
}

impl<'a> DescribeTopicPartitionsRequest<'a> {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// The frame is cut short, or holds what this version cannot.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let element = Element { name: "topics", bytes_min: name_bytes_min(true) + tags_bytes_min(true), weight: 96 };
        let topics = Allowance::of(reader, true).list(reader, element, |_, reader| {
            let name = reader.string(true, "name")?;
            reader.skip_tags(true)?;
            Ok(name)
        })?;
        let response_partition_limit = reader.i32("response_partition_limit")?;
        let mut cursor = None;
        if reader.i8("cursor")? >= 0 {
            cursor =
                Some(Cursor { topic: reader.string(true, "topic_name")?, partition: reader.i32("partition_index")? });
            reader.skip_tags(true)?;
        }
        reader.skip_tags(true)?;
        Ok(Self { topics, response_partition_limit, cursor })
    }
}

/// A topic of an answer with those of its partitions that are on the page.
#[derive(Debug)]
pub struct TopicPage<'a> {
    pub error_code: i16,
    pub name: &'a str,
    pub topic_id: [u8; 16],
    pub is_internal: bool,
    pub partitions: Vec<PartitionView<'a>>,
    pub authorized_operations: i32,
}

/// Writes the body of an answer. One replica set is also the eligible one: with a single replica there are no eligible
/// leader replicas outside the ISR, which Kafka writes as empty lists.
pub fn write_response(writer: &mut Out<'_>, topics: &[TopicPage<'_>], next: Option<Cursor<'_>>) -> Written {
    writer.i32(0);
    writer.array(true, Some(topics.len()))?;
    for topic in topics {
        writer.i16(topic.error_code);
        writer.nullable_string(true, Some(topic.name))?;
        writer.uuid(&topic.topic_id);
        writer.bool(topic.is_internal);
        writer.array(true, Some(topic.partitions.len()))?;
        for partition in &topic.partitions {
            writer.i16(partition.error_code);
            writer.i32(partition.index);
            writer.i32(partition.leader);
            writer.i32(partition.leader_epoch);
            write_ids(writer, true, partition.replicas)?;
            write_ids(writer, true, partition.isr)?;
            writer.array(true, Some(0))?;
            writer.array(true, Some(0))?;
            write_ids(writer, true, partition.offline)?;
            writer.no_tags(true);
        }
        writer.i32(topic.authorized_operations);
        writer.no_tags(true);
    }
    match next {
        None => writer.i8(-1),
        Some(cursor) => {
            writer.i8(1);
            writer.string(true, cursor.topic)?;
            writer.i32(cursor.partition);
            writer.no_tags(true);
        }
    }
    writer.no_tags(true);
    Ok(())
}
