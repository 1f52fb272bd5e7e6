//! A directory written by Apache Kafka opens, reads as written, and what recovery rebuilds of it is what Kafka had written.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::checkpoint::parse_id;
use ottla_log::commit::Host;
use ottla_log::compaction::Unhurried;
use ottla_log::env::Env;
use ottla_log::partition::{MapSize, OpenHint, ReadUpTo, RecoveryReport};
use ottla_log::{CleanupPolicy, Identity, Partition, PartitionConfig};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/kafka-4.3.1/kafka-0");

fn copy() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("kafka-0");
    fs::create_dir(&path).unwrap();
    for entry in fs::read_dir(FIXTURE).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
    }
    (scratch, path)
}

fn open(path: &Path, clean: bool) -> (Arc<Partition>, RecoveryReport) {
    let host = Host::new(Env::system(), 0);
    let topic_id = parse_id("4ZHfBuCaTYu0xUGNJXpthg").unwrap();
    let identity = Identity { topic: "kafka".into(), topic_id, partition: 0 };
    let config = PartitionConfig { segment_bytes: 16384, index_interval_bytes: 1024, ..PartitionConfig::default() };
    let hint = OpenHint { clean, ..OpenHint::default() };
    Partition::open(&host, path.to_path_buf(), identity, Arc::new(config), 0, hint).unwrap()
}

/// The values of all data records.
fn values(partition: &Partition, up_to: ReadUpTo) -> Vec<String> {
    let mut found = Vec::new();
    let (mut at, mut before) = (0, -1);
    while at != before {
        before = at;
        at = partition
            .for_each_record(at, 4096, up_to, |record| {
                if !record.is_control {
                    found.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
                }
            })
            .unwrap();
    }
    found
}

fn written() -> Vec<String> {
    let mut expected = Vec::new();
    for (turn, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].repeat(2).into_iter().enumerate() {
        for batch in 0..6 {
            for record in 0..4 {
                expected.push(format!("{codec} {turn} {batch} {record} {}", "lorem ipsum ".repeat(12)));
            }
        }
    }
    for transaction in ["t1", "t2", "t3", "t4"] {
        expected.extend((0..5).map(|record| format!("{transaction} {record}")));
        expected.push("between".into());
    }
    expected
}

/// Every record, the aborted transactions and the open one are found, after a clean stop and by a scan alike.
#[test]
fn reads_as_written() {
    for clean in [true, false] {
        let (_scratch, path) = copy();
        let (partition, report) = open(&path, clean);
        assert_eq!((report.damage.as_slice(), report.bytes_cut), (&[][..], 0));
        assert_eq!(report.segments_scanned, if clean { 0 } else { 2 });
        let stable = written();
        let mut all = stable.clone();
        all.push("open".into());
        assert_eq!(values(&partition, ReadUpTo::HighWatermark), all);
        assert_eq!(values(&partition, ReadUpTo::LastStable), stable);
        let offsets = partition.offsets();
        assert_eq!((offsets.last_stable, offsets.log_end), (268, 269));
        let read = partition.read(204, 1 << 20, ReadUpTo::LastStable, true).unwrap();
        assert_eq!(read.aborted.len(), 2);
        assert_eq!(partition.status().open_transactions, 1);
        let by_time = partition.lookup_timestamp(0).unwrap().unwrap();
        assert_eq!((by_time.offset, by_time.leader_epoch), (0, Some(0)));
    }
}

/// Indexes rebuilt by a scan are byte for byte those Kafka wrote.
#[test]
fn rebuilds_what_kafka_wrote() {
    let (_scratch, path) = copy();
    let rebuilt = |name: &str| fs::read(path.join(name)).unwrap();
    let original = |name: &str| fs::read(Path::new(FIXTURE).join(name)).unwrap();
    // As a crashed Kafka leaves the index of the segment it was writing: laid out in advance, full of zeroes.
    for name in ["00000000000000000204.index", "00000000000000000204.timeindex"] {
        fs::OpenOptions::new().write(true).open(path.join(name)).unwrap().set_len(120_000).unwrap();
    }
    fs::remove_file(path.join("00000000000000000000.index")).unwrap();
    let (partition, report) = open(&path, false);
    assert_eq!(report.indexes_rebuilt, 2);
    partition.close().unwrap();
    for base in ["00000000000000000000", "00000000000000000204"] {
        for suffix in ["index", "timeindex", "txnindex"] {
            let name = format!("{base}.{suffix}");
            if Path::new(FIXTURE).join(&name).exists() {
                assert_eq!(rebuilt(&name), original(&name), "{name}");
            }
        }
    }
    assert_eq!(rebuilt("leader-epoch-checkpoint"), original("leader-epoch-checkpoint"));
}

type Row = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// Offset, timestamp, key and value of the records that read_committed shows. The aborted ones are known: `t2` and `t4`.
fn committed(partition: &Partition) -> Vec<Row> {
    let mut found = Vec::new();
    let (mut at, mut before) = (0, -1);
    while at != before {
        before = at;
        at = partition
            .for_each_record(at, 4096, ReadUpTo::LastStable, |record| {
                let aborted = record.value.is_some_and(|value| value.starts_with(b"t2 ") || value.starts_with(b"t4 "));
                if !record.is_control && !aborted {
                    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                    found.push((record.offset, record.timestamp_ms, owned(record.key), owned(record.value)));
                }
            })
            .unwrap();
    }
    found
}

/// What Kafka wrote, in every codec and in transactions, compacts to the last committed record of each key, its bytes and times as
/// they were; so it reads after a restart of either kind, and the transaction that is open goes on.
#[test]
fn compacts_what_kafka_wrote() {
    let (_scratch, path) = copy();
    let (partition, _) = open(&path, true);
    partition.roll().unwrap();
    let before = committed(&partition);
    let config = PartitionConfig {
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        index_interval_bytes: 1024,
        ..PartitionConfig::default()
    };
    partition.set_config(Arc::new(config));
    let size = MapSize { bytes_max: 1 << 20, load_factor: 0.9, hash_key: [3; 16] };
    let until = partition.compact(size, &mut Unhurried).unwrap().unwrap().cleaned;
    assert_eq!(until, 204, "up to the segment of the open transaction");
    let mut last = BTreeMap::new();
    for row in before.iter().filter(|row| row.0 < until) {
        last.insert(row.2.clone(), row.0);
    }
    let stays = |row: &&Row| row.0 >= until || (row.2.is_some() && last[&row.2] == row.0);
    let expected: Vec<Row> = before.iter().filter(stays).cloned().collect();
    assert!(expected.len() < before.len() / 3);
    assert_eq!(committed(&partition), expected);
    partition.close().unwrap();
    for clean in [true, false] {
        let (partition, report) = open(&path, clean);
        assert_eq!((report.damage.as_slice(), report.bytes_cut), (&[][..], 0), "{clean}");
        assert_eq!(committed(&partition), expected, "{clean}");
        assert_eq!((partition.offsets().last_stable, partition.status().open_transactions), (268, 1));
        partition.close().unwrap();
    }
}
