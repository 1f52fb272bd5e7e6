//! Any bytes as what a connection receives: frames behind their length, each a header and a body.

use ottla_protocol::header::RequestHeader;
use ottla_protocol::native::{
    api_versions, describe_topic_partitions, fetch, list_offsets, metadata, offset_for_leader_epoch, produce,
};
use ottla_protocol::wire::Reader;

/// Every frame is read or refused; nothing is read past its end.
pub fn check(data: &[u8]) {
    let mut rest = data;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return };
        let Some((frame, behind)) = behind.split_at_checked(length) else { return };
        rest = behind;
        one(frame);
    }
}

fn one(frame: &[u8]) {
    let mut reader = Reader::new(frame);
    let Ok(header) = RequestHeader::read(&mut reader) else { return };
    let (api, version) = (header.api_key, header.api_version);
    let _ = match api {
        0 if (3..=13).contains(&version) => produce::ProduceRequest::read(&mut reader, version).map(|read| {
            for partition in read.topics.iter().flat_map(|topic| &topic.partitions) {
                assert!(partition.records.clone().unwrap_or_default().end <= frame.len(), "records lie in the frame");
            }
        }),
        1 if (4..=18).contains(&version) => fetch::FetchRequest::read(&mut reader, version).map(drop),
        2 if (1..=11).contains(&version) => list_offsets::ListOffsetsRequest::read(&mut reader, version).map(drop),
        3 if (0..=13).contains(&version) => metadata::MetadataRequest::read(&mut reader, version).map(drop),
        18 if (0..=4).contains(&version) => api_versions::read_request(&mut reader, version).map(drop),
        23 if (2..=4).contains(&version) => offset_for_leader_epoch::read_request(&mut reader, version).map(drop),
        75 => describe_topic_partitions::DescribeTopicPartitionsRequest::read(&mut reader).map(drop),
        _ => Ok(()),
    };
    assert!(reader.position() <= frame.len());
}
