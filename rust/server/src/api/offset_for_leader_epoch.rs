//! OffsetForLeaderEpoch (23), versions 2-4 (KIP-101, KIP-279, KIP-320).
//!
//! Behavior:
//! - the largest epoch not above the one asked for, and where it ends; -1 and -1 when the log knows none
//! - FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH when the client's current epoch differs from the partition's
//! - UNKNOWN_TOPIC_OR_PARTITION for what does not exist

use std::sync::Arc;

use ottla_protocol::native::offset_for_leader_epoch::{Answer, Question, read_request, write_response};
use ottla_protocol::wire::{Error, Writer};

use super::asked::{self, Asked};
use crate::dispatch::{Pending, RequestInfo};
use crate::error_code::ErrorCode;
use crate::image::PartitionState;
use crate::plane::Plane;
use crate::replica::Patience;
use crate::walk::WouldWait;

const KEY: i16 = 23;

pub fn answer(plane: &Arc<Plane>, info: &RequestInfo, frame: &[u8]) -> Result<Pending, Error> {
    let mut reader = super::body(frame, info)?;
    let asked = Asked::new(read_request(&mut reader, info.version)?);
    Ok(asked.answer(plane, info, |info, answers| {
        info.reply(KEY, 64, |builder| write_response(&mut Writer::new(builder.buffer()), info.version, answers))
    }))
}

impl asked::Question for Question {
    type Answer = Answer;

    fn partition(&self) -> i32 {
        self.partition
    }

    fn answer(&self, partition: Option<&PartitionState>, patience: Patience) -> Result<Answer, WouldWait> {
        let mut answer = Answer { error_code: 0, partition: self.partition, leader_epoch: -1, end_offset: -1 };
        if let Some(partition) = partition {
            partition.replica.at_once(patience)?;
        }
        match end_of_epoch(partition, self) {
            Ok(Some((leader_epoch, end_offset))) => {
                answer.leader_epoch = leader_epoch;
                answer.end_offset = end_offset;
            }
            Ok(None) => {}
            Err(error) => answer.error_code = error.0,
        }
        Ok(answer)
    }
}

fn end_of_epoch(partition: Option<&PartitionState>, question: &Question) -> Result<Option<(i32, i64)>, ErrorCode> {
    let partition = partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    super::check_leader_epoch(partition, question.current_leader_epoch)?;
    partition.replica.end_of_epoch(question.leader_epoch)
}
