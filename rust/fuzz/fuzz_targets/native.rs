//! Any bytes as the request of any native API: the first two choose API and version, the rest is the body.
//!
//! Nothing may panic; `tests/memory.rs` of the crate measures what may be taken.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_protocol::native::{
    api_versions, describe_topic_partitions, fetch, list_offsets, metadata, offset_for_leader_epoch, produce,
};
use ottla_protocol::wire::Reader;

fuzz_target!(|data: &[u8]| {
    let [api, version, body @ ..] = data else { return };
    let (reader, version) = (&mut Reader::new(body), i16::from(*version));
    let _ = match api % 7 {
        0 => produce::ProduceRequest::read(reader, 3 + version % 11).map(|read| {
            for partition in read.topics.iter().flat_map(|topic| &topic.partitions) {
                let records = partition.records.clone().unwrap_or_default();
                assert!(records.end <= body.len(), "records lie in the frame");
            }
        }),
        1 => fetch::FetchRequest::read(reader, 4 + version % 15).map(drop),
        2 => list_offsets::ListOffsetsRequest::read(reader, 1 + version % 11).map(drop),
        3 => metadata::MetadataRequest::read(reader, version % 14).map(drop),
        4 => api_versions::read_request(reader, version % 5).map(drop),
        5 => offset_for_leader_epoch::read_request(reader, 2 + version % 3).map(drop),
        _ => describe_topic_partitions::DescribeTopicPartitionsRequest::read(reader).map(drop),
    };
    assert!(reader.position() <= body.len());
});
