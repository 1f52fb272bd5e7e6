//! A partition that Apache Kafka compacted, transactions, tombstones and all, opens and reads as Kafka itself answered.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::batch::records::RecordRef;
use ottla_log::checkpoint::read_topic_id;
use ottla_log::commit::Host;
use ottla_log::env::Env;
use ottla_log::partition::{OpenHint, ReadUpTo, RecoveryReport};
use ottla_log::{CleanupPolicy, Identity, Partition, PartitionConfig};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/kafka-4.3.1-compacted");

/// Offset, key, value (`-`: none).
type Row = (i64, String, String);

fn copy() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("compacted-0");
    fs::create_dir(&path).unwrap();
    for entry in fs::read_dir(Path::new(FIXTURE).join("compacted-0")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), path.join(entry.file_name())).unwrap();
    }
    (scratch, path)
}

fn open(path: &Path, compact: bool, hint: OpenHint) -> (Arc<Partition>, RecoveryReport) {
    let host = Host::new(Env::system(), 0);
    let topic_id = read_topic_id(host.env().disk().as_ref(), &path.join("partition.metadata")).unwrap().unwrap();
    let identity = Identity { topic: "compacted".into(), topic_id, partition: 0 };
    let cleanup_policy = CleanupPolicy { compact, delete: !compact };
    let config = PartitionConfig { cleanup_policy, retention_ms: None, ..PartitionConfig::default() };
    Partition::open(&host, path.to_path_buf(), identity, Arc::new(config), 0, hint).unwrap()
}

fn expected(level: &str) -> Vec<Row> {
    let text = fs::read_to_string(Path::new(FIXTURE).join(format!("{level}.tsv"))).unwrap();
    let row = |line: &str| {
        let mut words = line.splitn(3, '\t').map(str::to_owned);
        (words.next().unwrap().parse().unwrap(), words.next().unwrap(), words.next().unwrap())
    };
    text.lines().map(row).collect()
}

/// Every record from offset 0 on, markers too: producer, whether it is a marker, the record.
fn records(partition: &Partition) -> Vec<(i64, bool, Row)> {
    let mut found = Vec::new();
    let (mut at, mut before) = (0, -1);
    while at != before {
        before = at;
        let note = |record: &RecordRef<'_>| {
            let text = |bytes: Option<&[u8]>| match bytes.filter(|_| !record.is_control) {
                Some(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                None => "-".to_owned(),
            };
            found.push((record.producer_id, record.is_control, (record.offset, text(record.key), text(record.value))));
        };
        at = partition.for_each_record(at, 1 << 20, ReadUpTo::LastStable, note).unwrap();
    }
    found
}

/// What a consumer is shown; read_committed: without the transactions that the reads name as aborted, each up to its marker.
fn shown(partition: &Partition, read_committed: bool) -> Vec<Row> {
    let mut aborted = BTreeSet::new();
    let mut at = 0;
    while let Some(slice) = partition
        .read(at, 1 << 20, ReadUpTo::LastStable, true)
        .map(|read| {
            aborted.extend(read.aborted.iter().map(|aborted| (aborted.producer_id, aborted.first_offset)));
            read.slice
        })
        .unwrap()
    {
        assert!(slice.length > 0);
        at = partition.for_each_record(at, 1 << 20, ReadUpTo::LastStable, |_| {}).unwrap();
    }
    let all = records(partition);
    let mut skipped = BTreeSet::new();
    for (id, first) in aborted.iter().filter(|_| read_committed) {
        let end = all.iter().find(|(producer, marker, row)| producer == id && *marker && row.0 >= *first).unwrap();
        skipped.extend((*first..end.2.0).map(|offset| (*id, offset)));
    }
    all.into_iter()
        .filter(|(id, is_marker, row)| !is_marker && !skipped.contains(&(*id, row.0)))
        .map(|(_, _, row)| row)
        .collect()
}

/// After a clean stop, by a scan of everything, and by a scan from a recovery point; with the topic's settings and with those of a
/// topic that is not compacted any more.
#[test]
fn reads_as_kafka_answered() {
    let hints = [
        OpenHint { clean: true, ..OpenHint::default() },
        OpenHint::default(),
        OpenHint { recovery_point: 200, ..OpenHint::default() },
    ];
    for hint in hints {
        for compact in [true, false] {
            let (_scratch, path) = copy();
            let (partition, report) = open(&path, compact, hint);
            assert_eq!((report.damage.as_slice(), report.bytes_cut), (&[][..], 0), "{hint:?}");
            assert_eq!(shown(&partition, false), expected("read_uncommitted"), "{hint:?}");
            assert_eq!(shown(&partition, true), expected("read_committed"), "{hint:?}");
            assert_eq!((partition.offsets().last_stable, partition.offsets().log_end), (243, 243), "{hint:?}");
        }
    }
}

/// A scan rebuilds the index of aborted transactions from what is in the log: Kafka's cleaner also keeps entries of transactions whose
/// records are all gone, of which only the markers tell.
#[test]
fn rebuilds_the_transaction_indexes() {
    let (_scratch, path) = copy();
    drop(open(&path, true, OpenHint::default()));
    for (base, gone) in [("00000000000000000093", 6), ("00000000000000000195", 0)] {
        let name = format!("{base}.txnindex");
        let original = fs::read(Path::new(FIXTURE).join("compacted-0").join(&name)).unwrap();
        assert_eq!(fs::read(path.join(&name)).unwrap(), original[gone * 34..], "{name}");
    }
}
