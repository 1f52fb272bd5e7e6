//! Our reader and Kafka's DumpLogSegments say the same of every batch and record in the fixtures: logs that Apache Kafka wrote, with
//! every codec, transactions and compaction, and logs that we wrote. What the tool said is kept beside each, as `<partition>.dump`
//! (`python -m tests.kafka.refresh_dumps`; tests/kafka asks the tool again).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use ottla_log::batch::compression::decompress;
use ottla_log::batch::header::{HEADER_BYTES, add_sequence, checksum};
use ottla_log::batch::records::{RecordRef, Records};
use ottla_log::batch::{BatchHeader, Compression, Marker, control};
use ottla_log::env::disk::RealDisk;
use ottla_log::env::{Disk, OpenMode};
use ottla_log::segment::scan::{Gaps, Scan, Step};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// Partition directories beside which the tool's words lie.
fn partitions() -> Vec<PathBuf> {
    let children = |path: PathBuf| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let folders = children(FIXTURES.into()).into_iter().filter(|path| path.is_dir());
    let dumps = folders.flat_map(children).filter(|path| path.extension().is_some_and(|suffix| suffix == "dump"));
    dumps.map(|path| path.with_extension("")).collect()
}

fn batch_line(header: &BatchHeader, position: u32, batch: &[u8]) -> String {
    let last_sequence = if header.base_sequence < 0 { -1 } else { header.last_sequence() };
    let horizon = match header.attributes & DELETE_HORIZON_BIT {
        0 => "OptionalLong.empty".to_owned(),
        _ => format!("OptionalLong[{}]", header.base_timestamp_ms),
    };
    let time = if header.is_log_append_time() { "LogAppendTime" } else { "CreateTime" };
    format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {last_sequence} producerId: {} producerEpoch: {} \
         partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {horizon} position: {position} {time}: {} \
         size: {} magic: {} compresscodec: {} crc: {} isvalid: {}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.base_sequence,
        header.producer_id,
        header.producer_epoch,
        header.leader_epoch,
        header.is_transactional(),
        header.is_control(),
        header.max_timestamp_ms,
        batch.len(),
        header.magic,
        header.compression().map_or("unknown", Compression::name),
        header.crc,
        header.crc == checksum(batch),
    )
}

fn record_line(header: &BatchHeader, record: &RecordRef<'_>) -> String {
    let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64);
    let sequence = match header.base_sequence {
        -1 => -1,
        base => add_sequence(base, (record.offset - header.base_offset) as i32),
    };
    let names: Vec<&str> = record.headers().map(|(name, _)| std::str::from_utf8(name).unwrap()).collect();
    let mut line = format!(
        "| offset: {} CreateTime: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
        record.offset,
        record.timestamp_ms,
        length(record.key),
        length(record.value),
        names.join(","),
    );
    if header.is_control() {
        let (marker, epoch) = control::read_end_marker(record.key, record.value).unwrap();
        let word = if marker == Marker::Commit { "COMMIT" } else { "ABORT" };
        write!(line, " endTxnMarker: {word} coordinatorEpoch: {epoch}").unwrap();
    }
    line
}

/// What we say of one log.
fn lines_of(path: &Path, lines: &mut Vec<String>) {
    let name = path.file_name().unwrap().to_str().unwrap();
    lines.push(name.to_owned());
    let file = RealDisk::default().open(path, OpenMode::Read).unwrap();
    let length = file.length().unwrap();
    let mut scan = Scan::new(file, name[..20].parse().unwrap(), length, Gaps::Before(i64::MAX));
    loop {
        match scan.step().unwrap() {
            Step::End => return,
            Step::Stopped(stop) => panic!("{} at {}: {}", path.display(), stop.position, stop.what),
            Step::Batch(found) => {
                let header = found.header;
                lines.push(batch_line(&header, found.position, found.batch));
                let mut unpacked = Vec::new();
                let records = match header.compression().unwrap() {
                    Compression::None => &found.batch[HEADER_BYTES..],
                    codec => {
                        decompress(codec, &found.batch[HEADER_BYTES..], 1 << 20, &mut unpacked).unwrap();
                        &unpacked
                    }
                };
                for record in Records::new(records, header.record_count) {
                    lines.push(record_line(&header, &RecordRef::new(&header, record.unwrap())));
                }
            }
        }
    }
}

/// Line by line.
#[test]
fn the_same_as_kafkas_tool() {
    let partitions = partitions();
    assert!(partitions.len() >= 4, "{partitions:?}");
    for partition in partitions {
        let mut logs: Vec<PathBuf> = fs::read_dir(&partition).unwrap().map(|entry| entry.unwrap().path()).collect();
        logs.retain(|path| path.extension().is_some_and(|suffix| suffix == "log"));
        logs.sort();
        let mut ours = Vec::new();
        for log in &logs {
            lines_of(log, &mut ours);
        }
        let theirs = fs::read_to_string(partition.with_extension("dump")).unwrap();
        for (ours, theirs) in ours.iter().zip(theirs.lines()) {
            assert_eq!(ours, theirs, "{}", partition.display());
        }
        assert_eq!(ours.len(), theirs.lines().count(), "{}", partition.display());
        assert!(ours.len() > 3);
    }
}
