//! Truncation, DeleteRecords, retention, deletion.

use std::path::Path;

use super::*;
use crate::env::faulty::{Call, EIO, Fault};
use crate::error::{ReadError, StorageError};
use crate::partition::Deletion;
use crate::segment::names;

/// Truncating at every offset leaves exactly what lies before the batch that holds it, and appends go on there.
#[test]
fn truncate_everywhere() {
    for cut in 0..=40 {
        let bench = Bench::small();
        let partition = bench.open();
        for index in 0..20 {
            send(&partition, batch(producer(1, 0, index * 2), &["a", "b"])).unwrap();
        }
        let snapshot = records(&partition, ReadUpTo::LogEnd);
        partition.truncate_to(cut).unwrap();
        let end = cut / 2 * 2;
        assert_eq!(partition.offsets().log_end, end);
        assert_eq!(records(&partition, ReadUpTo::LogEnd), snapshot[..end as usize]);
        let next = send(&partition, batch(producer(1, 0, end as i32), &["c"])).unwrap();
        assert_eq!((next.base_offset, next.duplicate), (end, false), "the producer's state was cut too");
        drop(partition);
        assert_eq!(bench.open().offsets().log_end, end + 1);
    }
}

/// DeleteRecords moves the start at once, takes files with the next retention run, and is remembered by those who keep the checkpoint.
#[test]
fn delete_records() {
    let bench = Bench::small();
    let partition = bench.open();
    for _ in 0..40 {
        send_values(&partition, &["v"]);
    }
    let segments = partition.status().segments;
    assert_eq!(partition.delete_records_before(25).unwrap(), 25);
    assert_eq!(partition.delete_records_before(10).unwrap(), 25);
    assert!(matches!(partition.delete_records_before(41), Err(ReadError::OffsetOutOfRange { .. })));
    assert_eq!(records(&partition, ReadUpTo::LogEnd)[0].0, 25);
    assert_eq!(partition.enforce_retention(T0).unwrap(), 2);
    assert_eq!(partition.status().segments, segments - 2);
    assert_eq!(partition.delete_records_before(-1).unwrap(), 40);
    drop(partition);
    let partition = bench.open_with(OpenHint { log_start: 40, ..OpenHint::default() }).0;
    assert_eq!(partition.offsets().log_start, 40);
    assert_eq!(send_values(&partition, &["next"]).base_offset, 40);
}

/// Old segments go by time, files and snapshots with them; when everything is old the log is rolled first and stays writable.
#[test]
fn retention_by_time() {
    let bench = Bench::small();
    let partition = bench.open();
    for index in 0..30 {
        send(&partition, batch_at(NOBODY, Compression::None, T0 + index, &["v"])).unwrap();
    }
    let week_ms = 7 * 24 * 3_600_000;
    assert_eq!(partition.enforce_retention(T0 + week_ms).unwrap(), 0);
    // Twelve batches a segment: 0..12, 12..24, 24..30.
    assert_eq!(partition.enforce_retention(T0 + week_ms + 20).unwrap(), 1);
    let first = partition.offsets().log_start;
    assert_eq!(first, 12);
    assert!(names(&bench).iter().all(|name| !name.starts_with("0") || name[..20].parse::<i64>().unwrap() >= first));
    assert_eq!(partition.enforce_retention(T0 + week_ms + 1000).unwrap(), 2);
    let offsets = partition.offsets();
    assert_eq!((offsets.log_start, offsets.log_end, partition.status().segments), (30, 30, 1));
    assert_eq!(send_values(&partition, &["on"]).base_offset, 30);
}

/// Deleted files stay, renamed, for `file.delete.delay.ms`.
#[test]
fn delayed_deletion() {
    let mut bench = Bench::small();
    bench.config.file_delete_delay_ms = 60_000;
    bench.config.retention_bytes = Some(1000);
    let partition = bench.open();
    for _ in 0..30 {
        send_values(&partition, &["v"]);
    }
    assert!(partition.enforce_retention(T0).unwrap() > 0);
    let deleted = || names(&bench).iter().filter(|name| name.ends_with(".deleted")).count();
    assert!(deleted() > 0);
    bench.clock.turn(59_999);
    assert_eq!(bench.host.remove_due(), 0);
    bench.clock.turn(1);
    assert!(bench.host.remove_due() > 0);
    assert_eq!(deleted(), 0);
}

/// A deleted partition's directory is out of the way at once, so that a topic of the same name can be made; its files go later.
#[test]
fn delete() {
    let mut bench = Bench::small();
    bench.config.file_delete_delay_ms = 60_000;
    let partition = bench.open();
    send_values(&partition, &["v"]);
    partition.delete().unwrap();
    assert!(matches!(partition.flush(), Err(StorageError::Closed { .. })));
    assert!(send(&partition, batch(NOBODY, &["v"])).is_err());
    let disk = bench.host.env().disk();
    let deleted = || {
        disk.list(std::path::Path::new("/data")).unwrap().iter().filter(|entry| entry.name.ends_with("-delete")).count()
    };
    assert_eq!(deleted(), 1);
    let successor = bench.open();
    assert_eq!(send_values(&successor, &["w"]).base_offset, 0);
    bench.clock.turn(60_000);
    bench.host.remove_due();
    assert_eq!(deleted(), 0);
    assert_eq!(records(&successor, ReadUpTo::LogEnd).len(), 1);
}

/// Records are deleted without a sync under the lock that appends and reads wait for, and the epochs are right all the same: before and
/// after the next start, whatever there is of the log.
#[test]
fn deleting_records_waits_for_no_disk() {
    for left in [0, 4] {
        let (mut bench, faults) = brittle(Durability::Os, 0);
        bench.config.segment_bytes = 300;
        let partition = bench.open();
        for epoch in 1..=4 {
            partition.set_leader_epoch(epoch).unwrap();
            for _ in 0..5 {
                send_values(&partition, &["v"]);
            }
        }
        partition.flush().unwrap();
        let start = 20 - left;
        faults.trace();
        partition.delete_records_before(start).unwrap();
        assert_eq!(faults.traced(), []);
        faults.trace();
        assert!(partition.enforce_retention(T0).unwrap() > 0);
        let synced: Vec<_> = faults.traced().into_iter().filter(|(call, _)| *call == Call::Sync).collect();
        assert!(synced.iter().all(|(_, path)| path.extension().is_some_and(|kind| kind == "snapshot")), "{synced:?}");
        let ends = |partition: &Partition| {
            (0..=5)
                .map(|epoch| partition.end_offset_for_epoch(epoch))
                .map(|end| (end.epoch, end.end_offset))
                .collect::<Vec<_>>()
        };
        let before = ends(&partition);
        assert_eq!(before[1], (1, start.max(15)));
        bench.epoch = 4;
        partition.close().unwrap();
        drop(partition);
        for clean in [true, false] {
            let hint = OpenHint { clean, log_start: start, ..OpenHint::default() };
            assert_eq!(ends(&bench.open_with(hint).0), before, "{left} left, {clean}");
        }
    }
}

/// Many are deleted with one sync of the directory they lie in; one that cannot be is told of and holds up no other, and where the sync fails
/// nothing is removed.
#[test]
fn deleted_together() {
    let (mut bench, faults) = brittle(Durability::Os, 0);
    bench.config.file_delete_delay_ms = 0;
    let open = |partition: i32| {
        let identity = Identity { topic: "t".into(), topic_id: [7; 16], partition };
        let path = PathBuf::from(format!("/data/t-{partition}"));
        let config = Arc::new(bench.config.clone());
        let (partition, _) = Partition::open(&bench.host, path, identity, config, 0, OpenHint::default()).unwrap();
        send_values(&partition, &["v"]);
        partition
    };
    let there = || bench.host.env().disk().list("/data".as_ref()).unwrap().len();
    let all = |range: std::ops::Range<i32>| -> Vec<Deletion> { range.map(open).map(Deletion::Opened).collect() };
    let first = all(0..4);
    faults.fail(Fault::new(EIO).of(&[Call::Rename]).after(2).once());
    faults.trace();
    let failed = Partition::delete_all(&bench.host, &first);
    assert_eq!(failed.iter().map(|(path, _)| *path).collect::<Vec<_>>(), [Path::new("/data/t-2")]);
    let syncs = faults.traced().into_iter().filter(|(call, _)| *call == Call::SyncDir).map(|(_, path)| path);
    assert_eq!(syncs.collect::<Vec<_>>(), [PathBuf::from("/data")]);
    assert_eq!(there(), 1);
    let second = all(4..6);
    faults.fail(Fault::new(EIO).of(&[Call::SyncDir]).at("/data").once());
    assert_eq!(Partition::delete_all(&bench.host, &second).len(), 2);
    assert_eq!(there(), 3);
}

/// A directory that nobody opened goes as one that somebody did: after the delay, and not a file of it is looked at.
#[test]
fn deleted_unopened() {
    let (bench, faults) = brittle(Durability::Os, 0);
    let partition = bench.open();
    send_values(&partition, &["v"]);
    partition.close().unwrap();
    drop(partition);
    faults.trace();
    let deletions = [Deletion::Unopened { path: bench.path(), delay_ms: 1_000 }];
    assert!(Partition::delete_all(&bench.host, &deletions).is_empty());
    let calls: Vec<Call> = faults.traced().into_iter().map(|(call, _)| call).collect();
    assert_eq!(calls, [Call::Rename, Call::SyncDir]);
    let listed = || -> Vec<String> {
        bench.host.env().disk().list("/data".as_ref()).unwrap().into_iter().map(|entry| entry.name).collect()
    };
    assert!(listed()[0].starts_with("t-0.") && listed()[0].ends_with(names::DELETE_DIR_SUFFIX));
    assert_eq!(bench.open().offsets().log_end, 0);
    bench.clock.turn(1_000);
    assert_eq!(bench.host.remove_due(), 1);
    assert!(listed().is_empty());
}
