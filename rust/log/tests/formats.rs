//! A data directory of every format there ever was opens, and holds what was written into it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::batch::records::RecordRef;
use ottla_log::commit::Host;
use ottla_log::directory::{DataDirectory, FORMAT_VERSION};
use ottla_log::env::Env;
use ottla_log::health::NOTE;
use ottla_log::metadata_log::MetadataLog;
use ottla_log::partition::ReadUpTo;
use ottla_log::{Identity, Partition, PartitionConfig};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn copy_into(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if entry.is_dir() { copy_into(&entry, &target) } else { fs::copy(&entry, &target).map(drop).unwrap() }
    }
}

fn copy_of(format: i32) -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("data");
    copy_into(&Path::new(FIXTURES).join(format!("ottla-format-{format}")), &path);
    (scratch, path)
}

fn open(host: &Arc<Host>, directory: &DataDirectory, topic: &str, id: &[u8; 16]) -> (Arc<Partition>, Vec<String>) {
    let identity = Identity { topic: topic.into(), topic_id: *id, partition: 0 };
    let (path, hint) = (directory.partition_path(topic, 0), directory.hint(topic, 0));
    let opened = Partition::open(host, path, identity, Arc::new(PartitionConfig::default()), 0, hint).unwrap();
    (opened.0, opened.1.damage)
}

/// Offset, leader epoch, key and value; markers leave a gap.
type Row = (i64, i32, Option<String>, Option<String>);

fn rows(partition: &Partition) -> Vec<Row> {
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    let mut found = Vec::new();
    let (mut at, mut before) = (partition.offsets().log_start, -1);
    while at != before {
        before = at;
        let note = |record: &RecordRef<'_>| {
            if !record.is_control {
                found.push((record.offset, record.leader_epoch, text(record.key), text(record.value)));
            }
        };
        at = partition.for_each_record(at, 4096, ReadUpTo::LogEnd, note).unwrap();
    }
    found
}

/// What examples/write_sample.rs writes into `sample-0`.
fn sample() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut batch = |at: i64, epoch: i32, text: String| {
        rows.push((at, epoch, Some(format!("key {text}")), Some(format!("value {text} {}", "and so on ".repeat(20)))));
        rows.push((at + 1, epoch, None, None));
        rows.push((at + 2, epoch, Some(String::new()), Some(String::new())));
    };
    let mut at = 0;
    for round in 0..40 {
        let epoch = if round < 20 { 0 } else { 3 };
        for who in ["nobody", "1000", "2000", "3000"] {
            batch(at, epoch, format!("of {who}, round {round}"));
            at += 3;
        }
        at += if round % 10 == 9 { 2 } else { 0 };
    }
    batch(at, 3, "of a transaction that stays open".into());
    rows.retain(|row| row.0 >= 5);
    rows
}

/// After a clean stop and after a crash; records, log start, transactions, producers, epochs and metadata are those of then.
#[test]
fn every_format_opens() {
    for format in 1..=FORMAT_VERSION {
        for clean in [true, false] {
            let (_scratch, path) = copy_of(format);
            let stored = fs::read_to_string(path.join("meta.properties")).unwrap();
            assert!(stored.lines().any(|line| line == format!("ottla.format={format}")), "{stored}");
            if !clean {
                fs::remove_file(path.join(".kafka_cleanshutdown")).unwrap();
                fs::remove_file(path.join("recovery-point-offset-checkpoint")).unwrap();
            }
            let env = Env::system();
            if !clean && env.disk().open_direct(&path.join("meta.properties")).unwrap().is_none() {
                // A disk that cannot be asked what it has goes by what a crash leaves there: that nothing had failed.
                fs::write(path.join(NOTE), "version: 0\npage_cache: trusted \nboot_id: \n").unwrap();
            }
            let host = Host::new(env, 0);
            let directory = DataDirectory::open(&host, &path, 1, None, &mut || [0; 16]).unwrap();
            assert_eq!((directory.cluster_id(), directory.was_clean()), ("c2FtcGxlIGNsdXN0ZXIgMQ", clean));
            assert_eq!(directory.directory_id(), [1, 1, 1, 1, 1, 1, 0x41, 1, 0x81, 1, 1, 1, 1, 1, 1, 1]);
            let (partition, damage) = open(&host, &directory, "sample", b"a sample topic 1");
            assert_eq!(damage, Vec::<String>::new());
            assert_eq!(rows(&partition), sample(), "format {format}, clean {clean}");
            let (offsets, status) = (partition.offsets(), partition.status());
            assert_eq!((offsets.log_start, offsets.last_stable, offsets.log_end), (5, 488, 491));
            assert_eq!((status.producers, status.open_transactions), (4, 1));
            let aborted = partition.read(5, 1, ReadUpTo::LastStable, true).unwrap().aborted;
            assert_eq!((aborted[0].producer_id, aborted[0].first_offset), (3000, 9));
            assert_eq!(partition.end_offset_for_epoch(0).end_offset, 244);
            assert_eq!(open(&host, &directory, "plain", b"a plain topic 01").0.offsets().log_end, 3);
            let metadata = MetadataLog::open(&host, &path, 1, clean).unwrap();
            let snapshot = metadata.latest_snapshot().unwrap().unwrap();
            assert_eq!((snapshot.end_offset, snapshot.epoch, snapshot.values.len()), (21, 1, 1));
            let (records, _) = metadata.read(snapshot.end_offset, 1 << 20).unwrap();
            assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [21]);
        }
    }
}

/// Whoever raises the format leaves a directory of it here.
#[test]
fn a_directory_of_each_format_is_kept() {
    let mut kept: Vec<i32> = fs::read_dir(FIXTURES)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_prefix("ottla-format-")?.parse().ok())
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, (1..=FORMAT_VERSION).collect::<Vec<_>>());
}
