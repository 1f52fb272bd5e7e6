//! The metadata log: epochs, atomic appends, snapshots, and what is left of it after crashes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::commit::Host;
use ottla_log::env::scratch::scratch_disk;
use ottla_log::env::{Env, OpenMode, VirtualClock, read_file};
use ottla_log::metadata_log::MetadataLog;

const DATA: &str = "/data";
const T0: i64 = 1_700_000_000_000;

fn host() -> Arc<Host> {
    Host::new(Env::new(scratch_disk(), Arc::new(VirtualClock::new(T0))), 0)
}

fn open(host: &Arc<Host>, clean: bool) -> MetadataLog {
    MetadataLog::open(host, Path::new(DATA), 1, clean).unwrap()
}

fn append(log: &MetadataLog, values: &[&str]) -> i64 {
    log.append(&values.iter().map(|value| value.as_bytes()).collect::<Vec<_>>(), T0).unwrap()
}

/// All committed values from `start` on, with their offsets.
fn values(log: &MetadataLog, mut start: i64) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    loop {
        let (records, next) = log.read(start, 1000).unwrap();
        found.extend(records.into_iter().map(|record| (record.offset, String::from_utf8(record.value).unwrap())));
        if next == start {
            return found;
        }
        start = next;
    }
}

fn files(host: &Host) -> Vec<String> {
    let directory = Path::new(DATA).join("__cluster_metadata-0");
    host.env().disk().list(&directory).unwrap().into_iter().map(|entry| entry.name).collect()
}

/// Every start begins an epoch of its own with one control record; values keep offsets and order.
#[test]
fn epochs_grow_at_every_start() {
    let host = host();
    let log = open(&host, true);
    assert_eq!((log.leader_epoch(), append(&log, &["a", "b"])), (1, 2));
    log.close().unwrap();
    let log = open(&host, true);
    assert_eq!((log.leader_epoch(), append(&log, &["c"])), (2, 4));
    drop(log);
    let log = open(&host, false);
    assert_eq!(log.leader_epoch(), 3);
    let expected = [(1, "a"), (2, "b"), (4, "c")].map(|(offset, value)| (offset, value.to_owned()));
    assert_eq!(values(&log, 0), expected);
    let (records, _) = log.read(0, 10_000).unwrap();
    assert_eq!(records.iter().map(|record| record.leader_epoch).collect::<Vec<_>>(), [1, 1, 2]);
}

/// A snapshot holds what it was given, replaces older ones, moves the log start, and is found again.
#[test]
fn snapshots() {
    let host = host();
    let log = open(&host, true);
    assert_eq!(log.latest_snapshot().unwrap(), None);
    append(&log, &["a", "b"]);
    log.write_snapshot(3, 1, &[b"state of a and b"], T0 + 5).unwrap();
    append(&log, &["c"]);
    let many: Vec<Vec<u8>> = (0..3000).map(|index| vec![index as u8; 500]).collect();
    log.write_snapshot(4, 1, &many.iter().map(Vec::as_slice).collect::<Vec<_>>(), T0 + 6).unwrap();
    append(&log, &["d"]);
    drop(log);
    for clean in [false, true] {
        let log = open(&host, clean);
        let snapshot = log.latest_snapshot().unwrap().unwrap();
        assert_eq!((snapshot.end_offset, snapshot.epoch, snapshot.timestamp_ms), (4, 1, T0 + 6));
        assert_eq!(snapshot.values, many);
        assert_eq!(values(&log, 4)[0], (4, "d".to_owned()));
        assert_eq!(log.partition().offsets().log_start, 4);
        log.close().unwrap();
    }
    let checkpoints: Vec<String> = files(&host).into_iter().filter(|name| name.ends_with(".checkpoint")).collect();
    assert_eq!(checkpoints, ["00000000000000000004-0000000001.checkpoint"]);
}

/// Only committed records may go into a snapshot.
#[test]
fn no_snapshot_of_the_future() {
    let host = host();
    let log = open(&host, true);
    assert!(log.write_snapshot(7, 1, &[], T0).is_err());
}

/// A snapshot that was not finished is not there; one that is damaged gives way to an older one; a log that lost more than a snapshot
/// holds goes on behind the snapshot.
#[test]
fn crashes() {
    let host = host();
    let log = open(&host, true);
    append(&log, &["a", "b"]);
    log.write_snapshot(3, 1, &[b"state"], T0).unwrap();
    drop(log);
    let disk = host.env().disk();
    let directory = PathBuf::from(DATA).join("__cluster_metadata-0");
    let part = directory.join("00000000000000000009-0000000001.checkpoint.part");
    disk.open(&part, OpenMode::Create).unwrap();
    disk.open(&directory.join("00000000000000000000.log"), OpenMode::Write).unwrap().set_len(100).unwrap();
    let log = open(&host, false);
    assert!(!disk.exists(&part).unwrap());
    assert_eq!(log.latest_snapshot().unwrap().unwrap().values, [b"state"]);
    assert_eq!(append(&log, &["after"]), 4, "3 is the new epoch's LeaderChange");
    assert_eq!(values(&log, 3), [(4, "after".to_owned())]);
}

/// A snapshot cut at any byte is taken for none.
#[test]
fn snapshot_cut_at_every_byte() {
    let host = host();
    let log = open(&host, true);
    append(&log, &["a"]);
    log.write_snapshot(2, 1, &[b"one", b"two"], T0).unwrap();
    let path = PathBuf::from(DATA).join("__cluster_metadata-0/00000000000000000002-0000000001.checkpoint");
    let disk = host.env().disk();
    let whole = read_file(disk.as_ref(), &path, 10_000).unwrap();
    for length in (0..whole.len()).rev() {
        disk.open(&path, OpenMode::Write).unwrap().set_len(length as u64).unwrap();
        assert_eq!(log.latest_snapshot().unwrap(), None, "{length} of {} bytes", whole.len());
    }
}

/// An append is one batch: cut anywhere, all of it is gone.
#[test]
fn appends_are_atomic() {
    let host = host();
    let log = open(&host, true);
    append(&log, &["a"]);
    let directory = PathBuf::from(DATA).join("__cluster_metadata-0");
    let log_path = directory.join("00000000000000000000.log");
    let disk = host.env().disk();
    let before = disk.open(&log_path, OpenMode::Read).unwrap().length().unwrap();
    append(&log, &["b", "c", "d"]);
    drop(log);
    let whole = read_file(disk.as_ref(), &log_path, 10_000).unwrap();
    for length in before..whole.len() as u64 {
        let file = disk.open(&log_path, OpenMode::Truncate).unwrap();
        file.write_at(&mut [std::io::IoSlice::new(&whole[..length as usize])], 0).unwrap();
        let log = open(&host, false);
        assert_eq!(values(&log, 0), [(1, "a".to_owned())]);
    }
}
