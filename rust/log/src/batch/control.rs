//! Records that are not data. Their key is version i16, type i16; the value depends on the type:
//!
//! ```text
//! 0 abort, 1 commit     version i16, coordinator epoch i32                     ends a transaction (EndTxnMarker)
//! 2 leader change       version, leader id, voters, granting voters, tags      first batch of an epoch of the metadata log
//! 3 snapshot header     version, timestamp of the last record contained, tags  first batch of a snapshot
//! 4 snapshot footer     version, tags                                          last batch of a snapshot
//! ```
//!
//! The last three are flexible messages: arrays count from 1, and an empty set of tags closes each struct.

use super::BatchHeader;
use super::records::Records;
use super::varint::write_unsigned;

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    Abort,
    Commit,
}

/// Control record types (`ControlRecordType` in Kafka), as far as we write or need to tell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    Abort = 0,
    Commit = 1,
    LeaderChange = 2,
    SnapshotHeader = 3,
    SnapshotFooter = 4,
}

const KEY_VERSION: i16 = 0;
/// EndTxnMarker and the snapshot records have one version.
const BODY_VERSION: i16 = 0;

pub fn key(kind: ControlType) -> [u8; 4] {
    let [a, b] = KEY_VERSION.to_be_bytes();
    let [c, d] = (kind as i16).to_be_bytes();
    [a, b, c, d]
}

/// The type a control record's key names; None for one we do not know, or a key that is none.
pub fn kind_of(key: Option<&[u8]>) -> Option<ControlType> {
    let key = key?;
    match i16::from_be_bytes([*key.get(2)?, *key.get(3)?]) {
        0 => Some(ControlType::Abort),
        1 => Some(ControlType::Commit),
        2 => Some(ControlType::LeaderChange),
        3 => Some(ControlType::SnapshotHeader),
        4 => Some(ControlType::SnapshotFooter),
        _ => None,
    }
}

impl Marker {
    pub fn control_type(self) -> ControlType {
        match self {
            Marker::Abort => ControlType::Abort,
            Marker::Commit => ControlType::Commit,
        }
    }
}

pub fn end_marker_value(coordinator_epoch: i32) -> [u8; 6] {
    let mut value = [0; 6];
    value[..2].copy_from_slice(&BODY_VERSION.to_be_bytes());
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    value
}

/// The marker in a control record, with its coordinator epoch; None when it is another kind or malformed.
pub fn read_end_marker(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<(Marker, i32)> {
    let marker = match kind_of(key)? {
        ControlType::Abort => Marker::Abort,
        ControlType::Commit => Marker::Commit,
        _ => return None,
    };
    let epoch = value?.get(2..6)?;
    Some((marker, i32::from_be_bytes([epoch[0], epoch[1], epoch[2], epoch[3]])))
}

/// The marker in the records of a control batch, which are never compressed; None for any other batch.
pub fn end_marker_of(header: &BatchHeader, records: &[u8]) -> Option<(Marker, i32)> {
    if !header.is_control() {
        return None;
    }
    let record = Records::new(records, header.record_count).next()?.ok()?;
    read_end_marker(record.key, record.value)
}

/// LeaderChangeMessage version 0: one voter, who granted itself the vote.
pub fn leader_change_value(leader_id: i32) -> Vec<u8> {
    let mut value = Vec::with_capacity(24);
    value.extend(BODY_VERSION.to_be_bytes());
    value.extend(leader_id.to_be_bytes());
    for _voters in 0..2 {
        write_unsigned(&mut value, 1 + 1);
        value.extend(leader_id.to_be_bytes());
        write_unsigned(&mut value, 0);
    }
    write_unsigned(&mut value, 0);
    value
}

pub fn snapshot_header_value(last_contained_timestamp_ms: i64) -> Vec<u8> {
    let mut value = BODY_VERSION.to_be_bytes().to_vec();
    value.extend(last_contained_timestamp_ms.to_be_bytes());
    write_unsigned(&mut value, 0);
    value
}

/// The timestamp in a snapshot header.
pub fn read_snapshot_header(value: Option<&[u8]>) -> Option<i64> {
    let mut timestamp = [0; 8];
    timestamp.copy_from_slice(value?.get(2..10)?);
    Some(i64::from_be_bytes(timestamp))
}

pub fn snapshot_footer_value() -> Vec<u8> {
    let mut value = BODY_VERSION.to_be_bytes().to_vec();
    write_unsigned(&mut value, 0);
    value
}
