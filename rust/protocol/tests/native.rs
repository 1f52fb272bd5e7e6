//! The native readers and writers against the schema table: the codec writes what they read and reads what they write,
//! for every version served.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

use bytes::BytesMut;
use ottla_protocol::codec::{Budget, Value, ValueSink, ValueSource, decode, encode};
use ottla_protocol::native::produce::{PartitionResponse, RecordError, TopicRef, TopicResponse};
use ottla_protocol::native::{
    Out, Written, api_versions, describe_topic_partitions, fetch, list_offsets, metadata, offset_for_leader_epoch,
    produce,
};
use ottla_protocol::schema::{Field, Kind, Message, Struct, by_name};
use ottla_protocol::wire::{Reader, Writer};
use proptest::prelude::*;

/// A small generator (xorshift64*): values need variety, not quality.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }

    fn integer(&mut self, bits: u32) -> i64 {
        let wide = (self.below(u64::MAX) as i64) >> (64 - bits);
        if self.below(3) == 0 { -1 } else { wide }
    }
}

fn one(chance: &mut Chance, kind: Kind, version: i16) -> Value {
    match kind {
        Kind::Bool => Value::Bool(chance.below(2) == 1),
        Kind::Int8 => Value::Int(chance.integer(8)),
        Kind::Int16 => Value::Int(chance.integer(16)),
        Kind::Uint16 => Value::Int(chance.below(1 << 16) as i64),
        Kind::Int32 => Value::Int(chance.integer(32)),
        Kind::Uint32 => Value::Int(chance.below(1 << 32) as i64),
        Kind::Int64 => Value::Int(chance.integer(64)),
        Kind::Float64 => Value::Float(chance.below(1000) as f64),
        Kind::Uuid => Value::Uuid([chance.below(256) as u8; 16]),
        Kind::Str => Value::Str("x".repeat(chance.below(200) as usize)),
        Kind::Bytes => Value::Bytes(vec![7; chance.below(300) as usize]),
        Kind::Nested(inner) => structure(chance, inner, version),
    }
}

fn structure(chance: &mut Chance, shape: &'static Struct, version: i16) -> Value {
    let value = |field: &'static Field, chance: &mut Chance| {
        if !field.versions.contains(version) {
            return Value::default_of(field);
        }
        if field.nullable.contains(version) && chance.below(4) == 0 {
            return Value::Null;
        }
        if !field.array {
            return one(chance, field.kind, version);
        }
        let count = chance.below(4);
        Value::List((0..count).map(|_| one(chance, field.kind, version)).collect())
    };
    Value::Struct(shape.fields.iter().map(|field| value(field, chance)).collect())
}

/// A value with its shape, so that fields are found by name.
#[derive(Clone, Copy)]
struct Seen<'a> {
    shape: &'static Struct,
    value: &'a Value,
}

impl<'a> Seen<'a> {
    fn field(self, name: &str) -> (&'static Field, &'a Value) {
        let place = self.shape.fields.iter().position(|field| field.name == name);
        let place = place.unwrap_or_else(|| panic!("{} has no {name}", self.shape.name));
        let Value::Struct(values) = self.value else { panic!("{} is not a struct", self.shape.name) };
        (&self.shape.fields[place], &values[place])
    }

    fn int(self, name: &str) -> i64 {
        let Value::Int(value) = self.field(name).1 else { panic!("{name} is not an integer") };
        *value
    }

    fn bool(self, name: &str) -> bool {
        matches!(self.field(name).1, Value::Bool(true))
    }

    fn text(self, name: &str) -> Option<&'a str> {
        match self.field(name).1 {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    fn uuid(self, name: &str) -> [u8; 16] {
        let Value::Uuid(value) = self.field(name).1 else { panic!("{name} is not a uuid") };
        *value
    }

    fn nested(self, name: &str) -> Option<Seen<'a>> {
        let (field, value) = self.field(name);
        let Kind::Nested(shape) = field.kind else { panic!("{name} is no struct") };
        (*value != Value::Null).then_some(Seen { shape, value })
    }

    fn list(self, name: &str) -> Option<Vec<Seen<'a>>> {
        let (field, value) = self.field(name);
        let Kind::Nested(shape) = field.kind else { panic!("{name} holds no structs") };
        let Value::List(list) = value else { return None };
        Some(list.iter().map(|value| Seen { shape, value }).collect())
    }

    fn ints(self, name: &str) -> Option<Vec<i64>> {
        let Value::List(list) = self.field(name).1 else { return None };
        Some(list.iter().map(|value| if let Value::Int(value) = value { *value } else { panic!("{name}") }).collect())
    }

    fn topic(self, name: &str, by_id: bool) -> TopicRef<'a> {
        if by_id { TopicRef::Id(self.uuid("topic_id")) } else { TopicRef::Name(self.text(name).unwrap()) }
    }
}

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

/// What a writer wrote, read by the codec to its last byte.
fn response(name: &str, version: i16, write: impl FnOnce(&mut Out<'_>) -> Written) -> (&'static Message, Value) {
    let message = by_name(name).unwrap();
    let mut bytes = BytesMut::new();
    write(&mut Writer::new(&mut bytes)).unwrap();
    let mut reader = Reader::new(&bytes);
    let budget = Budget::for_frame(bytes.len() * 100);
    let value = decode(message, version, &mut reader, budget, &mut ValueSink)
        .unwrap_or_else(|error| panic!("{name} v{version}: {error:?} in {bytes:?}"));
    assert_eq!(reader.remaining(), 0, "{name} v{version} ends where the codec says");
    (message, value)
}

fn versions(name: &str) -> std::ops::RangeInclusive<i16> {
    let versions = by_name(name).unwrap().versions;
    versions.low..=versions.high
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

/// Produce answers, with and without errors of single records.
#[test]
fn produce_responses() {
    for version in versions("ProduceResponse") {
        let topics = [TopicResponse {
            name: "t".to_owned(),
            topic_id: [9; 16],
            partitions: vec![
                PartitionResponse {
                    index: 4,
                    error_code: 0,
                    base_offset: 1 << 40,
                    log_append_time_ms: 77,
                    log_start_offset: 5,
                    record_errors: vec![],
                    error_message: None,
                },
                PartitionResponse {
                    record_errors: vec![
                        RecordError { batch_index: 3, message: Some("bad".to_owned()) },
                        RecordError { batch_index: 4, message: None },
                    ],
                    ..PartitionResponse::error(5, 87, Some("worse".to_owned()))
                },
            ],
        }];
        let (message, value) = response("ProduceResponse", version, |w| produce::write_response(w, version, &topics));
        let seen = Seen { shape: message.root(), value: &value };
        let topics = seen.list("responses").unwrap();
        assert_eq!(topics[0].topic("name", version >= 13), topic_ref(version));
        let partitions = topics[0].list("partition_responses").unwrap();
        assert_eq!((partitions[0].int("index"), partitions[0].int("base_offset")), (4, 1 << 40));
        assert_eq!(partitions[0].int("log_append_time_ms"), 77);
        assert_eq!(partitions[0].int("log_start_offset"), if version >= 5 { 5 } else { -1 });
        assert_eq!(partitions[1].int("error_code"), 87);
        if version >= 8 {
            assert_eq!(partitions[1].text("error_message"), Some("worse"));
            let errors = partitions[1].list("record_errors").unwrap();
            assert_eq!((errors[0].int("batch_index"), errors[0].text("batch_index_error_message")), (3, Some("bad")));
            assert_eq!((errors[1].int("batch_index"), errors[1].text("batch_index_error_message")), (4, None));
        }
    }
}

fn topic_ref(version: i16) -> TopicRef<'static> {
    if version >= 13 { TopicRef::Id([9; 16]) } else { TopicRef::Name("t") }
}

/// Fetch answers: records behind their length, null and empty aborted lists, the diverging epoch's tag.
#[test]
fn fetch_responses() {
    for version in versions("FetchResponse") {
        let head = fetch::PartitionHead {
            partition: 3,
            error_code: 1,
            high_watermark: 10,
            last_stable_offset: 9,
            log_start_offset: 2,
            diverging_epoch: Some(fetch::DivergingEpoch { epoch: 6, end_offset: 8 }),
            aborted_transactions: Some(vec![(5, 7), (6, 8)]),
        };
        let plain = fetch::PartitionHead { diverging_epoch: None, aborted_transactions: None, ..head.clone() };
        let (message, value) = response("FetchResponse", version, |w| {
            fetch::write_head(w, version, 70, 99, 1)?;
            fetch::write_topic(w, version, topic_ref(version), 2)?;
            for (head, records) in [(&head, &b"records"[..]), (&plain, b"")] {
                fetch::write_partition(w, version, head, records.len())?;
                w.raw(records);
                fetch::write_partition_end(w, version, head)?;
            }
            fetch::write_end(w, version)?;
            fetch::write_end(w, version)
        });
        let seen = Seen { shape: message.root(), value: &value };
        if version >= 7 {
            assert_eq!((seen.int("error_code"), seen.int("session_id")), (70, 99));
        }
        let topics = seen.list("responses").unwrap();
        assert_eq!(topics[0].topic("topic", version >= 13), topic_ref(version));
        let partitions = topics[0].list("partitions").unwrap();
        for (place, records) in [&b"records"[..], b""].into_iter().enumerate() {
            assert_eq!(partitions[place].field("records").1, &Value::Bytes(records.to_vec()));
            assert_eq!(partitions[place].int("partition_index"), 3);
            assert_eq!(partitions[place].int("error_code"), 1);
            assert_eq!(partitions[place].int("high_watermark"), 10);
            assert_eq!(partitions[place].int("last_stable_offset"), 9);
            assert_eq!(partitions[place].int("log_start_offset"), if version >= 5 { 2 } else { -1 });
        }
        let aborted = partitions[0].list("aborted_transactions").unwrap();
        assert_eq!((aborted[1].int("producer_id"), aborted[1].int("first_offset")), (6, 8));
        assert!(partitions[1].list("aborted_transactions").is_none());
        if version >= 12 {
            let diverging = partitions[0].nested("diverging_epoch").unwrap();
            assert_eq!((diverging.int("epoch"), diverging.int("end_offset")), (6, 8));
        }
    }
}

/// ListOffsets and OffsetForLeaderEpoch answers.
#[test]
fn offset_responses() {
    for version in versions("ListOffsetsResponse") {
        let answer = list_offsets::Answer { partition: 1, error_code: 3, timestamp: 4, offset: 5, leader_epoch: 6 };
        let topics = [("t", vec![answer])];
        let (message, value) =
            response("ListOffsetsResponse", version, |w| list_offsets::write_response(w, version, &topics));
        let seen = Seen { shape: message.root(), value: &value }.list("topics").unwrap()[0];
        let seen = seen.list("partitions").unwrap()[0];
        assert_eq!((seen.int("partition_index"), seen.int("error_code")), (1, 3));
        assert_eq!((seen.int("timestamp"), seen.int("offset")), (4, 5));
        assert_eq!(seen.int("leader_epoch"), if version >= 4 { 6 } else { -1 });
    }
    for version in versions("OffsetForLeaderEpochResponse") {
        let answer = offset_for_leader_epoch::Answer { error_code: 3, partition: 1, leader_epoch: 6, end_offset: 5 };
        let topics = [("t", vec![answer])];
        let (message, value) = response("OffsetForLeaderEpochResponse", version, |w| {
            offset_for_leader_epoch::write_response(w, version, &topics)
        });
        let seen = Seen { shape: message.root(), value: &value }.list("topics").unwrap()[0];
        let seen = seen.list("partitions").unwrap()[0];
        assert_eq!((seen.int("partition"), seen.int("error_code")), (1, 3));
        assert_eq!((seen.int("leader_epoch"), seen.int("end_offset")), (6, 5));
    }
}

/// Metadata and DescribeTopicPartitions answers.
#[test]
fn metadata_responses() {
    let partition = metadata::PartitionView {
        error_code: 5,
        index: 1,
        leader: 2,
        leader_epoch: 3,
        replicas: &[4, 5],
        isr: &[4],
        offline: &[5],
    };
    for version in versions("MetadataResponse") {
        let (message, value) = response("MetadataResponse", version, |w| {
            let brokers = [metadata::BrokerAddress { id: 1, host: "h", port: 9092, rack: Some("r") }];
            let head = metadata::Head { brokers: &brokers, cluster_id: "c", controller_id: 1, topic_count: 1 };
            metadata::write_head(w, version, &head)?;
            let topic = metadata::TopicHead {
                error_code: 3,
                name: Some("t"),
                topic_id: [9; 16],
                is_internal: true,
                partition_count: 1,
            };
            metadata::write_topic(w, version, &topic)?;
            metadata::write_partition(w, version, &partition)?;
            metadata::write_topic_end(w, version, 11)?;
            metadata::write_end(w, version, 12)
        });
        let seen = Seen { shape: message.root(), value: &value };
        let broker = seen.list("brokers").unwrap()[0];
        assert_eq!((broker.int("node_id"), broker.text("host"), broker.int("port")), (1, Some("h"), 9092));
        assert_eq!(broker.text("rack"), (version >= 1).then_some("r"));
        assert_eq!(seen.text("cluster_id"), (version >= 2).then_some("c"));
        let topic = seen.list("topics").unwrap()[0];
        assert_eq!((topic.int("error_code"), topic.text("name")), (3, Some("t")));
        assert_eq!(topic.uuid("topic_id"), if version >= 10 { [9; 16] } else { [0; 16] });
        check_partition(topic.list("partitions").unwrap()[0], version >= 7, version >= 5);
        if version >= 8 {
            assert_eq!(topic.int("topic_authorized_operations"), 11);
        }
        if (8..=10).contains(&version) {
            assert_eq!(seen.int("cluster_authorized_operations"), 12);
        }
    }
    let page = describe_topic_partitions::TopicPage {
        error_code: 3,
        name: "t",
        topic_id: [9; 16],
        is_internal: true,
        partitions: vec![partition],
        authorized_operations: 11,
    };
    for next in [None, Some(describe_topic_partitions::Cursor { topic: "u", partition: 7 })] {
        let (message, value) = response("DescribeTopicPartitionsResponse", 0, |w| {
            describe_topic_partitions::write_response(w, std::slice::from_ref(&page), next)
        });
        let seen = Seen { shape: message.root(), value: &value };
        check_partition(seen.list("topics").unwrap()[0].list("partitions").unwrap()[0], true, true);
        let cursor = seen.nested("next_cursor").map(|c| (c.text("topic_name").unwrap(), c.int("partition_index")));
        assert_eq!(cursor, next.map(|c| (c.topic, i64::from(c.partition))));
    }
}

fn check_partition(seen: Seen<'_>, has_epoch: bool, has_offline: bool) {
    assert_eq!((seen.int("error_code"), seen.int("partition_index")), (5, 1));
    assert_eq!((seen.int("leader_id"), seen.int("leader_epoch")), (2, if has_epoch { 3 } else { -1 }));
    assert_eq!((seen.ints("replica_nodes"), seen.ints("isr_nodes")), (Some(vec![4, 5]), Some(vec![4])));
    assert_eq!(seen.ints("offline_replicas"), Some(if has_offline { vec![5] } else { vec![] }));
}

/// ApiVersions answers; features whose lowest version is 0 are named from version 4 on.
#[test]
fn api_versions_responses() {
    let features = api_versions::Features {
        supported: vec![
            api_versions::SupportedFeature { name: "group.version".to_owned(), min: 0, max: 1 },
            api_versions::SupportedFeature { name: "metadata.version".to_owned(), min: 7, max: 29 },
        ],
        finalized: vec![api_versions::FinalizedFeature { name: "metadata.version".to_owned(), level: 29 }],
        finalized_epoch: 12,
    };
    for version in versions("ApiVersionsResponse") {
        let (message, value) = response("ApiVersionsResponse", version, |w| {
            api_versions::write_response(w, version, 0, &[(18, 0, 4), (3, 0, 13)], &features)
        });
        let seen = Seen { shape: message.root(), value: &value };
        let rows: Vec<_> = seen.list("api_keys").unwrap();
        assert_eq!((rows[1].int("api_key"), rows[1].int("min_version"), rows[1].int("max_version")), (3, 0, 13));
        if version >= 3 {
            let names: Vec<_> =
                seen.list("supported_features").unwrap().iter().map(|f| f.text("name").unwrap()).collect();
            let all = ["group.version", "metadata.version"];
            assert_eq!(names, if version >= 4 { &all[..] } else { &all[1..] });
            assert_eq!(seen.int("finalized_features_epoch"), 12);
            assert_eq!(seen.list("finalized_features").unwrap()[0].int("max_version_level"), 29);
        }
    }
}
