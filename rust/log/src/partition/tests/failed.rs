//! After a disk failed: where the next opening ends the log, and what it believes.

use std::io::IoSlice;

use super::*;
use crate::env::OpenMode;
use crate::env::faulty::{Call, EIO, Fault};
use crate::partition::marker::{self, Marker};
use crate::segment::names as files;

fn offsets_found(partition: &Partition) -> Vec<i64> {
    records(partition, ReadUpTo::LogEnd).into_iter().map(|(offset, _)| offset).collect()
}

/// A log of 20 records in two segments and more, one record or two per batch, closed cleanly.
fn written() -> Bench {
    let bench = Bench::small();
    let partition = bench.open();
    for _ in 0..10 {
        send_values(&partition, &["one"]);
    }
    for _ in 0..5 {
        send_values(&partition, &["first", "second"]);
    }
    assert!(partition.status().segments >= 2);
    partition.close().unwrap();
    bench
}

/// Wherever the marker stands, the log ends there, or at the begin of the batch it stands in; whatever else says that nothing needs a look:
/// the mark of a clean stop, a recovery point further on. The cut made, the marker is gone and the log goes on.
#[test]
fn the_log_ends_at_the_marker() {
    for durable in 0..=20 {
        for hint in [Bench::clean(), OpenHint::default(), OpenHint { recovery_point: 20, ..OpenHint::default() }] {
            let bench = written();
            marker::write(bench.host.env().disk().as_ref(), &bench.path(), durable).unwrap();
            let (partition, report) = bench.open_with(hint);
            let end = if durable > 10 { durable - durable % 2 } else { durable };
            let what = format!("marker at {durable}, {hint:?}, {report:?}");
            assert_eq!(offsets_found(&partition), (0..end).collect::<Vec<_>>(), "{what}");
            assert!(report.damage[0].contains("failed when it had everything"), "{what}");
            assert_eq!(marker::read(bench.host.env().disk().as_ref(), &bench.path()).unwrap(), Marker::Absent);
            assert_eq!(send_values(&partition, &["on"]).base_offset, end, "{what}");
            drop(partition);
            let (partition, report) = bench.open_with(OpenHint::default());
            assert_eq!((offsets_found(&partition).len() as i64, report.damage.len()), (end + 1, 0), "{what}");
        }
    }
}

/// Where the marker cannot be read, and memory shows a batch that is not the one on the disk, neither is served: both are whole.
#[test]
fn memory_that_differs_from_the_disk() {
    let (bench, faults) = brittle(Durability::Fsync, 0);
    faults.track();
    let partition = bench.open();
    for value in ["a", "b", "c"] {
        send_values(&partition, &[value]);
    }
    drop(partition);
    let disk = bench.host.env().disk();
    let path = files::file(&bench.path(), 0, files::LOG);
    let there = crate::env::read_file(disk.as_ref(), &path, u64::MAX).unwrap();
    let length = there.len() / 3;
    let mut other = batch(NOBODY, &["x"]);
    header::place(&mut other, 1, 0);
    assert_eq!(other.len(), length);
    let file = disk.open(&path, OpenMode::Write).unwrap();
    file.write_at(&mut [IoSlice::new(&other)], length as u64).unwrap();
    faults.fail(Fault::new(EIO).of(&[Call::Sync]).at(".log").once());
    assert!(file.sync_data().is_err());
    let marker = disk.open(&bench.path().join(files::DURABLE_OFFSET), OpenMode::Create).unwrap();
    marker.write_at(&mut [IoSlice::new(b"version: 0\n")], 0).unwrap();
    let (partition, report) = bench.open_with(OpenHint::default());
    assert_eq!(records(&partition, ReadUpTo::LogEnd), [(0, "a".to_owned())], "{report:?}");
    assert!(report.damage.iter().any(|what| what.contains("memory shows other bytes")), "{report:?}");
}

/// What a failed sync left in memory, looking clean, is not served by the next opening although its file holds it, whole and valid.
#[test]
fn clean_pages_that_are_not_on_the_disk() {
    for marker_fails in [false, true] {
        let (bench, faults) = brittle(Durability::Fsync, 0);
        faults.track();
        let partition = bench.open();
        send_values(&partition, &["kept"]);
        faults.fail(Fault::new(EIO).of(&[Call::Sync]).at(".log").once());
        send_values(&partition, &["lost"]);
        assert_eq!((partition.offsets().durable, partition.offsets().high_watermark), (1, 1));
        drop(partition);
        faults.heal();
        let path = bench.path().join(files::DURABLE_OFFSET);
        if marker_fails {
            bench.host.env().disk().open(&path, OpenMode::Write).unwrap().set_len(3).unwrap();
        }
        let (partition, report) = bench.open_with(OpenHint::default());
        assert_eq!(records(&partition, ReadUpTo::LogEnd), [(0, "kept".to_owned())], "{report:?}");
    }
}

/// Of two syncs at once only one is told of lost writes: the other must not take its own for a success.
#[test]
fn syncs_side_by_side() {
    for _ in 0..20 {
        let (bench, faults) = brittle(Durability::Os, 0);
        let partition = bench.open();
        send_values(&partition, &["a"]);
        partition.flush().unwrap();
        send_values(&partition, &["b"]);
        faults.fail(Fault::new(EIO).of(&[Call::Sync]).at(".log").once().lingering());
        faults.hold(true);
        let results: Vec<bool> = std::thread::scope(|scope| {
            let flushes: Vec<_> = (0..2).map(|_| scope.spawn(|| partition.flush().is_ok())).collect();
            faults.wait_until_held();
            for _ in 0..1000 {
                if faults.held() == 2 {
                    break;
                }
                std::thread::yield_now();
            }
            faults.hold(false);
            flushes.into_iter().map(|flush| flush.join().unwrap()).collect()
        });
        assert_eq!(results, [false, false]);
        assert_eq!(partition.offsets().durable, 1);
    }
}

/// A partition that is not synced yet keeps its descriptor, however idle: who has it open is told of an error.
#[test]
fn descriptors_of_what_is_not_synced() {
    let (bench, faults) = brittle(Durability::Os, 0);
    let partition = bench.open();
    send_values(&partition, &["a"]);
    let opened = |partition: &Partition| {
        faults.trace();
        partition.read(0, 100, ReadUpTo::LogEnd, true).unwrap();
        faults.traced().iter().any(|(call, path)| *call == Call::Open && path.to_string_lossy().ends_with(".log"))
    };
    partition.release_idle_files();
    partition.release_idle_files();
    assert!(!opened(&partition));
    partition.flush().unwrap();
    partition.release_idle_files();
    partition.release_idle_files();
    assert!(opened(&partition));
}
