//! Produce (key 0), versions 3-13.
//!
//! Version notes: 5 log start offset in answers; 8 per-record errors; 9 flexible; 10 current leader and node endpoints
//! as tags; 12 transactions v2 (KIP-890); 13 topic ids (KIP-516).

use std::ops::Range;

use super::allowance::{Allowance, Element, list_bytes_min, name_bytes_min, tags_bytes_min};
use super::{Out, Written};
use crate::wire::{Error, Reader};

pub const FIRST_FLEXIBLE: i16 = 9;
pub const FIRST_WITH_TOPIC_IDS: i16 = 13;

/// How a request names a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicRef<'a> {
    Name(&'a str),
    Id([u8; 16]),
}

impl<'a> TopicRef<'a> {
    pub(super) fn read(
        reader: &mut Reader<'a>,
        by_id: bool,
        flexible: bool,
        name: &'static str,
    ) -> Result<Self, Error> {
        if by_id {
            return Ok(Self::Id(reader.uuid("topic_id")?));
        }
        Ok(Self::Name(reader.string(flexible, name)?))
    }

    pub(super) const fn bytes_min(by_id: bool, flexible: bool) -> usize {
        if by_id { 16 } else { name_bytes_min(flexible) }
    }
}

/// A whole request; names are slices of the frame, records are ranges of it.
#[derive(Debug)]
pub struct ProduceRequest<'a, T = TopicData<'a>> {
    pub transactional_id: Option<&'a str>,
    pub acks: i16,
    pub timeout_ms: i32,
    pub topics: Vec<T>,
}

#[derive(Debug)]
pub struct TopicData<'a> {
    pub topic: TopicRef<'a>,
    pub partitions: Vec<PartitionData>,
}

#[derive(Debug)]
pub struct PartitionData {
    pub index: i32,
    /// Where the records lie in the frame; `None` when they are null.
    pub records: Option<Range<usize>>,
}

impl<'a> ProduceRequest<'a> {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// The frame is cut short, or holds what this version cannot.
    pub fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, Error> {
        ProduceRequest::read_as(reader, version, |data| data, |topic, partitions| TopicData { topic, partitions })
    }
}

impl<'a, T> ProduceRequest<'a, T> {
    /// Reads the body of a request into the caller's own lists: whoever serves thousands a second makes each of them once.
    ///
    /// # Errors
    /// The frame is cut short, or holds what this version cannot.
    pub fn read_as<P>(
        reader: &mut Reader<'a>,
        version: i16,
        mut partition: impl FnMut(PartitionData) -> P,
        mut topic: impl FnMut(TopicRef<'a>, Vec<P>) -> T,
    ) -> Result<Self, Error> {
        let flexible = version >= FIRST_FLEXIBLE;
        let transactional_id = reader.nullable_string(flexible, "transactional_id")?;
        let acks = reader.i16("acks")?;
        let timeout_ms = reader.i32("timeout_ms")?;
        let naming = TopicRef::bytes_min(version >= FIRST_WITH_TOPIC_IDS, flexible);
        let topic_element = Element {
            name: "topic_data",
            bytes_min: naming + list_bytes_min(flexible) + tags_bytes_min(flexible),
            weight: 512,
        };
        let partition_element = Element {
            name: "partition_data",
            bytes_min: 4 + list_bytes_min(flexible) + tags_bytes_min(flexible),
            weight: 384,
        };
        let topics = Allowance::of(reader, flexible).list(reader, topic_element, |allowance, reader| {
            let named = TopicRef::read(reader, version >= FIRST_WITH_TOPIC_IDS, flexible, "name")?;
            let partitions = allowance.list(reader, partition_element, |_, reader| {
                let index = reader.i32("index")?;
                let records = reader.nullable_bytes(flexible, "records")?.map(|records| {
                    let end = reader.position();
                    end - records.len()..end
                });
                reader.skip_tags(flexible)?;
                Ok(partition(PartitionData { index, records }))
            })?;
            reader.skip_tags(flexible)?;
            Ok(topic(named, partitions))
        })?;
        reader.skip_tags(flexible)?;
        Ok(Self { transactional_id, acks, timeout_ms, topics })
    }
}

/// A record that was refused, by its index in the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    pub batch_index: i32,
    pub message: Option<String>,
}

/// The answer for one partition.
#[derive(Clone, Debug)]
pub struct PartitionResponse {
    pub index: i32,
    pub error_code: i16,
    pub base_offset: i64,
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    pub record_errors: Vec<RecordError>,
    pub error_message: Option<String>,
}

impl PartitionResponse {
    /// An answer that says only what went wrong.
    #[must_use]
    pub fn error(index: i32, error_code: i16, error_message: Option<String>) -> Self {
        Self {
            index,
            error_code,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: Vec::new(),
            error_message,
        }
    }
}

/// The answer for one topic.
#[derive(Debug)]
pub struct TopicResponse<'a, P> {
    /// Not written from the version on that names topics by id.
    pub name: &'a str,
    pub topic_id: [u8; 16],
    pub partitions: P,
}

/// Writes the body of an answer.
///
/// # Errors
/// A name or a count is too long for the protocol.
pub fn write_response<'a, P: ExactSizeIterator<Item = &'a PartitionResponse>>(
    writer: &mut Out<'_>,
    version: i16,
    topics: impl ExactSizeIterator<Item = TopicResponse<'a, P>>,
) -> Written {
    let flexible = version >= FIRST_FLEXIBLE;
    writer.array(flexible, Some(topics.len()))?;
    for topic in topics {
        if version >= FIRST_WITH_TOPIC_IDS {
            writer.uuid(&topic.topic_id);
        } else {
            writer.string(flexible, topic.name)?;
        }
        writer.array(flexible, Some(topic.partitions.len()))?;
        for partition in topic.partitions {
            writer.i32(partition.index);
            writer.i16(partition.error_code);
            writer.i64(partition.base_offset);
            writer.i64(partition.log_append_time_ms);
            if version >= 5 {
                writer.i64(partition.log_start_offset);
            }
            if version >= 8 {
                writer.array(flexible, Some(partition.record_errors.len()))?;
                for error in &partition.record_errors {
                    writer.i32(error.batch_index);
                    writer.nullable_string(flexible, error.message.as_deref())?;
                    writer.no_tags(flexible);
                }
                writer.nullable_string(flexible, partition.error_message.as_deref())?;
            }
            writer.no_tags(flexible);
        }
        writer.no_tags(flexible);
    }
    writer.i32(0);
    writer.no_tags(flexible);
    Ok(())
}
