//! Requests: random values, written by the codec, read natively.

use ottla_protocol::codec::{Value, ValueSource, encode};
use ottla_protocol::native::{
    api_versions, describe_topic_partitions, fetch, list_offsets, metadata, offset_for_leader_epoch, produce,
};
use ottla_protocol::schema::by_name;
use ottla_protocol::wire::{Reader, Writer};
use proptest::prelude::*;

use crate::seen::{Chance, Seen, structure};

/// A random request of each version, as bytes and as a value.
fn each_request(name: &str, seed: u64, mut check: impl FnMut(i16, &[u8], Seen<'_>)) {
    let message = by_name(name).unwrap();
    for version in message.versions.low..=message.versions.high {
        let value = structure(&mut Chance(seed | 1), message.root(), version);
        let mut bytes = Vec::new();
        encode(message, version, &&value, &ValueSource::of(&value), &mut Writer::new(&mut bytes)).unwrap();
        check(version, &bytes, Seen { shape: message.root(), value: &value });
        // Cut anywhere it is an error, never a panic.
        for end in 0..bytes.len() {
            let _ = read_any(name, version, &bytes[..end]);
        }
    }
}

fn read_any(name: &str, version: i16, bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    match name {
        "ProduceRequest" => produce::ProduceRequest::read(&mut reader, version).is_ok(),
        "FetchRequest" => fetch::FetchRequest::read(&mut reader, version).is_ok(),
        "ListOffsetsRequest" => list_offsets::ListOffsetsRequest::read(&mut reader, version).is_ok(),
        "MetadataRequest" => metadata::MetadataRequest::read(&mut reader, version).is_ok(),
        "OffsetForLeaderEpochRequest" => offset_for_leader_epoch::read_request(&mut reader, version).is_ok(),
        "ApiVersionsRequest" => api_versions::read_request(&mut reader, version).is_ok(),
        _ => describe_topic_partitions::DescribeTopicPartitionsRequest::read(&mut reader).is_ok(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Produce: names, ids, and where the records lie.
    #[test]
    fn produce_requests(seed: u64) {
        each_request("ProduceRequest", seed, |version, bytes, seen| {
            let mut reader = Reader::new(bytes);
            let read = match produce::ProduceRequest::read(&mut reader, version) {
                Ok(read) => read,
                // A name may be null in no version; the generator makes none.
                Err(error) => panic!("v{version}: {error}"),
            };
            assert_eq!(reader.remaining(), 0);
            assert_eq!(read.transactional_id, seen.text("transactional_id"));
            assert_eq!((i64::from(read.acks), i64::from(read.timeout_ms)), (seen.int("acks"), seen.int("timeout_ms")));
            let topics = seen.list("topic_data").unwrap();
            assert_eq!(read.topics.len(), topics.len());
            for (read, seen) in read.topics.iter().zip(topics) {
                assert_eq!(read.topic, seen.topic("name", version >= 13));
                for (read, seen) in read.partitions.iter().zip(seen.list("partition_data").unwrap()) {
                    assert_eq!(i64::from(read.index), seen.int("index"));
                    let records = read.records.clone().map(|range| Value::Bytes(bytes[range].to_vec()));
                    assert_eq!(&records.unwrap_or(Value::Null), seen.field("records").1);
                }
            }
        });
    }

    /// Fetch: sessions, epochs, forgotten partitions, the follower's tag.
    #[test]
    fn fetch_requests(seed: u64) {
        each_request("FetchRequest", seed, |version, bytes, seen| {
            let mut reader = Reader::new(bytes);
            let read = fetch::FetchRequest::read(&mut reader, version).unwrap();
            assert_eq!(reader.remaining(), 0);
            let replica = if version >= 15 { seen.nested("replica_state").unwrap() } else { seen };
            assert_eq!(i64::from(read.replica_id), replica.int("replica_id"));
            for (read, name) in [
                (read.max_wait_ms, "max_wait_ms"),
                (read.min_bytes, "min_bytes"),
                (read.max_bytes, "max_bytes"),
                (read.session_id, "session_id"),
                (read.session_epoch, "session_epoch"),
            ] {
                assert_eq!(i64::from(read), seen.int(name), "{name} v{version}");
            }
            assert_eq!(i64::from(read.isolation_level), seen.int("isolation_level"));
            for (read, seen) in read.topics.iter().zip(seen.list("topics").unwrap()) {
                assert_eq!(read.topic, seen.topic("topic", version >= 13));
                for (read, seen) in read.partitions.iter().zip(seen.list("partitions").unwrap()) {
                    assert_eq!(i64::from(read.partition), seen.int("partition"));
                    assert_eq!(i64::from(read.current_leader_epoch), seen.int("current_leader_epoch"));
                    assert_eq!(read.fetch_offset, seen.int("fetch_offset"));
                    assert_eq!(i64::from(read.last_fetched_epoch), seen.int("last_fetched_epoch"));
                    assert_eq!(i64::from(read.max_bytes), seen.int("partition_max_bytes"));
                }
            }
            let forgotten = seen.list("forgotten_topics_data").unwrap_or_default();
            assert_eq!(read.forgotten.len(), forgotten.len());
            for ((topic, partitions), seen) in read.forgotten.iter().zip(forgotten) {
                assert_eq!(*topic, seen.topic("topic", version >= 13));
                let partitions: Vec<i64> = partitions.iter().map(|p| i64::from(*p)).collect();
                assert_eq!(partitions, seen.ints("partitions").unwrap());
            }
        });
    }

    /// ListOffsets and OffsetForLeaderEpoch: questions by topic.
    #[test]
    fn offset_requests(seed: u64) {
        each_request("ListOffsetsRequest", seed, |version, bytes, seen| {
            let mut reader = Reader::new(bytes);
            let read = list_offsets::ListOffsetsRequest::read(&mut reader, version).unwrap();
            assert_eq!(reader.remaining(), 0);
            assert_eq!(i64::from(read.isolation_level), seen.int("isolation_level"));
            for ((name, questions), seen) in read.topics.iter().zip(seen.list("topics").unwrap()) {
                assert_eq!(Some(*name), seen.text("name"));
                for (read, seen) in questions.iter().zip(seen.list("partitions").unwrap()) {
                    assert_eq!(i64::from(read.partition), seen.int("partition_index"));
                    assert_eq!(i64::from(read.current_leader_epoch), seen.int("current_leader_epoch"));
                    assert_eq!(read.timestamp, seen.int("timestamp"));
                }
            }
        });
        each_request("OffsetForLeaderEpochRequest", seed, |version, bytes, seen| {
            let mut reader = Reader::new(bytes);
            let read = offset_for_leader_epoch::read_request(&mut reader, version).unwrap();
            assert_eq!(reader.remaining(), 0);
            for ((name, questions), seen) in read.iter().zip(seen.list("topics").unwrap()) {
                assert_eq!(Some(*name), seen.text("topic"));
                for (read, seen) in questions.iter().zip(seen.list("partitions").unwrap()) {
                    assert_eq!(i64::from(read.partition), seen.int("partition"));
                    assert_eq!(i64::from(read.current_leader_epoch), seen.int("current_leader_epoch"));
                    assert_eq!(i64::from(read.leader_epoch), seen.int("leader_epoch"));
                }
            }
        });
    }

    /// Metadata: all topics, by name and by id; DescribeTopicPartitions and ApiVersions.
    #[test]
    fn metadata_requests(seed: u64) {
        each_request("MetadataRequest", seed, |version, bytes, seen| {
            let mut reader = Reader::new(bytes);
            let read = metadata::MetadataRequest::read(&mut reader, version).unwrap();
            assert_eq!(reader.remaining(), 0);
            let topics = seen.list("topics").filter(|topics| version > 0 || !topics.is_empty());
            assert_eq!(read.topics.is_none(), topics.is_none(), "v{version}");
            for (read, seen) in read.topics.iter().flatten().zip(topics.unwrap_or_default()) {
                assert_eq!(read.name, seen.text("name"));
                assert_eq!(read.topic_id, seen.uuid("topic_id"));
            }
            assert_eq!(read.allow_auto_topic_creation, seen.bool("allow_auto_topic_creation"));
            let asked = (read.include_cluster_authorized_operations, read.include_topic_authorized_operations);
            let names = ["include_cluster_authorized_operations", "include_topic_authorized_operations"];
            assert_eq!(asked, (seen.bool(names[0]), seen.bool(names[1])));
        });
        each_request("DescribeTopicPartitionsRequest", seed, |_, bytes, seen| {
            let mut reader = Reader::new(bytes);
            let read = describe_topic_partitions::DescribeTopicPartitionsRequest::read(&mut reader).unwrap();
            assert_eq!(reader.remaining(), 0);
            let names: Vec<_> = seen.list("topics").unwrap().iter().map(|topic| topic.text("name").unwrap()).collect();
            assert_eq!(read.topics, names);
            let cursor = seen.nested("cursor").map(|c| (c.text("topic_name").unwrap(), c.int("partition_index")));
            assert_eq!(read.cursor.map(|c| (c.topic, i64::from(c.partition))), cursor);
        });
        each_request("ApiVersionsRequest", seed, |version, bytes, seen| {
            let mut reader = Reader::new(bytes);
            let (name, software) = api_versions::read_request(&mut reader, version).unwrap();
            assert_eq!(reader.remaining(), 0);
            assert_eq!(Some(name), seen.text("client_software_name"));
            assert_eq!(Some(software), seen.text("client_software_version"));
        });
    }
}
