//! Fetch (key 1), versions 4-18.
//!
//! Version notes: 5 log start offset; 7 sessions (KIP-227); 9 current leader epoch; 11 rack and preferred replica;
//! 12 flexible, last fetched epoch and diverging epoch; 13 topic ids; 15 replica id moves into a tag; 16 node
//! endpoints as a tag; 17 replica directory id and 18 high watermark as tags of a follower.

use super::allowance::{Allowance, Element, list_bytes_min, tags_bytes_min};
use super::{Out, Written};
use crate::native::produce::TopicRef;
use crate::wire::{Error, Reader};

pub const FIRST_FLEXIBLE: i16 = 12;
pub const FIRST_WITH_TOPIC_IDS: i16 = 13;
const REPLICA_STATE_TAG: u32 = 1;
const DIVERGING_EPOCH_TAG: u32 = 0;

#[derive(Debug)]
pub struct FetchRequest<'a> {
    /// -1 for a consumer.
    pub replica_id: i32,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    /// 0 read_uncommitted, 1 read_committed.
    pub isolation_level: i8,
    pub session_id: i32,
    pub session_epoch: i32,
    pub topics: Vec<FetchTopic<'a>>,
    pub forgotten: Vec<(TopicRef<'a>, Vec<i32>)>,
}

#[derive(Debug)]
pub struct FetchTopic<'a> {
    pub topic: TopicRef<'a>,
    pub partitions: Vec<FetchPartition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    pub partition: i32,
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    pub last_fetched_epoch: i32,
    pub max_bytes: i32,
}

fn read_topic<'a>(reader: &mut Reader<'a>, version: i16) -> Result<TopicRef<'a>, Error> {
    TopicRef::read(reader, version >= FIRST_WITH_TOPIC_IDS, version >= FIRST_FLEXIBLE, "topic")
}

/// The smallest partition a version can ask for; [`read_partition`] reads it.
const fn partition_bytes_min(version: i16) -> usize {
    let epochs = if version >= 12 {
        8
    } else if version >= 9 {
        4
    } else {
        0
    };
    let log_start = if version >= 5 { 8 } else { 0 };
    4 + 8 + 4 + epochs + log_start + tags_bytes_min(version >= FIRST_FLEXIBLE)
}

impl<'a> FetchRequest<'a> {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// The frame is cut short, or holds what this version cannot.
    pub fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, Error> {
        let flexible = version >= FIRST_FLEXIBLE;
        let mut replica_id = -1;
        if version <= 14 {
            replica_id = reader.i32("replica_id")?;
        }
        let max_wait_ms = reader.i32("max_wait_ms")?;
        let min_bytes = reader.i32("min_bytes")?;
        let max_bytes = reader.i32("max_bytes")?;
        let isolation_level = reader.i8("isolation_level")?;
        let (mut session_id, mut session_epoch) = (0, -1);
        if version >= 7 {
            session_id = reader.i32("session_id")?;
            session_epoch = reader.i32("session_epoch")?;
        }
        let mut allowance = Allowance::of(reader, flexible);
        let naming = TopicRef::bytes_min(version >= FIRST_WITH_TOPIC_IDS, flexible);
        let topic_bytes_min = naming + list_bytes_min(flexible) + tags_bytes_min(flexible);
        let topic_element = Element { name: "topics", bytes_min: topic_bytes_min, weight: 192 };
        let partition_element = Element { name: "partitions", bytes_min: partition_bytes_min(version), weight: 480 };
        let topics = allowance.list(reader, topic_element, |allowance, reader| {
            let topic = read_topic(reader, version)?;
            let partitions = allowance.list(reader, partition_element, |_, reader| read_partition(reader, version))?;
            reader.skip_tags(flexible)?;
            Ok(FetchTopic { topic, partitions })
        })?;
        let mut forgotten = Vec::new();
        if version >= 7 {
            let topic_element = Element { name: "forgotten_topics_data", ..topic_element };
            let index_element = Element { name: "partitions", bytes_min: 4, weight: 64 };
            forgotten = allowance.list(reader, topic_element, |allowance, reader| {
                let topic = read_topic(reader, version)?;
                let partitions = allowance.list(reader, index_element, |_, reader| reader.i32("partition"))?;
                reader.skip_tags(flexible)?;
                Ok((topic, partitions))
            })?;
        }
        if version >= 11 {
            reader.string(flexible, "rack_id")?;
        }
        if flexible {
            let mut tags = reader.tags()?;
            while let Some((tag, mut value)) = tags.next()? {
                if tag == REPLICA_STATE_TAG && version >= 15 {
                    replica_id = value.i32("replica_state.replica_id")?;
                }
            }
        }
        Ok(Self {
            replica_id,
            max_wait_ms,
            min_bytes,
            max_bytes,
            isolation_level,
            session_id,
            session_epoch,
            topics,
            forgotten,
        })
    }
}

fn read_partition(reader: &mut Reader<'_>, version: i16) -> Result<FetchPartition, Error> {
    let partition = reader.i32("partition")?;
    let current_leader_epoch = if version >= 9 { reader.i32("current_leader_epoch")? } else { -1 };
    let fetch_offset = reader.i64("fetch_offset")?;
    let last_fetched_epoch = if version >= 12 { reader.i32("last_fetched_epoch")? } else { -1 };
    if version >= 5 {
        reader.i64("log_start_offset")?;
    }
    let max_bytes = reader.i32("partition_max_bytes")?;
    reader.skip_tags(version >= FIRST_FLEXIBLE)?;
    Ok(FetchPartition { partition, current_leader_epoch, fetch_offset, last_fetched_epoch, max_bytes })
}

/// Where a follower's log parts from the leader's (KIP-595).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DivergingEpoch {
    pub epoch: i32,
    pub end_offset: i64,
}

/// Everything an answer says of a partition but its records.
#[derive(Clone, Debug)]
pub struct PartitionHead {
    pub partition: i32,
    pub error_code: i16,
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    pub diverging_epoch: Option<DivergingEpoch>,
    /// (producer id, first offset); `None` is null: the isolation level did not ask.
    pub aborted_transactions: Option<Vec<(i64, i64)>>,
}

/// Writes what stands before the topics; `topic_count` topics must follow.
pub fn write_head(writer: &mut Out<'_>, version: i16, error_code: i16, session_id: i32, topic_count: usize) -> Written {
    writer.i32(0);
    if version >= 7 {
        writer.i16(error_code);
        writer.i32(session_id);
    }
    writer.array(version >= FIRST_FLEXIBLE, Some(topic_count))?;
    Ok(())
}

/// Opens a topic; `partition_count` partitions must follow, then [`write_end`].
pub fn write_topic(writer: &mut Out<'_>, version: i16, topic: TopicRef<'_>, partition_count: usize) -> Written {
    match topic {
        TopicRef::Id(id) => writer.uuid(&id),
        TopicRef::Name(name) => writer.string(version >= FIRST_FLEXIBLE, name)?,
    }
    writer.array(version >= FIRST_FLEXIBLE, Some(partition_count))?;
    Ok(())
}

/// Opens a partition up to the length of its records; exactly `record_bytes` must follow, then
/// [`write_partition_end`].
pub fn write_partition(writer: &mut Out<'_>, version: i16, head: &PartitionHead, record_bytes: usize) -> Written {
    let flexible = version >= FIRST_FLEXIBLE;
    writer.i32(head.partition);
    writer.i16(head.error_code);
    writer.i64(head.high_watermark);
    writer.i64(head.last_stable_offset);
    if version >= 5 {
        writer.i64(head.log_start_offset);
    }
    match &head.aborted_transactions {
        None => writer.array(flexible, None)?,
        Some(aborted) => {
            writer.array(flexible, Some(aborted.len()))?;
            for (producer_id, first_offset) in aborted {
                writer.i64(*producer_id);
                writer.i64(*first_offset);
                writer.no_tags(flexible);
            }
        }
    }
    if version >= 11 {
        writer.i32(-1);
    }
    writer.bytes_length(flexible, Some(record_bytes))?;
    Ok(())
}

/// Closes a partition with its tags.
pub fn write_partition_end(writer: &mut Out<'_>, version: i16, head: &PartitionHead) -> Written {
    if version < FIRST_FLEXIBLE {
        return Ok(());
    }
    match head.diverging_epoch {
        None => writer.no_tags(true),
        Some(DivergingEpoch { epoch, end_offset }) => {
            writer.tags(1);
            writer.tag(DIVERGING_EPOCH_TAG, |value| -> Written {
                value.i32(epoch);
                value.i64(end_offset);
                value.no_tags(true);
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Closes a topic, or with it the whole answer.
pub fn write_end(writer: &mut Out<'_>, version: i16) -> Written {
    writer.no_tags(version >= FIRST_FLEXIBLE);
    Ok(())
}
