//! One file per native API.

pub mod api_versions;
mod asked;
pub mod describe_topic_partitions;
pub mod fetch;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;

use ottla_protocol::wire::{Error, Reader};

use crate::dispatch::RequestInfo;
use crate::error_code::ErrorCode;
use crate::image::PartitionState;

/// A reader that stands at the body of a request and counts positions from the frame's start. Bytes behind the last
/// field are ignored, as Kafka does.
fn body<'a>(frame: &'a [u8], info: &RequestInfo) -> Result<Reader<'a>, Error> {
    let mut reader = Reader::new(frame);
    reader.take(info.body_start, "request header")?;
    Ok(reader)
}

/// Checks the leader epoch a client believes in (KIP-320).
fn check_leader_epoch(partition: &PartitionState, current_leader_epoch: i32) -> Result<(), ErrorCode> {
    match current_leader_epoch {
        -1 => Ok(()),
        epoch if epoch < partition.leader_epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
        epoch if epoch > partition.leader_epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
        _ => Ok(()),
    }
}

/// Authorized operations as a bit set, every bit set: there is no authorizer. Bits by Kafka's `AclOperation` codes.
pub const ALL_TOPIC_OPERATIONS: i32 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
pub const ALL_CLUSTER_OPERATIONS: i32 = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
/// Says "not asked for".
pub const OPERATIONS_OMITTED: i32 = i32::MIN;
