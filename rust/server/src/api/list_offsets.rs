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

use std::collections::HashMap;
use std::sync::Arc;

use ottla_protocol::native::list_offsets::{
    Answer, EARLIEST, EARLIEST_LOCAL, EARLIEST_PENDING_UPLOAD, LATEST, LATEST_TIERED, ListOffsetsRequest,
    MAX_TIMESTAMP, Question, is_known_timestamp, write_response,
};
use ottla_protocol::wire::{Error, Writer};

use super::asked::{self, Asked};
use crate::dispatch::{Pending, RequestInfo};
use crate::error_code::ErrorCode;
use crate::image::PartitionState;
use crate::lookups::{FoundOffset, Unanswered};
use crate::plane::Plane;
use crate::replica::{Isolation, Patience};
use crate::walk::WouldWait;

const KEY: i16 = 2;
const NOWHERE: FoundOffset = FoundOffset { offset: -1, timestamp_ms: -1, leader_epoch: -1 };

/// What is asked of one partition, and how.
struct Asking {
    question: Question,
    isolation: Isolation,
    version: i16,
    is_named_twice: bool,
}

pub fn answer(plane: &Arc<Plane>, info: &RequestInfo, frame: &[u8]) -> Result<Pending, Error> {
    let mut reader = super::body(frame, info)?;
    let request = ListOffsetsRequest::read(&mut reader, info.version)?;
    let (isolation, version) = (Isolation::from_wire(request.isolation_level), info.version);
    let mut times: HashMap<(&str, i32), usize> = HashMap::new();
    for (name, questions) in &request.topics {
        questions.iter().for_each(|question| *times.entry((*name, question.partition)).or_default() += 1);
    }
    let topics = request.topics.iter().map(|(name, questions)| {
        // Of those named twice the first is answered.
        let asked = questions.iter().filter_map(|question| {
            let times = times.remove(&(*name, question.partition))?;
            Some(Asking { question: *question, isolation, version, is_named_twice: times > 1 })
        });
        (*name, asked.collect())
    });
    Ok(Asked::new(topics.collect()).answer(plane, info, |info, answers| {
        info.reply(KEY, 64, |builder| write_response(&mut Writer::new(builder.buffer()), info.version, answers))
    }))
}

impl asked::Question for Asking {
    type Answer = Answer;

    fn partition(&self) -> i32 {
        self.question.partition
    }

    fn answer(&self, partition: Option<&PartitionState>, patience: Patience) -> Result<Answer, WouldWait> {
        let (error, found) = match self.find(partition, patience) {
            Ok(found) => (ErrorCode::NONE, found),
            Err(Unanswered::Refused(error)) => (error, NOWHERE),
            Err(Unanswered::WouldWait) => return Err(WouldWait),
        };
        Ok(Answer {
            partition: self.question.partition,
            error_code: error.0,
            timestamp: found.timestamp_ms,
            offset: found.offset,
            leader_epoch: found.leader_epoch,
        })
    }
}

impl Asking {
    fn find(&self, partition: Option<&PartitionState>, patience: Patience) -> Result<FoundOffset, Unanswered> {
        if self.is_named_twice {
            return Err(ErrorCode::INVALID_REQUEST.into());
        }
        let partition = partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        if !is_known_timestamp(self.question.timestamp, self.version) {
            return Err(ErrorCode::UNSUPPORTED_VERSION.into());
        }
        super::check_leader_epoch(partition, self.question.current_leader_epoch)?;
        let (replica, isolation) = (&partition.replica, self.isolation);
        replica.at_once(patience)?;
        let found = match self.question.timestamp {
            LATEST => Some(replica.latest(isolation)?),
            EARLIEST | EARLIEST_LOCAL => Some(replica.earliest()?),
            LATEST_TIERED | EARLIEST_PENDING_UPLOAD => None,
            MAX_TIMESTAMP => replica.with_max_timestamp(isolation, patience)?,
            timestamp_ms => replica.at_timestamp(timestamp_ms, isolation, patience)?,
        };
        Ok(found.unwrap_or(NOWHERE))
    }
}
