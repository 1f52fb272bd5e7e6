//! The requests a load needs and their answers, in the flexible versions that every broker of the last years speaks.
//! A topic goes by name, and from Produce 13 and Fetch 13 on by its id.

use std::ops::Range;

use ottla_protocol::header::{read_response_header, write_request_header};
use ottla_protocol::wire::{Reader, Writer};

use crate::Outcome;

pub const PRODUCE: i16 = 0;
pub const FETCH: i16 = 1;
pub const LIST_OFFSETS: i16 = 2;
pub const METADATA: i16 = 3;
pub const API_VERSIONS: i16 = 18;
pub const INIT_PRODUCER_ID: i16 = 22;

/// API, the first version with the flexible forms below, the last one known here.
pub const SPOKEN: [(i16, i16, i16); 6] = [
    (PRODUCE, 9, 13),
    (FETCH, 12, 17),
    (LIST_OFFSETS, 6, 10),
    (METADATA, 9, 12),
    (API_VERSIONS, 3, 4),
    (INIT_PRODUCER_ID, 2, 5),
];
const PRODUCE_BY_ID: i16 = 13;
const FETCH_BY_ID: i16 = 13;
const CLIENT_ID: &str = "ottla-load";
pub const EARLIEST: i64 = -2;
pub const LATEST: i64 = -1;

pub fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A topic, by both of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    pub id: [u8; 16],
    pub partitions: i32,
}

/// The number of errors that a load may meet, by Kafka's name.
pub fn error_name(code: i16) -> String {
    let name = match code {
        1 => "OFFSET_OUT_OF_RANGE",
        2 => "CORRUPT_MESSAGE",
        3 => "UNKNOWN_TOPIC_OR_PARTITION",
        5 => "LEADER_NOT_AVAILABLE",
        6 => "NOT_LEADER_OR_FOLLOWER",
        7 => "REQUEST_TIMED_OUT",
        10 => "MESSAGE_TOO_LARGE",
        19 => "NOT_ENOUGH_REPLICAS",
        29 => "TOPIC_AUTHORIZATION_FAILED",
        35 => "UNSUPPORTED_VERSION",
        45 => "OUT_OF_ORDER_SEQUENCE_NUMBER",
        46 => "DUPLICATE_SEQUENCE_NUMBER",
        47 => "INVALID_PRODUCER_EPOCH",
        56 => "KAFKA_STORAGE_ERROR",
        59 => "UNKNOWN_PRODUCER_ID",
        87 => "INVALID_RECORD",
        89 => "THROTTLING_QUOTA_EXCEEDED",
        100 => "UNKNOWN_TOPIC_ID",
        code => return format!("error {code}"),
    };
    name.to_owned()
}

/// Begins a frame: room for its length, and the header.
pub fn begin(out: &mut Vec<u8>, key: i16, version: i16, correlation: i32) -> Outcome<()> {
    out.clear();
    out.extend_from_slice(&[0; 4]);
    write_request_header(&mut Writer::new(out), key, version, correlation, Some(CLIENT_ID)).map_err(words)
}

/// Ends a frame of which `elsewhere` bytes do not lie in `out`.
pub fn end(out: &mut [u8], elsewhere: usize) -> Outcome<()> {
    let length = i32::try_from(out.len() - 4 + elsewhere).map_err(|_| "a request past 2 GiB".to_owned())?;
    out[..4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn topic_ref(writer: &mut Writer<'_>, topic: &Topic, by_id: bool) -> Outcome<()> {
    if by_id {
        writer.uuid(&topic.id);
        return Ok(());
    }
    writer.string(true, &topic.name).map_err(words)
}

/// The place of a topic that an answer names.
fn read_topic(reader: &mut Reader<'_>, by_id: bool, topics: &[Topic]) -> Outcome<usize> {
    let place = if by_id {
        let id = reader.uuid("topic id").map_err(words)?;
        topics.iter().position(|topic| topic.id == id)
    } else {
        let name = reader.string(true, "topic").map_err(words)?;
        topics.iter().position(|topic| topic.name == name)
    };
    place.ok_or_else(|| "an answer about a topic that was not asked for".to_owned())
}

/// How many neighbours are of one topic, again and again: requests name each topic once.
pub fn runs<T>(items: &[T], topic_of: impl Fn(&T) -> usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for at in 0..items.len() {
        match runs.last_mut() {
            Some(run) if topic_of(&items[run.start]) == topic_of(&items[at]) => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

pub fn api_versions(out: &mut Vec<u8>, correlation: i32) -> Outcome<()> {
    begin(out, API_VERSIONS, 3, correlation)?;
    let mut writer = Writer::new(out);
    writer.string(true, CLIENT_ID).map_err(words)?;
    writer.string(true, env!("CARGO_PKG_VERSION")).map_err(words)?;
    writer.no_tags(true);
    end(out, 0)
}

/// The reader of an answer's body; the answer must be that of `correlation`.
pub fn answer(frame: &[u8], key: i16, version: i16, correlation: i32) -> Outcome<Reader<'_>> {
    let mut reader = Reader::new(frame);
    let found = read_response_header(&mut reader, key, version).map_err(words)?;
    if found != correlation {
        return Err(format!("an answer to request {found}, request {correlation} was first"));
    }
    Ok(reader)
}

/// For each API of [`SPOKEN`] the version both sides speak; None where there is none.
pub fn read_api_versions(frame: &[u8], correlation: i32) -> Outcome<[Option<i16>; SPOKEN.len()]> {
    let mut reader = answer(frame, API_VERSIONS, 3, correlation)?;
    let code = reader.i16("error").map_err(words)?;
    if code != 0 {
        return Err(format!("the broker answers ApiVersions 3 with {}", error_name(code)));
    }
    let mut found = [None; SPOKEN.len()];
    for _ in 0..reader.array(true, 7, "APIs").map_err(words)? {
        let key = reader.i16("key").map_err(words)?;
        let lowest = reader.i16("lowest").map_err(words)?;
        let highest = reader.i16("highest").map_err(words)?;
        reader.skip_tags(true).map_err(words)?;
        if let Some(at) = SPOKEN.iter().position(|api| api.0 == key) {
            let version = highest.min(SPOKEN[at].2);
            found[at] = (version >= lowest.max(SPOKEN[at].1)).then_some(version);
        }
    }
    Ok(found)
}

pub fn metadata(out: &mut Vec<u8>, version: i16, correlation: i32, names: &[String]) -> Outcome<()> {
    begin(out, METADATA, version, correlation)?;
    let mut writer = Writer::new(out);
    writer.array(true, Some(names.len())).map_err(words)?;
    for name in names {
        if version >= 10 {
            writer.uuid(&[0; 16]);
        }
        writer.string(true, name).map_err(words)?;
        writer.no_tags(true);
    }
    writer.bool(false);
    if version <= 10 {
        writer.bool(false);
    }
    writer.bool(false);
    writer.no_tags(true);
    end(out, 0)
}

/// The topics in the order of `names`; None while one of them has no leader yet.
pub fn read_metadata(frame: &[u8], version: i16, correlation: i32, names: &[String]) -> Outcome<Option<Vec<Topic>>> {
    let mut reader = answer(frame, METADATA, version, correlation)?;
    let mut read = || -> ottla_protocol::wire::Result<(usize, Vec<(i16, Topic)>)> {
        reader.i32("throttle")?;
        let brokers = reader.array(true, 8, "brokers")?;
        for _ in 0..brokers {
            reader.i32("node id")?;
            reader.string(true, "host")?;
            reader.i32("port")?;
            reader.nullable_string(true, "rack")?;
            reader.skip_tags(true)?;
        }
        reader.nullable_string(true, "cluster id")?;
        reader.i32("controller id")?;
        let mut topics = Vec::new();
        for _ in 0..reader.array(true, 8, "topics")? {
            let mut code = reader.i16("error")?;
            let name = reader.nullable_string(true, "name")?.unwrap_or_default().to_owned();
            let id = if version >= 10 { reader.uuid("topic id")? } else { [0; 16] };
            reader.bool("internal")?;
            let count = reader.array(true, 16, "partitions")?;
            for _ in 0..count {
                let partition_code = reader.i16("error")?;
                reader.i32("index")?;
                let leader = reader.i32("leader")?;
                reader.i32("leader epoch")?;
                for _ in 0..3 {
                    for _ in 0..reader.array(true, 4, "replicas")? {
                        reader.i32("replica")?;
                    }
                }
                reader.skip_tags(true)?;
                if leader < 0 {
                    code = partition_code.max(5);
                }
            }
            reader.i32("operations")?;
            reader.skip_tags(true)?;
            topics.push((code, Topic { name, id, partitions: i32::try_from(count).unwrap_or(i32::MAX) }));
        }
        Ok((brokers, topics))
    };
    let (brokers, found) = read().map_err(words)?;
    if brokers > 1 {
        return Err(format!("{brokers} brokers: this program loads one"));
    }
    let mut topics = Vec::new();
    for name in names {
        match found.iter().find(|(_, topic)| topic.name == *name) {
            Some((0, topic)) if topic.partitions > 0 => topics.push(topic.clone()),
            None | Some((0 | 3 | 5, _)) => return Ok(None),
            Some((code, _)) => return Err(format!("topic {name}: {}", error_name(*code))),
        }
    }
    Ok(Some(topics))
}

pub fn init_producer_id(out: &mut Vec<u8>, version: i16, correlation: i32) -> Outcome<()> {
    begin(out, INIT_PRODUCER_ID, version, correlation)?;
    let mut writer = Writer::new(out);
    writer.nullable_string(true, None).map_err(words)?;
    writer.i32(60_000);
    if version >= 3 {
        writer.i64(-1);
        writer.i16(-1);
    }
    writer.no_tags(true);
    end(out, 0)
}

/// Code, id and epoch.
pub fn read_init_producer_id(frame: &[u8], version: i16, correlation: i32) -> Outcome<(i16, i64, i16)> {
    let mut reader = answer(frame, INIT_PRODUCER_ID, version, correlation)?;
    reader.i32("throttle").map_err(words)?;
    let code = reader.i16("error").map_err(words)?;
    Ok((code, reader.i64("producer id").map_err(words)?, reader.i16("epoch").map_err(words)?))
}

pub fn list_offsets(
    out: &mut Vec<u8>,
    version: i16,
    correlation: i32,
    topic: &Topic,
    partitions: Range<i32>,
    timestamp: i64,
) -> Outcome<()> {
    begin(out, LIST_OFFSETS, version, correlation)?;
    let mut writer = Writer::new(out);
    writer.i32(-1);
    writer.i8(0);
    writer.array(true, Some(1)).map_err(words)?;
    writer.string(true, &topic.name).map_err(words)?;
    writer.array(true, Some(partitions.len())).map_err(words)?;
    for partition in partitions {
        writer.i32(partition);
        writer.i32(-1);
        writer.i64(timestamp);
        writer.no_tags(true);
    }
    writer.no_tags(true);
    if version >= 10 {
        writer.i32(30_000);
    }
    writer.no_tags(true);
    end(out, 0)
}

/// Partition, error code and offset.
pub fn read_list_offsets(frame: &[u8], version: i16, correlation: i32) -> Outcome<Vec<(i32, i16, i64)>> {
    let mut reader = answer(frame, LIST_OFFSETS, version, correlation)?;
    let mut read = || -> ottla_protocol::wire::Result<Vec<(i32, i16, i64)>> {
        reader.i32("throttle")?;
        let mut found = Vec::new();
        for _ in 0..reader.array(true, 2, "topics")? {
            reader.string(true, "topic")?;
            for _ in 0..reader.array(true, 26, "partitions")? {
                let partition = reader.i32("partition")?;
                let code = reader.i16("error")?;
                reader.i64("timestamp")?;
                let offset = reader.i64("offset")?;
                reader.i32("leader epoch")?;
                reader.skip_tags(true)?;
                found.push((partition, code, offset));
            }
            reader.skip_tags(true)?;
        }
        Ok(found)
    };
    read().map_err(words)
}

/// What stands before the topics of a Produce.
pub fn produce_head(out: &mut Vec<u8>, acks: i16, timeout_ms: i32, topics: usize) -> Outcome<()> {
    let mut writer = Writer::new(out);
    writer.nullable_string(true, None).map_err(words)?;
    writer.i16(acks);
    writer.i32(timeout_ms);
    writer.array(true, Some(topics)).map_err(words)
}

/// Opens a topic; its partitions follow, then [`close`].
pub fn produce_topic(out: &mut Vec<u8>, version: i16, topic: &Topic, partitions: usize) -> Outcome<()> {
    let mut writer = Writer::new(out);
    topic_ref(&mut writer, topic, version >= PRODUCE_BY_ID)?;
    writer.array(true, Some(partitions)).map_err(words)
}

/// Opens a partition up to its records, `bytes` of them; [`close`] follows them.
pub fn produce_partition(out: &mut Vec<u8>, partition: i32, bytes: usize) -> Outcome<()> {
    let mut writer = Writer::new(out);
    writer.i32(partition);
    writer.bytes_length(true, Some(bytes)).map_err(words)
}

/// The end of a partition, a topic or a whole request: no tagged fields.
pub fn close(out: &mut Vec<u8>) {
    out.push(0);
}

/// Calls `each` with topic (by place), partition, error code and base offset.
pub fn read_produce(
    frame: &[u8],
    version: i16,
    correlation: i32,
    topics: &[Topic],
    mut each: impl FnMut(usize, i32, i16, i64),
) -> Outcome<()> {
    let mut reader = answer(frame, PRODUCE, version, correlation)?;
    for _ in 0..reader.array(true, 2, "topics").map_err(words)? {
        let topic = read_topic(&mut reader, version >= PRODUCE_BY_ID, topics)?;
        let mut read = || -> ottla_protocol::wire::Result<()> {
            for _ in 0..reader.array(true, 32, "partitions")? {
                let partition = reader.i32("partition")?;
                let code = reader.i16("error")?;
                let base_offset = reader.i64("base offset")?;
                reader.i64("append time")?;
                reader.i64("log start")?;
                for _ in 0..reader.array(true, 6, "record errors")? {
                    reader.i32("record")?;
                    reader.nullable_string(true, "message")?;
                    reader.skip_tags(true)?;
                }
                reader.nullable_string(true, "error message")?;
                reader.skip_tags(true)?;
                each(topic, partition, code, base_offset);
            }
            reader.skip_tags(true)
        };
        read().map_err(words)?;
    }
    Ok(())
}

/// What a fetch asks for as a whole.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub partition_max_bytes: i32,
    pub read_committed: bool,
}

/// One partition of a Fetch: topic (by place), partition, offset.
pub type Wanted = (usize, i32, i64);

pub fn fetch(
    out: &mut Vec<u8>,
    version: i16,
    correlation: i32,
    limits: &FetchLimits,
    session: (i32, i32),
    topics: &[Topic],
    wanted: &[Wanted],
) -> Outcome<()> {
    begin(out, FETCH, version, correlation)?;
    let mut writer = Writer::new(out);
    if version <= 14 {
        writer.i32(-1);
    }
    writer.i32(limits.max_wait_ms);
    writer.i32(limits.min_bytes);
    writer.i32(limits.max_bytes);
    writer.i8(i8::from(limits.read_committed));
    writer.i32(session.0);
    writer.i32(session.1);
    let runs = runs(wanted, |each| each.0);
    writer.array(true, Some(runs.len())).map_err(words)?;
    for run in runs {
        topic_ref(&mut writer, &topics[wanted[run.start].0], version >= FETCH_BY_ID)?;
        writer.array(true, Some(run.len())).map_err(words)?;
        for &(_, partition, offset) in &wanted[run] {
            writer.i32(partition);
            writer.i32(-1);
            writer.i64(offset);
            writer.i32(-1);
            writer.i64(-1);
            writer.i32(limits.partition_max_bytes);
            writer.no_tags(true);
        }
        writer.no_tags(true);
    }
    writer.array(true, Some(0)).map_err(words)?;
    writer.string(true, "").map_err(words)?;
    writer.no_tags(true);
    end(out, 0)
}

/// One partition of the answer to a Fetch.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetched<'a> {
    pub topic: usize,
    pub partition: i32,
    pub error_code: i16,
    pub high_watermark: i64,
    pub records: &'a [u8],
}

/// Error code and session id; `each` is called with what lies between.
pub fn read_fetch<'a>(
    frame: &'a [u8],
    version: i16,
    correlation: i32,
    topics: &[Topic],
    mut each: impl FnMut(Fetched<'a>) -> Outcome<()>,
) -> Outcome<(i16, i32)> {
    let mut reader = answer(frame, FETCH, version, correlation)?;
    reader.i32("throttle").map_err(words)?;
    let code = reader.i16("error").map_err(words)?;
    let session = reader.i32("session").map_err(words)?;
    for _ in 0..reader.array(true, 2, "topics").map_err(words)? {
        let topic = read_topic(&mut reader, version >= FETCH_BY_ID, topics)?;
        for _ in 0..reader.array(true, 36, "partitions").map_err(words)? {
            each(read_fetched(&mut reader, topic).map_err(words)?)?;
        }
        reader.skip_tags(true).map_err(words)?;
    }
    Ok((code, session))
}

fn read_fetched<'a>(reader: &mut Reader<'a>, topic: usize) -> ottla_protocol::wire::Result<Fetched<'a>> {
    let partition = reader.i32("partition")?;
    let error_code = reader.i16("error")?;
    let high_watermark = reader.i64("high watermark")?;
    reader.i64("last stable offset")?;
    reader.i64("log start")?;
    for _ in 0..reader.nullable_array(true, 17, "aborted transactions")?.unwrap_or(0) {
        reader.i64("producer id")?;
        reader.i64("first offset")?;
        reader.skip_tags(true)?;
    }
    reader.i32("preferred replica")?;
    let records = reader.nullable_bytes(true, "records")?.unwrap_or_default();
    reader.skip_tags(true)?;
    Ok(Fetched { topic, partition, error_code, high_watermark, records })
}

#[cfg(test)]
mod tests;
