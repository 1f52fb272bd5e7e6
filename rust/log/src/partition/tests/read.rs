//! What a read returns: which bytes, how many, and up to where.

use super::*;
use crate::batch::BatchHeader;
use crate::env::read_exact_at;
use crate::error::ReadError;
use crate::partition::EpochEnd;
use crate::partition::Read;

fn bytes(read: &Read) -> Vec<u8> {
    let Some(slice) = &read.slice else { return Vec::new() };
    let mut bytes = vec![0; slice.length as usize];
    read_exact_at(slice.file.as_ref(), &mut bytes, slice.position).unwrap();
    bytes
}

/// Every offset of a log of several segments is found: the slice begins with the batch that holds it.
#[test]
fn every_offset() {
    let bench = Bench::small();
    let partition = bench.open();
    let mut bases = Vec::new();
    for count in [1, 3, 2, 5, 1, 1, 4].repeat(9) {
        let values = vec!["v"; count];
        let appended = send_values(&partition, &values);
        bases.extend(std::iter::repeat_n(appended.base_offset, count));
    }
    assert!(partition.status().segments > 5);
    partition.close().unwrap();
    for reopened in [Bench::clean(), OpenHint::default()] {
        let partition = bench.open_with(reopened).0;
        for (offset, base) in (0..).zip(&bases) {
            let read = partition.read(offset, 200, ReadUpTo::HighWatermark, true).unwrap();
            assert_eq!(read.first_offset, *base);
            assert_eq!(BatchHeader::read(&bytes(&read)).unwrap().base_offset, *base);
        }
    }
}

/// The first batch comes whole if asked for, the rest is cut by bytes, and never more than a segment.
#[test]
fn sizes() {
    let bench = Bench::small();
    let partition = bench.open();
    for _ in 0..20 {
        send_values(&partition, &["v"]);
    }
    let whole = partition.read(0, u32::MAX, ReadUpTo::HighWatermark, true).unwrap();
    let one = whole.first_batch_bytes;
    assert_eq!(bytes(&whole).len() as u32, (1000 / one) * one);
    let length = |bytes_max, min_one| {
        bytes(&partition.read(0, bytes_max, ReadUpTo::HighWatermark, min_one).unwrap()).len() as u32
    };
    assert_eq!((length(1, true), length(1, false), length(0, true), length(0, false)), (one, 1, one, 0));
    assert_eq!(length(one + 5, true), one + 5);
}

/// At the end there is nothing, behind it and before the start is out of range.
#[test]
fn ends() {
    let bench = Bench::new();
    let partition = bench.open();
    assert!(partition.read(0, 100, ReadUpTo::LogEnd, true).unwrap().slice.is_none());
    send_values(&partition, &["a", "b"]);
    assert!(partition.read(2, 100, ReadUpTo::LogEnd, true).unwrap().slice.is_none());
    for offset in [-1, 3] {
        match partition.read(offset, 100, ReadUpTo::LogEnd, true) {
            Err(ReadError::OffsetOutOfRange { requested, log_start: 0, log_end: 2 }) => assert_eq!(requested, offset),
            other => panic!("{other:?}"),
        }
    }
    partition.delete_records_before(1).unwrap();
    assert!(matches!(
        partition.read(0, 100, ReadUpTo::LogEnd, true),
        Err(ReadError::OffsetOutOfRange { log_start: 1, .. })
    ));
    assert_eq!(partition.read(1, 100, ReadUpTo::LogEnd, true).unwrap().first_offset, 0);
}

/// A file a reader has got stays readable after retention took the segment.
#[test]
fn slices_outlive_segments() {
    let bench = Bench::small();
    let partition = bench.open();
    for _ in 0..30 {
        send_values(&partition, &["v"]);
    }
    let read = partition.read(0, 500, ReadUpTo::HighWatermark, true).unwrap();
    let before = bytes(&read);
    partition.delete_records_before(-1).unwrap();
    assert!(partition.enforce_retention(T0).unwrap() > 0);
    assert_eq!(bytes(&read), before);
}

/// ListOffsets by time: the first record that is not older, wherever it lies; nothing behind the youngest.
#[test]
fn by_timestamp() {
    let bench = Bench::small();
    let partition = bench.open();
    partition.set_leader_epoch(3).unwrap();
    // Not in order: 0, 50, 20, 70, 40, 90, ...
    let times: Vec<i64> = (0..60).map(|index| index * 10 + if index % 2 == 1 { 40 } else { 0 }).collect();
    for time in &times {
        send(&partition, batch_at(NOBODY, Compression::Snappy, T0 - 1000 + time, &["v"])).unwrap();
    }
    partition.close().unwrap();
    for hint in [Bench::clean(), OpenHint::default()] {
        let partition = bench.open_with(hint).0;
        for target in 0..650 {
            let expected = times.iter().position(|time| *time >= target);
            let found = partition.lookup_timestamp(T0 - 1000 + target).unwrap();
            assert_eq!(found.map(|found| found.offset), expected.map(|offset| offset as i64), "target {target}");
            if let Some(found) = found {
                assert_eq!(
                    (found.timestamp_ms, found.leader_epoch),
                    (T0 - 1000 + times[found.offset as usize], Some(3))
                );
            }
        }
        let youngest = times.iter().copied().max().unwrap();
        let max = partition.max_timestamp().unwrap().unwrap();
        assert_eq!(
            (max.offset as usize, max.timestamp_ms),
            (times.iter().position(|time| *time == youngest).unwrap(), T0 - 1000 + youngest)
        );
    }
}

/// Records below the log start are not found by time, even inside a batch that reaches over it.
#[test]
fn by_timestamp_above_log_start() {
    let bench = Bench::new();
    let partition = bench.open();
    assert_eq!(partition.max_timestamp().unwrap(), None);
    send_values(&partition, &["a", "b", "c"]);
    partition.delete_records_before(1).unwrap();
    assert_eq!(partition.lookup_timestamp(0).unwrap().unwrap().offset, 1);
    assert_eq!((partition.earliest().offset, partition.latest(ReadUpTo::HighWatermark).offset), (1, 3));
}

/// Epochs begin where their leader took over, are in every batch, and are known after a restart.
#[test]
fn leader_epochs() {
    let bench = Bench::new();
    let partition = bench.open();
    partition.set_leader_epoch(2).unwrap();
    send_values(&partition, &["a", "b"]);
    partition.set_leader_epoch(5).unwrap();
    send_values(&partition, &["c"]);
    let check = |partition: &Partition| {
        assert_eq!(partition.end_offset_for_epoch(2), EpochEnd { epoch: 2, end_offset: 2 });
        assert_eq!(partition.end_offset_for_epoch(4), EpochEnd { epoch: 2, end_offset: 2 });
        assert_eq!(partition.end_offset_for_epoch(5), EpochEnd { epoch: 5, end_offset: 3 });
        assert_eq!(partition.end_offset_for_epoch(6), EpochEnd { epoch: -1, end_offset: -1 });
        assert_eq!(partition.earliest().leader_epoch, Some(2));
        assert_eq!(partition.latest(ReadUpTo::LogEnd).leader_epoch, Some(5));
    };
    check(&partition);
    drop(partition);
    let disk = bench.host.env().disk();
    check(&bench.open());
    disk.remove_file(&bench.path().join("leader-epoch-checkpoint")).unwrap();
    check(&bench.open_with(Bench::clean()).0);
    assert!(names(&bench).contains(&"leader-epoch-checkpoint".to_owned()));
}
