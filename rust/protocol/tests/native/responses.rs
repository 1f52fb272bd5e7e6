//! Responses: written natively, read by the codec to their last byte.

use bytes::BytesMut;
use ottla_protocol::codec::{Budget, Value, ValueSink, decode};
use ottla_protocol::native::produce::{PartitionResponse, RecordError, TopicRef, TopicResponse};
use ottla_protocol::native::{
    Out, Written, api_versions, describe_topic_partitions, fetch, list_offsets, metadata, offset_for_leader_epoch,
    produce,
};
use ottla_protocol::schema::{Message, by_name};
use ottla_protocol::wire::{Reader, Writer};

use crate::seen::Seen;

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

/// Produce answers, with and without errors of single records.
#[test]
fn produce_responses() {
    for version in versions("ProduceResponse") {
        let partitions = [
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
        ];
        let topic = TopicResponse { name: "t", topic_id: [9; 16], partitions: partitions.iter() };
        let (message, value) =
            response("ProduceResponse", version, |w| produce::write_response(w, version, [topic].into_iter()));
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
