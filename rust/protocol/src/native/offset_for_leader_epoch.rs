//! OffsetForLeaderEpoch (key 23), versions 2-4.
//!
//! Version notes: 3 replica id; 4 flexible.

use super::allowance::{Allowance, Element, list_bytes_min, name_bytes_min, tags_bytes_min};
use super::{Out, Written};
use crate::wire::{Error, Reader};

pub const FIRST_FLEXIBLE: i16 = 4;

#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub partition: i32,
    pub current_leader_epoch: i32,
    pub leader_epoch: i32,
}

#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub error_code: i16,
    pub partition: i32,
    pub leader_epoch: i32,
    pub end_offset: i64,
}

/// Reads the body of a request: questions by topic.
///
/// # Errors
/// The frame is cut short, or holds what this version cannot.
pub fn read_request<'a>(reader: &mut Reader<'a>, version: i16) -> Result<Vec<(&'a str, Vec<Question>)>, Error> {
    let flexible = version >= FIRST_FLEXIBLE;
    if version >= 3 {
        reader.i32("replica_id")?;
    }
    let topic_element = Element {
        name: "topics",
        bytes_min: name_bytes_min(flexible) + list_bytes_min(flexible) + tags_bytes_min(flexible),
        weight: 128,
    };
    let question_element = Element { name: "partitions", bytes_min: 12 + tags_bytes_min(flexible), weight: 192 };
    let topics = Allowance::of(reader, flexible).list(reader, topic_element, |allowance, reader| {
        let name = reader.string(flexible, "topic")?;
        let questions = allowance.list(reader, question_element, |_, reader| {
            let partition = reader.i32("partition")?;
            let current_leader_epoch = reader.i32("current_leader_epoch")?;
            let leader_epoch = reader.i32("leader_epoch")?;
            reader.skip_tags(flexible)?;
            Ok(Question { partition, current_leader_epoch, leader_epoch })
        })?;
        reader.skip_tags(flexible)?;
        Ok((name, questions))
    })?;
    reader.skip_tags(flexible)?;
    Ok(topics)
}

/// Writes the body of an answer.
pub fn write_response(writer: &mut Out<'_>, version: i16, topics: &[(&str, Vec<Answer>)]) -> Written {
    let flexible = version >= FIRST_FLEXIBLE;
    writer.i32(0);
    writer.array(flexible, Some(topics.len()))?;
    for (name, answers) in topics {
        writer.string(flexible, name)?;
        writer.array(flexible, Some(answers.len()))?;
        for answer in answers {
            writer.i16(answer.error_code);
            writer.i32(answer.partition);
            writer.i32(answer.leader_epoch);
            writer.i64(answer.end_offset);
            writer.no_tags(flexible);
        }
        writer.no_tags(flexible);
    }
    writer.no_tags(flexible);
    Ok(())
}
