//! The codec over every message and version: what it writes it reads, and nothing it reads harms it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use common::{Generator, every_version, for_seeds, from_bytes, to_bytes};
use ottla_protocol::codec::{DecodeError, EncodeFault, Value, ValueSource, encode, encode_newest};
use ottla_protocol::schema::{self, by_name};
use ottla_protocol::wire::{ErrorKind, Writer};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

/// decode(encode(x)) is x, and takes all of the bytes.
fn round_trip(seed: u64) -> TestCaseResult {
    let mut generator = Generator::new(seed);
    for (message, version) in every_version() {
        let value = generator.message(message, version);
        let bytes = to_bytes(message, version, &value);
        let (read, length) = from_bytes(message, version, &bytes).unwrap();
        prop_assert_eq!(&read, &value, "{} version {}", message.name, version);
        prop_assert_eq!(length, bytes.len(), "{} version {}", message.name, version);
    }
    Ok(())
}

/// Every cut in the first bytes, where the counts are, and random ones in long messages are errors.
fn truncation(seed: u64) -> TestCaseResult {
    let mut generator = Generator::new(seed);
    for (message, version) in every_version() {
        let value = generator.message(message, version);
        let bytes = to_bytes(message, version, &value);
        let random = (0..8).map(|_| generator.below(bytes.len().max(1) as u64) as usize);
        for cut in (0..64).chain(random).filter(|&cut| cut < bytes.len()) {
            prop_assert!(from_bytes(message, version, &bytes[..cut]).is_err(), "{} v{version} at {cut}", message.name);
        }
    }
    Ok(())
}

/// Bytes changed at random are refused or are another message, which round trips in its turn.
fn damage(seed: u64) -> TestCaseResult {
    let mut generator = Generator::new(seed);
    for (message, version) in every_version() {
        let value = generator.message(message, version);
        let mut bytes = to_bytes(message, version, &value);
        for _ in 0..if bytes.is_empty() { 0 } else { 4 } {
            let place = generator.below(bytes.len() as u64) as usize;
            bytes[place] = [0, 0x7f, 0x80, 0xff, generator.below(256) as u8][generator.below(5) as usize];
            if let Ok((read, _)) = from_bytes(message, version, &bytes) {
                let again = to_bytes(message, version, &read);
                let (reread, _) = from_bytes(message, version, &again).unwrap();
                prop_assert_eq!(to_bytes(message, version, &reread), again, "{} v{}", message.name, version);
            }
        }
    }
    Ok(())
}

/// What is written reads back the same.
#[test]
fn values_round_trip() {
    for_seeds(12, round_trip);
}

/// A message that is cut off anywhere is an error.
#[test]
fn truncated_messages_are_refused() {
    for_seeds(12, truncation);
}

/// Damage does no harm.
#[test]
fn damaged_messages_do_no_harm() {
    for_seeds(12, damage);
}

/// The three of them with many more seeds.
#[test]
#[ignore = "long"]
fn all_of_it_for_long() {
    for_seeds(1000, round_trip);
    for_seeds(300, truncation);
    for_seeds(1000, damage);
}

/// A message of its defaults with some fields set.
fn with(name: &str, fields: &[(&str, Value)]) -> Value {
    let message = by_name(name).unwrap();
    let mut all: Vec<Value> = message.root().fields.iter().map(Value::default_of).collect();
    for (field, value) in fields {
        let place = message.root().fields.iter().position(|known| known.name == *field).unwrap();
        all[place] = value.clone();
    }
    Value::Struct(all)
}

fn fault(name: &str, version: i16, value: &Value) -> EncodeFault<ottla_protocol::codec::Mismatch> {
    let mut out = Vec::new();
    let message = by_name(name).unwrap();
    encode(message, version, &value, &ValueSource::of(value), &mut Writer::new(&mut out)).unwrap_err().fault
}

/// A value a version cannot carry is an error, unless Kafka says that it may be dropped.
#[test]
fn absent_fields_must_be_default_or_ignorable() {
    let text = Value::Str("x".into());
    let strict = with("HeartbeatRequest", &[("group_instance_id", text)]);
    assert_eq!(fault("HeartbeatRequest", 2, &strict), EncodeFault::Absent);
    let ignorable = with("HeartbeatResponse", &[("throttle_time_ms", Value::Int(9))]);
    assert_eq!(to_bytes(by_name("HeartbeatResponse").unwrap(), 0, &ignorable), [0, 0]);
}

/// Null only where the version allows it, in both directions.
#[test]
fn null_is_refused_where_it_is_not_allowed() {
    let null = with("MetadataRequest", &[("topics", Value::Null)]);
    assert_eq!(fault("MetadataRequest", 0, &null), EncodeFault::Null);
    let message = by_name("MetadataRequest").unwrap();
    assert_eq!(to_bytes(message, 1, &null), [0xff; 4]);
    assert!(from_bytes(message, 1, &[0xff; 4]).is_ok());
    let refused = from_bytes(message, 0, &[0xff; 4]).unwrap_err();
    assert!(matches!(refused, DecodeError::Wire { error, .. } if error.kind == ErrorKind::UnexpectedNull), "{refused}");
}

/// Numbers must fit, and unknown versions are refused both ways.
#[test]
fn what_does_not_fit_is_refused() {
    let wide = with("HeartbeatResponse", &[("error_code", Value::Int(0x8000))]);
    assert_eq!(fault("HeartbeatResponse", 4, &wide), EncodeFault::OutOfRange(0x8000));
    assert_eq!(fault("HeartbeatResponse", 5, &with("HeartbeatResponse", &[])), EncodeFault::UnknownVersion);
    let refused = from_bytes(by_name("HeartbeatResponse").unwrap(), -1, &[0; 9]).unwrap_err();
    assert!(matches!(refused, DecodeError::UnknownVersion { version: -1, .. }), "{refused}");
}

/// Five bytes that claim two billion topics end in an error (LIBRARIES.md, trap T1).
#[test]
fn a_huge_count_in_a_small_frame_is_refused() {
    let refused = from_bytes(by_name("MetadataRequest").unwrap(), 0, &[0x7f, 0xff, 0xff, 0xff, 0xb6]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "MetadataRequest version 0: byte 0, reading topics: 2147483647 elements cannot fit into the remaining 1 bytes"
    );
}

/// Tagged fields nobody knows are stepped over; a known one that is longer than its value is an error.
#[test]
fn unknown_tags_are_left_out() {
    let message = by_name("ApiVersionsRequest").unwrap();
    let plain = from_bytes(message, 3, &[2, b'a', 2, b'1', 0]).unwrap();
    assert_eq!(from_bytes(message, 3, &[2, b'a', 2, b'1', 1, 77, 2, 9, 9]).unwrap(), (plain.0, 9));
    let response = by_name("ApiVersionsResponse").unwrap();
    // error 0, no keys, throttle 0, then tag 3 (zk_migration_ready: one byte) with two bytes.
    let refused = from_bytes(response, 3, &[0, 0, 1, 0, 0, 0, 0, 1, 3, 2, 1, 1]).unwrap_err();
    assert!(
        matches!(refused, DecodeError::Wire { error, .. } if error.kind == ErrorKind::TrailingBytes(1)),
        "{refused}"
    );
}

/// A tagged struct that may be null is marked by a uvarint (Kafka: `ConsumerGroupMemberMetadataValue`), and its default is
/// not null but a struct of defaults.
#[test]
fn tagged_structs_may_be_null() {
    let message = by_name("ConsumerGroupMemberMetadataValue").unwrap();
    let tail = |value: &Value| to_bytes(message, 0, value).split_off(11);
    assert_eq!(tail(&with(message.name, &[])), [0]);
    assert_eq!(tail(&with(message.name, &[("classic_member_metadata", Value::Null)])), [1, 0, 1, 0]);
}

/// A record's value is written in the newest classic version that carries it all, as Kafka does.
#[test]
fn records_are_written_for_old_readers() {
    let message = by_name("OffsetCommitValue").unwrap();
    let newest = |fields: &[(&str, Value)]| {
        let value = with("OffsetCommitValue", fields);
        encode_newest(message, &&value, &ValueSource::of(&value), &mut Vec::new()).unwrap()
    };
    assert_eq!(newest(&[]), 3);
    assert_eq!(newest(&[("expire_timestamp", Value::Int(5))]), 1);
    assert_eq!(newest(&[("topic_id", Value::Uuid([7; 16]))]), 4);
    let message = by_name("ConsumerGroupMetadataValue").unwrap();
    let value = with(message.name, &[]);
    assert_eq!(encode_newest(message, &&value, &ValueSource::of(&value), &mut Vec::new()).unwrap(), 0);
}

/// The table has every row of Kafka 4.3.1 that clients see.
#[test]
fn the_client_surface_is_whole() {
    let keys: Vec<i16> = schema::kafka::APIS.iter().map(|api| api.key).collect();
    let expected: Vec<i16> = (0..=3)
        .chain(8..=51)
        .chain([55, 57, 60, 61, 64, 65, 66, 68, 69, 71, 72])
        .chain(74..=81)
        .chain(83..=92)
        .collect();
    assert_eq!(keys, expected);
}
