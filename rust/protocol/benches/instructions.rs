//! `make bench-instructions`: how many instructions of ours it takes to read a Produce and a Fetch, and to write the answer to a Metadata
//! about a thousand topics, counted by callgrind. The requests are made by an implementation that is not ours.

use std::hint::black_box;

use bytes::BytesMut;
use gungraun::{library_benchmark, library_benchmark_group, main};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{self, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use ottla_protocol::native::fetch::FetchRequest;
use ottla_protocol::native::metadata::{self, PartitionView, TopicHead};
use ottla_protocol::native::produce::ProduceRequest;
use ottla_protocol::wire::{Reader, Writer};

const TIMES: usize = 16;
/// By name: what librdkafka and most others speak.
const PRODUCE_VERSION: i16 = 12;
const FETCH_VERSION: i16 = 12;
const METADATA_VERSION: i16 = 12;
const RECORDS: [u8; 1024] = [7; 1024];

fn name(number: usize) -> TopicName {
    TopicName(StrBytes::from_string(format!("a-topic-of-usual-length-{number}")))
}

fn encoded(message: &impl Encodable, version: i16) -> Vec<u8> {
    let mut bytes = Vec::new();
    #[expect(clippy::expect_used, reason = "the frame of a bench")]
    message.encode(&mut bytes, version).expect("a message of this version");
    bytes
}

fn produce(partitions: usize) -> Vec<u8> {
    let data = (0..partitions).map(|index| {
        PartitionProduceData::default().with_index(index as i32).with_records(Some(RECORDS.as_slice().into()))
    });
    let topic = TopicProduceData::default().with_name(name(0)).with_partition_data(data.collect());
    encoded(&messages::ProduceRequest::default().with_acks(1).with_topic_data(vec![topic]), PRODUCE_VERSION)
}

fn fetch(partitions: usize) -> Vec<u8> {
    let asked = (0..partitions).map(|index| FetchPartition::default().with_partition(index as i32));
    let topic = FetchTopic::default().with_topic(name(0)).with_partitions(asked.collect());
    encoded(&messages::FetchRequest::default().with_topics(vec![topic]), FETCH_VERSION)
}

// The frames are given back: to let go of them is no part of what is counted.

#[library_benchmark]
#[bench::one_partition(args = (1), setup = produce)]
#[bench::a_hundred(args = (100), setup = produce)]
fn read_produce_16(frame: Vec<u8>) -> Vec<u8> {
    for _ in 0..TIMES {
        let mut reader = Reader::new(black_box(&frame));
        black_box(ProduceRequest::read(&mut reader, PRODUCE_VERSION).is_ok());
    }
    frame
}

#[library_benchmark]
#[bench::one_partition(args = (1), setup = fetch)]
#[bench::a_hundred(args = (100), setup = fetch)]
fn read_fetch_16(frame: Vec<u8>) -> Vec<u8> {
    for _ in 0..TIMES {
        let mut reader = Reader::new(black_box(&frame));
        black_box(FetchRequest::read(&mut reader, FETCH_VERSION).is_ok());
    }
    frame
}

/// An answer's buffer, with room, and the names of the topics in it.
fn topics(count: usize) -> (BytesMut, Vec<String>) {
    (BytesMut::with_capacity(1 << 20), (0..count).map(|number| name(number).to_string()).collect())
}

#[library_benchmark]
#[bench::a_thousand(args = (1000), setup = topics)]
fn write_metadata((mut buffer, names): (BytesMut, Vec<String>)) -> (BytesMut, Vec<String>) {
    let mut writer = Writer::new(&mut buffer);
    let written = names.iter().try_for_each(|name| {
        let head =
            TopicHead { error_code: 0, name: Some(name), topic_id: [7; 16], is_internal: false, partition_count: 1 };
        let partition = PartitionView {
            error_code: 0,
            index: 0,
            leader: 1,
            leader_epoch: 0,
            replicas: &[1],
            isr: &[1],
            offline: &[],
        };
        metadata::write_topic(&mut writer, METADATA_VERSION, &head)?;
        metadata::write_partition(&mut writer, METADATA_VERSION, &partition)?;
        metadata::write_topic_end(&mut writer, METADATA_VERSION, i32::MIN)
    });
    black_box(written.is_ok());
    (buffer, names)
}

library_benchmark_group!(name = wire; benchmarks = read_produce_16, read_fetch_16, write_metadata);

main!(library_benchmark_groups = wire);
