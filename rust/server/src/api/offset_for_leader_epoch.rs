//! OffsetForLeaderEpoch (23), versions 2-4 (KIP-101, KIP-279, KIP-320).
//!
//! Behavior:
//! - the largest epoch not above the one asked for, and where it ends; -1 and -1 when the log knows none
//! - FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH when the client's current epoch differs from the partition's
//! - UNKNOWN_TOPIC_OR_PARTITION for what does not exist

use std::sync::Arc;

use ottla_protocol::native::offset_for_leader_epoch::{Answer, Question, read_request, write_response};
use ottla_protocol::wire::{Error, Writer};

use crate::dispatch::{Pending, RequestInfo};
use crate::error_code::ErrorCode;
use crate::image::Topic;
use crate::plane::Plane;

const KEY: i16 = 23;

pub fn answer(plane: &Arc<Plane>, info: &RequestInfo, frame: &[u8]) -> Result<Pending, Error> {
    let mut reader = super::body(frame, info)?;
    let topics = read_request(&mut reader, info.version)?;
    let image = plane.engine.image();
    let partitions =
        topics.iter().flat_map(|(name, questions)| questions.iter().map(move |question| (*name, question.partition)));
    if let Some(held_up) = super::held_up(&image, partitions) {
        return Ok(super::when_released(held_up, plane, info, frame, answer));
    }
    let answers: Vec<(&str, Vec<Answer>)> = topics
        .iter()
        .map(|(name, questions)| {
            let topic = image.topic(name);
            (*name, questions.iter().map(|question| answer_one(topic, question)).collect())
        })
        .collect();
    Ok(Pending::made(
        info.reply(KEY, 64, |builder| write_response(&mut Writer::new(builder.buffer()), info.version, &answers)),
    ))
}

fn answer_one(topic: Option<&Arc<Topic>>, question: &Question) -> Answer {
    let mut answer = Answer { error_code: 0, partition: question.partition, leader_epoch: -1, end_offset: -1 };
    match end_of_epoch(topic, question) {
        Ok(Some((leader_epoch, end_offset))) => {
            answer.leader_epoch = leader_epoch;
            answer.end_offset = end_offset;
        }
        Ok(None) => {}
        Err(error) => answer.error_code = error.0,
    }
    answer
}

fn end_of_epoch(topic: Option<&Arc<Topic>>, question: &Question) -> Result<Option<(i32, i64)>, ErrorCode> {
    let partition =
        topic.and_then(|topic| topic.partition(question.partition)).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    super::check_leader_epoch(partition, question.current_leader_epoch)?;
    partition.replica.end_of_epoch(question.leader_epoch)
}
