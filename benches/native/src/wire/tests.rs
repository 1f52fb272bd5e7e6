use ottla_protocol::header::{RequestHeader, write_response_header};
use ottla_protocol::native::fetch::{self as fetches, FetchRequest, PartitionHead};
use ottla_protocol::native::metadata::MetadataRequest;
use ottla_protocol::native::produce::{ProduceRequest, TopicRef};

use super::*;

fn topics() -> Vec<Topic> {
    [("a", 1), ("b", 2)].map(|(name, id)| Topic { name: name.to_owned(), id: [id; 16], partitions: 2 }).to_vec()
}

/// The body of a frame, after its length and header were checked.
fn body<'a>(frame: &'a [u8], key: i16, version: i16) -> Reader<'a> {
    assert_eq!(i32::from_be_bytes(*frame.first_chunk().unwrap()) as usize, frame.len() - 4);
    let mut reader = Reader::new(&frame[4..]);
    let header = RequestHeader::read(&mut reader).unwrap();
    assert_eq!((header.api_key, header.api_version, header.correlation_id), (key, version, 77));
    reader
}

/// A broker reads of a Produce what was meant, in every version, by name and by id.
#[test]
fn a_broker_reads_our_produce() {
    let topics = topics();
    for version in 9..=13 {
        let mut out = Vec::new();
        begin(&mut out, PRODUCE, version, 77).unwrap();
        produce_head(&mut out, -1, 5000, 2).unwrap();
        for (topic, records) in topics.iter().zip([b"xy", b"zw"]) {
            produce_topic(&mut out, version, topic, 1).unwrap();
            produce_partition(&mut out, 1, 2).unwrap();
            out.extend_from_slice(records);
            close(&mut out);
            close(&mut out);
        }
        close(&mut out);
        end(&mut out, 0).unwrap();
        let mut reader = body(&out, PRODUCE, version);
        let request = ProduceRequest::read(&mut reader, version).unwrap();
        assert_eq!((request.acks, request.timeout_ms, reader.remaining()), (-1, 5000, 0));
        for (at, topic) in topics.iter().enumerate() {
            let found = &request.topics[at];
            let named = if version < 13 { TopicRef::Name(&topic.name) } else { TopicRef::Id(topic.id) };
            assert_eq!((found.topic, found.partitions[0].index), (named, 1));
            let records = found.partitions[0].records.clone().unwrap();
            assert_eq!(&out[4..][records], [b"xy", b"zw"][at]);
        }
    }
}

/// A broker reads of a Fetch what was meant, in every version.
#[test]
fn a_broker_reads_our_fetch() {
    let limits =
        FetchLimits { max_wait_ms: 500, min_bytes: 1, max_bytes: 99, partition_max_bytes: 9, read_committed: true };
    for version in 12..=17 {
        let mut out = Vec::new();
        fetch(&mut out, version, 77, &limits, (5, 6), &topics(), &[(0, 0, 10), (0, 1, 11), (1, 0, 12)]).unwrap();
        let mut reader = body(&out, FETCH, version);
        let request = FetchRequest::read(&mut reader, version).unwrap();
        assert_eq!((request.replica_id, request.session_id, request.session_epoch), (-1, 5, 6));
        assert_eq!(
            (request.max_wait_ms, request.min_bytes, request.max_bytes, request.isolation_level),
            (500, 1, 99, 1)
        );
        let found: Vec<Vec<(i32, i64, i32)>> = request
            .topics
            .iter()
            .map(|topic| topic.partitions.iter().map(|one| (one.partition, one.fetch_offset, one.max_bytes)).collect())
            .collect();
        assert_eq!(found, [vec![(0, 10, 9), (1, 11, 9)], vec![(0, 12, 9)]]);
        assert_eq!(reader.remaining(), 0);
    }
}

/// And of Metadata; nothing is to be created.
#[test]
fn a_broker_reads_our_metadata() {
    for version in 9..=12 {
        let mut out = Vec::new();
        metadata(&mut out, version, 77, &["a".to_owned()]).unwrap();
        let mut reader = body(&out, METADATA, version);
        let request = MetadataRequest::read(&mut reader, version).unwrap();
        assert_eq!(request.topics.unwrap()[0].name, Some("a"));
        assert!(!request.allow_auto_topic_creation && reader.remaining() == 0);
    }
}

/// What a broker writes of a Fetch comes back; cut anywhere it is an error, not a panic.
#[test]
fn we_read_a_brokers_fetch() {
    let topics = topics();
    for version in [12, 13, 17] {
        let mut out = Vec::new();
        write_response_header(&mut Writer::new(&mut out), FETCH, version, 77);
        let mut answer = bytes::BytesMut::new();
        let mut writer = Writer::new(&mut answer);
        let named = if version < 13 { TopicRef::Name("b") } else { TopicRef::Id([2; 16]) };
        let head = PartitionHead {
            partition: 1,
            error_code: 0,
            high_watermark: 40,
            last_stable_offset: 40,
            log_start_offset: 0,
            diverging_epoch: None,
            aborted_transactions: Some(vec![(1, 2)]),
        };
        fetches::write_head(&mut writer, version, 0, 123, 1).unwrap();
        fetches::write_topic(&mut writer, version, named, 1).unwrap();
        fetches::write_partition(&mut writer, version, &head, 7).unwrap();
        writer.raw(b"records");
        fetches::write_partition_end(&mut writer, version, &head).unwrap();
        fetches::write_end(&mut writer, version).unwrap();
        fetches::write_end(&mut writer, version).unwrap();
        out.extend_from_slice(&answer);
        let mut found = Vec::new();
        let told = read_fetch(&out, version, 77, &topics, |one| {
            found.push(one);
            Ok(())
        });
        assert_eq!(told, Ok((0, 123)));
        let expected = Fetched { topic: 1, partition: 1, error_code: 0, high_watermark: 40, records: b"records" };
        assert_eq!(found, [expected]);
        assert!(read_fetch(&out, version, 78, &topics, |_| Ok(())).is_err());
        for length in 0..out.len() - 1 {
            assert!(read_fetch(&out[..length], version, 77, &topics, |_| Ok(())).is_err(), "{length}");
        }
    }
}

/// The version both sides know, or none.
#[test]
fn versions_are_negotiated() {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    writer.i32(77);
    writer.i16(0);
    writer.array(true, Some(4)).unwrap();
    for (key, lowest, highest) in [(0, 0, 11), (1, 4, 99), (3, 0, 8), (999, 0, 1)] {
        writer.i16(key);
        writer.i16(lowest);
        writer.i16(highest);
        writer.no_tags(true);
    }
    writer.i32(0);
    writer.no_tags(true);
    let found = read_api_versions(&out, 77).unwrap();
    assert_eq!(found, [Some(11), Some(17), None, None, None, None]);
}

/// Neighbours of one topic make a run.
#[test]
fn neighbours() {
    assert_eq!(runs(&[1, 1, 2, 1], |&topic| topic), [0..2, 2..3, 3..4]);
    assert_eq!(runs::<usize>(&[], |&topic| topic), []);
}
