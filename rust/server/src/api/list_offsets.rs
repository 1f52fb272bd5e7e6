//! ListOffsets (2), versions 1-11.
//!
//! Behavior:
//! - latest is the high watermark, or the last stable offset for read_committed
//! - by time: the first record whose timestamp is not below the one asked for; -1 when there is none, or when it lies
//!   past what the isolation level shows
//! - max timestamp: the record with the largest timestamp; -1 in an empty log, or when it lies past what the isolation
//!   level shows
//! - earliest local is the log start, latest tiered and earliest pending upload are -1: there is no tiered storage
//! - a partition named twice: INVALID_REQUEST, once (Kafka: `duplicatePartitions`)
//! - a negative timestamp the version does not know: UNSUPPORTED_VERSION

use std::collections::HashSet;
use std::sync::Arc;

use ottla_protocol::native::list_offsets::{
    Answer, EARLIEST, EARLIEST_LOCAL, EARLIEST_PENDING_UPLOAD, LATEST, LATEST_TIERED, ListOffsetsRequest,
    MAX_TIMESTAMP, Question, is_known_timestamp, write_response,
};
use ottla_protocol::wire::{Error, Writer};

use crate::crew;
use crate::dispatch::{Pending, RequestInfo};
use crate::error_code::ErrorCode;
use crate::image::Topic;
use crate::plane::Plane;
use crate::replica::{FoundOffset, Isolation};

const KEY: i16 = 2;
const NOWHERE: FoundOffset = FoundOffset { offset: -1, timestamp_ms: -1, leader_epoch: -1 };

pub fn answer(plane: &Arc<Plane>, info: &RequestInfo, frame: &[u8]) -> Result<Pending, Error> {
    let mut reader = super::body(frame, info)?;
    let request = ListOffsetsRequest::read(&mut reader, info.version)?;
    let isolation = Isolation::from_wire(request.isolation_level);
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for (name, questions) in &request.topics {
        for question in questions {
            if !seen.insert((*name, question.partition)) {
                twice.insert((*name, question.partition));
            }
        }
    }
    let image = plane.engine.image();
    let partitions = request
        .topics
        .iter()
        .flat_map(|(name, questions)| questions.iter().map(move |question| (*name, question.partition)));
    if let Some(held_up) = super::held_up(&image, partitions) {
        return Ok(super::when_released(held_up, plane, info, frame, answer));
    }
    crew::open_all(request.topics.iter().flat_map(|(name, questions)| {
        let topic = image.topic(name);
        questions.iter().filter_map(move |question| Some(&topic?.partition(question.partition)?.replica))
    }));
    let mut answers = Vec::with_capacity(request.topics.len());
    for (name, questions) in &request.topics {
        let topic = image.topic(name);
        let of_topic = questions
            .iter()
            // Of those named twice the first is answered.
            .filter(|question| {
                let key = (*name, question.partition);
                !twice.contains(&key) || seen.remove(&key)
            })
            .map(|question| {
                let found = if twice.contains(&(*name, question.partition)) {
                    Err(ErrorCode::INVALID_REQUEST)
                } else {
                    find(topic, question, isolation, info.version)
                };
                let (error, found) = found.map_or_else(|error| (error, NOWHERE), |found| (ErrorCode::NONE, found));
                Answer {
                    partition: question.partition,
                    error_code: error.0,
                    timestamp: found.timestamp_ms,
                    offset: found.offset,
                    leader_epoch: found.leader_epoch,
                }
            })
            .collect();
        answers.push((*name, of_topic));
    }
    Ok(Pending::made(
        info.reply(KEY, 64, |builder| write_response(&mut Writer::new(builder.buffer()), info.version, &answers)),
    ))
}

fn find(
    topic: Option<&Arc<Topic>>,
    question: &Question,
    isolation: Isolation,
    version: i16,
) -> Result<FoundOffset, ErrorCode> {
    let partition =
        topic.and_then(|topic| topic.partition(question.partition)).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    if !is_known_timestamp(question.timestamp, version) {
        return Err(ErrorCode::UNSUPPORTED_VERSION);
    }
    super::check_leader_epoch(partition, question.current_leader_epoch)?;
    let replica = &partition.replica;
    let found = match question.timestamp {
        LATEST => Some(replica.latest(isolation)?),
        EARLIEST | EARLIEST_LOCAL => Some(replica.earliest()?),
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => None,
        MAX_TIMESTAMP => replica.with_max_timestamp(isolation)?,
        timestamp_ms => replica.at_timestamp(timestamp_ms, isolation)?,
    };
    Ok(found.unwrap_or(NOWHERE))
}
