//! ListOffsets (key 2), versions 1-11.
//!
//! Version notes: 2 isolation level; 4 leader epochs; 6 flexible; 7 max timestamp (KIP-734); 8 earliest local
//! (KIP-405); 9 latest tiered (KIP-1005); 10 a time-out; 11 earliest pending upload (KIP-1023).

use super::allowance::{Allowance, Element, list_bytes_min, name_bytes_min, tags_bytes_min};
use super::{Out, Written};
use crate::wire::{Error, Reader};

pub const FIRST_FLEXIBLE: i16 = 6;
pub const LATEST: i64 = -1;
pub const EARLIEST: i64 = -2;
pub const MAX_TIMESTAMP: i64 = -3;
pub const EARLIEST_LOCAL: i64 = -4;
pub const LATEST_TIERED: i64 = -5;
pub const EARLIEST_PENDING_UPLOAD: i64 = -6;

#[derive(Debug)]
pub struct ListOffsetsRequest<'a> {
    pub replica_id: i32,
    pub isolation_level: i8,
    pub topics: Vec<(&'a str, Vec<Question>)>,
}

#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub partition: i32,
    pub current_leader_epoch: i32,
    /// Milliseconds, or one of the negative constants above.
    pub timestamp: i64,
}

#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub partition: i32,
    pub error_code: i16,
    pub timestamp: i64,
    pub offset: i64,
    pub leader_epoch: i32,
}

/// Whether `timestamp` means something in `version`; Kafka answers UNSUPPORTED_VERSION otherwise.
#[must_use]
pub fn is_known_timestamp(timestamp: i64, version: i16) -> bool {
    match timestamp {
        MAX_TIMESTAMP => version >= 7,
        EARLIEST_LOCAL => version >= 8,
        LATEST_TIERED => version >= 9,
        EARLIEST_PENDING_UPLOAD => version >= 11,
        _ => timestamp >= EARLIEST,
    }
}

impl<'a> ListOffsetsRequest<'a> {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// The frame is cut short, or holds what this version cannot.
    pub fn read(reader: &mut Reader<'a>, version: i16) -> Result<Self, Error> {
        let flexible = version >= FIRST_FLEXIBLE;
        let replica_id = reader.i32("replica_id")?;
        let isolation_level = if version >= 2 { reader.i8("isolation_level")? } else { 0 };
        let topic_element = Element {
            name: "topics",
            bytes_min: name_bytes_min(flexible) + list_bytes_min(flexible) + tags_bytes_min(flexible),
            weight: 128,
        };
        let question_element = Element {
            name: "partitions",
            bytes_min: 12 + if version >= 4 { 4 } else { 0 } + tags_bytes_min(flexible),
            weight: 192,
        };
        let topics = Allowance::of(reader, flexible).list(reader, topic_element, |allowance, reader| {
            let name = reader.string(flexible, "name")?;
            let questions = allowance.list(reader, question_element, |_, reader| {
                let partition = reader.i32("partition_index")?;
                let current_leader_epoch = if version >= 4 { reader.i32("current_leader_epoch")? } else { -1 };
                let timestamp = reader.i64("timestamp")?;
                reader.skip_tags(flexible)?;
                Ok(Question { partition, current_leader_epoch, timestamp })
            })?;
            reader.skip_tags(flexible)?;
            Ok((name, questions))
        })?;
        if version >= 10 {
            reader.i32("timeout_ms")?;
        }
        reader.skip_tags(flexible)?;
        Ok(Self { replica_id, isolation_level, topics })
    }
}

/// Writes the body of an answer.
pub fn write_response(writer: &mut Out<'_>, version: i16, topics: &[(&str, Vec<Answer>)]) -> Written {
    let flexible = version >= FIRST_FLEXIBLE;
    if version >= 2 {
        writer.i32(0);
    }
    writer.array(flexible, Some(topics.len()))?;
    for (name, answers) in topics {
        writer.string(flexible, name)?;
        writer.array(flexible, Some(answers.len()))?;
        for answer in answers {
            writer.i32(answer.partition);
            writer.i16(answer.error_code);
            writer.i64(answer.timestamp);
            writer.i64(answer.offset);
            if version >= 4 {
                writer.i32(answer.leader_epoch);
            }
            writer.no_tags(flexible);
        }
        writer.no_tags(flexible);
    }
    writer.no_tags(flexible);
    Ok(())
}
