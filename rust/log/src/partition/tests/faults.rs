//! What a disk that fails, fills up or loses power must not cost.

use std::path::PathBuf;

use super::compact::{MAP, put, put_in};
use super::*;
use crate::batch::Marker;
use crate::compaction::Unhurried;
use crate::directory::DataDirectory;
use crate::env::faulty::{Call, EIO, ENOSPC, Fault, Faults};
use crate::error::{ReadError, StorageError};
use crate::partition::MapSize;
use crate::segment::names as files;

/// A batch with `bytes` of value.
fn long(bytes: usize) -> Vec<u8> {
    batch(NOBODY, &["x".repeat(bytes).as_str()])
}

fn log_bytes(bench: &Bench) -> u64 {
    let entries = bench.host.env().disk().list(&bench.path()).unwrap();
    entries.iter().filter(|entry| entry.name.ends_with(".log")).map(|entry| entry.length).sum()
}

fn offsets_found(partition: &Partition) -> Vec<i64> {
    records(partition, ReadUpTo::LogEnd).into_iter().map(|(offset, _)| offset).collect()
}

/// A batch that a full disk took in part leaves nothing behind, not even when the next one is shorter or goes to another segment.
#[test]
fn part_of_a_batch_is_cut_off() {
    for rolled_at_once in [true, false] {
        let (mut bench, faults) = brittle(Durability::Os, 0);
        bench.config.segment_bytes = 4000;
        let partition = bench.open();
        send_values(&partition, &["a"]);
        faults.fail(Fault::new(ENOSPC).of(&[Call::Write]));
        assert!(send(&partition, long(3000)).is_err());
        faults.heal();
        assert!(!Bench::status_is_offline(&partition));
        if !rolled_at_once {
            send_values(&partition, &["b"]);
        }
        partition.roll().unwrap();
        for _ in 0..3 {
            send_values(&partition, &["c"]);
        }
        let (end, bytes) = (partition.offsets().log_end, partition.size_bytes());
        partition.close().unwrap();
        assert_eq!(log_bytes(&bench), bytes, "the files hold more than the batches");
        for hint in [Bench::clean(), OpenHint::default()] {
            let (partition, report) = bench.open_with(hint);
            assert_eq!(offsets_found(&partition), (0..end).collect::<Vec<_>>(), "{hint:?} {report:?}");
            assert_eq!(report.bytes_cut, 0);
        }
    }
}

/// What can neither be written whole nor cut off takes the partition offline: the next batch must not hide it.
#[test]
fn part_of_a_batch_that_stays() {
    let (bench, faults) = brittle(Durability::Os, 0);
    let partition = bench.open();
    send_values(&partition, &["a"]);
    faults.fail(Fault::new(ENOSPC).of(&[Call::Write]));
    faults.fail(Fault::new(EIO).of(&[Call::SetLen]));
    let error = send(&partition, long(100)).unwrap_err();
    assert!(error.to_string().contains("could not be cut off"), "{error}");
    assert!(Bench::status_is_offline(&partition));
}

/// A roll for which there is no room leaves no empty segment behind, which would hide what is appended after it.
#[test]
fn a_roll_that_fails() {
    for suffix in [files::LOG, files::OFFSET_INDEX, files::TIME_INDEX] {
        let (bench, faults) = brittle(Durability::Os, 0);
        let partition = bench.open();
        send_values(&partition, &["a"]);
        faults.fail(Fault::new(ENOSPC).of(&[Call::Create]).at(suffix));
        assert!(partition.roll().is_err());
        faults.heal();
        send_values(&partition, &["b", "c"]);
        partition.roll().unwrap();
        send_values(&partition, &["d"]);
        partition.close().unwrap();
        for hint in [Bench::clean(), OpenHint::default()] {
            let (partition, report) = bench.open_with(hint);
            assert_eq!(offsets_found(&partition), [0, 1, 2, 3], "{suffix} {hint:?} {report:?}");
        }
    }
}

/// A failed sync counts whatever retention does meanwhile: nothing is retried, nothing becomes visible.
#[test]
fn failed_sync_beside_a_removed_segment() {
    let (mut bench, faults) = brittle(Durability::Fsync, 1);
    bench.config.file_delete_delay_ms = 0;
    let partition = bench.open();
    send_values(&partition, &["a"]);
    partition.flush().unwrap();
    partition.roll().unwrap();
    faults.hold(true);
    send_values(&partition, &["b"]);
    faults.wait_until_held();
    partition.delete_records_before(-1).unwrap();
    assert_eq!(partition.enforce_retention(T0).unwrap(), 1);
    faults.fail(Fault::new(EIO).of(&[Call::Sync]).at(&format!("{:020}.log", 1)));
    faults.trace();
    faults.hold(false);
    bench.host.stop();
    assert!(Bench::status_is_offline(&partition));
    let syncs = faults
        .traced()
        .iter()
        .filter(|(call, path)| *call == Call::Sync && path.ends_with(format!("{:020}.log", 1)))
        .count();
    assert_eq!(syncs, 1, "no second sync of what failed");
    assert!(partition.flush().is_err());
}

/// A segment that retention takes while a commit runs needs no sync; the others get theirs, in the same commit.
#[test]
fn sync_beside_a_removed_segment() {
    let (mut bench, faults) = brittle(Durability::Fsync, 1);
    bench.config.file_delete_delay_ms = 0;
    let partition = bench.open();
    send_values(&partition, &["a"]);
    partition.flush().unwrap();
    partition.roll().unwrap();
    // Its descriptor is closed: the sync will look for a file that is gone.
    partition.release_idle_files();
    partition.release_idle_files();
    let taken = partition.clone();
    let take = move || {
        taken.delete_records_before(-1).unwrap();
        taken.enforce_retention(T0).unwrap();
    };
    faults.hold(true);
    send_values(&partition, &["b"]);
    faults.wait_until_held();
    take();
    faults.hold(false);
    bench.host.stop();
    let offsets = partition.offsets();
    assert_eq!((offsets.durable, offsets.high_watermark, offsets.log_end), (2, 2, 2));
}

/// Of the segment that begins at `base`: what a power cut may take.
fn unsynced_of(faults: &Faults, base: i64) -> Vec<PathBuf> {
    let mut left = faults.unsynced();
    left.retain(|path| {
        let path = path.to_string_lossy();
        // A snapshot is noticed by its checksum.
        path.contains(&format!("{base:020}.")) && !path.contains(".snapshot")
    });
    left
}

/// What a segment leaves beside its log is synced by the next commit after its roll, also if it was rolled while one ran: it is below the
/// recovery point then, and is believed after a power cut.
#[test]
fn indexes_of_a_segment_that_is_rolled_beside_a_commit() {
    let (bench, faults) = brittle(Durability::Fsync, 1);
    let partition = bench.open();
    put_in(&partition, transaction(1, 0, 0), &[("a", "1")]);
    partition.flush().unwrap();
    faults.hold(true);
    partition.append_marker(1, 0, Marker::Abort, 0, 0).unwrap();
    faults.wait_until_held();
    partition.roll().unwrap();
    faults.hold(false);
    send_values(&partition, &["b"]);
    partition.flush().unwrap();
    assert_eq!(unsynced_of(&faults, 0), Vec::<PathBuf>::new());
}

/// The same when compaction replaces a segment in front of it.
#[test]
fn indexes_of_a_segment_that_is_rolled_before_a_pass() {
    let (mut bench, faults) = brittle(Durability::Os, 0);
    bench.config.cleanup_policy.compact = true;
    let partition = bench.open();
    put(&partition, &[("a", "1"), ("b", "1"), ("a", "2"), ("c", "1")]);
    partition.roll().unwrap();
    put_in(&partition, transaction(1, 0, 0), &[("a", "aborted")]);
    partition.append_marker(1, 0, Marker::Abort, 0, 0).unwrap();
    partition.flush().unwrap();
    partition.roll().unwrap();
    let two_keys = MapSize { bytes_max: 24 * 3, ..MAP };
    assert_eq!(partition.compact(two_keys, &mut Unhurried).unwrap().unwrap().cleaned, 3);
    partition.close().unwrap();
    assert_eq!(unsynced_of(&faults, 4), Vec::<PathBuf>::new());
}

fn unsynced(faults: &Faults) -> Vec<PathBuf> {
    // Indexes and snapshots are rebuilt; what matters is what an acknowledgement promised.
    let promised = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.contains(".log") || !name.rsplit('/').next().unwrap_or_default().contains('.') && !name.ends_with("bytes")
    };
    faults.unsynced().into_iter().filter(promised).collect()
}

/// What the high watermark covers survives a power cut: bytes, their file's name, and the name of every directory on the way.
#[test]
fn durable_means_the_whole_path() {
    let (mut bench, faults) = brittle(Durability::Fsync, 0);
    bench.config.segment_bytes = 500;
    let mut random = || [3; 16];
    let mut open_directory =
        || DataDirectory::open(&bench.host, std::path::Path::new("/data"), 1, Some("cluster"), &mut random).unwrap();
    let directory = open_directory();
    let partition = bench.open();
    for _ in 0..10 {
        send_values(&partition, &["v"]);
        assert_eq!(partition.offsets().high_watermark, partition.offsets().log_end);
        assert_eq!(unsynced(&faults), Vec::<PathBuf>::new());
    }
    // Killed before the directories were synced.
    drop((partition, directory));
    for path in ["/data/t-0", "/data/t-0/00000000000000000000.log", "/data/t-0/00000000000000000000.log/bytes"] {
        faults.unsynced_again(std::path::Path::new(path));
    }
    let _directory = open_directory();
    let partition = bench.open();
    assert_eq!(partition.offsets().high_watermark, 10);
    assert_eq!(unsynced(&faults), Vec::<PathBuf>::new(), "visible after a restart");
    send_values(&partition, &["v"]);
    assert_eq!(unsynced(&faults), Vec::<PathBuf>::new());
}

/// A leader epoch that could not be written down is written with the next batch, or there is none: recovery would cut it away.
#[test]
fn an_epoch_that_could_not_be_written() {
    let (bench, faults) = brittle(Durability::Os, 0);
    let partition = bench.open();
    send_values(&partition, &["a"]);
    faults.fail(Fault::new(ENOSPC).of(&[Call::Write]));
    assert!(partition.set_leader_epoch(3).is_err());
    assert!(send(&partition, batch(NOBODY, &["b"])).is_err());
    faults.heal();
    send_values(&partition, &["b"]);
    assert_eq!(partition.leader_epoch(), 3);
    partition.flush().unwrap();
    drop(partition);
    let (partition, report) = bench.open_with(OpenHint::default());
    assert_eq!((offsets_found(&partition), report.damage), (vec![0, 1], vec![]));
    assert_eq!(partition.end_offset_for_epoch(0).end_offset, 1);
}

/// The epoch that begins when a partition is opened costs no sync: it is written down with its first batch. Nor does a stop cost any
/// where nothing was appended.
#[test]
fn an_epoch_without_a_batch() {
    let (mut bench, faults) = brittle(Durability::Os, 0);
    let partition = bench.open();
    send_values(&partition, &["a"]);
    partition.close().unwrap();
    for (epoch, appends) in [(1, true), (2, false), (3, true), (4, true)] {
        bench.epoch = epoch;
        let noted = || {
            let path = bench.path().join(files::LEADER_EPOCHS);
            crate::checkpoint::read_epochs(bench.host.env().disk().as_ref(), &path).unwrap().unwrap()
        };
        let (before, syncs) = (noted(), faults.syncs());
        let partition = bench.open_with(Bench::clean()).0;
        assert_eq!((noted(), faults.syncs()), (before.clone(), syncs), "epoch {epoch}");
        let end = partition.offsets().log_end;
        assert_eq!(partition.latest(ReadUpTo::LogEnd).leader_epoch, Some(epoch));
        assert_eq!(partition.end_offset_for_epoch(epoch).end_offset, end);
        if appends {
            send_values(&partition, &["b"]);
            assert_eq!(noted().last(), Some(&(epoch, end)));
            partition.close().unwrap();
            assert!(faults.syncs() > syncs);
        } else {
            partition.close().unwrap();
            assert_eq!((noted(), faults.syncs()), (before, syncs), "epoch {epoch}");
        }
    }
    let partition = bench.open_with(Bench::clean()).0;
    assert_eq!(records(&partition, ReadUpTo::LogEnd).len(), 4);
    assert_eq!(partition.end_offset_for_epoch(2).end_offset, 2);
}

/// A directory that another topic of that name left is not taken for one's own, neither when opened nor when made.
#[test]
fn files_of_another_topic() {
    let bench = Bench::small();
    let successor = bench.open_as([8; 16]).unwrap();
    send_values(&bench.open(), &["old"]);
    let refused = bench.open_as([8; 16]).unwrap_err();
    assert!(matches!(refused, StorageError::Invalid { .. }), "{refused}");
    assert!(refused.to_string().contains("belongs to topic"), "{refused}");
    assert!(send(&successor, batch(NOBODY, &["new"])).is_err());
    assert_eq!(records(&bench.open(), ReadUpTo::LogEnd), [(0, "old".to_owned())]);
}

/// A read_committed read that retention overtakes does not come without the aborted transactions of what it returns.
#[test]
fn aborted_list_of_a_segment_that_goes() {
    let (mut bench, faults) = brittle(Durability::Os, 0);
    bench.config.file_delete_delay_ms = 0;
    let partition = bench.open();
    let guard = partition.start_verification(2, 0, 0);
    let options = AppendOptions { guard, ..AppendOptions::default() };
    partition.append(&mut batch(transaction(2, 0, 0), &["aborted"]), Origin::Client, options).unwrap();
    partition.append_marker(2, 0, crate::batch::Marker::Abort, 0, 0).unwrap();
    partition.roll().unwrap();
    send_values(&partition, &["b"]);
    partition.close().unwrap();
    let partition = bench.open_with(Bench::clean()).0;
    let taken = partition.clone();
    let take = move || {
        taken.delete_records_before(-1).unwrap();
        taken.enforce_retention(T0).unwrap();
    };
    let name = "00000000000000000000.log";
    faults.when_opened(name, take);
    match partition.read(0, 1000, ReadUpTo::LastStable, true) {
        Err(ReadError::OffsetOutOfRange { .. }) => {}
        Ok(read) => assert_eq!(read.aborted.len(), 1, "from {}", read.first_offset),
        Err(error) => panic!("{error}"),
    }
    assert!(!faults.has_hook(), "retention did not run");
}
