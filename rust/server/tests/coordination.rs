//! What coordinators ask of the engine, while the test holds the disk.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use common::gated_disk::{GatedDisk, Keeper};
use common::{Harness, PATIENCE, TOPIC_ID};
use ottla_log::batch::{Compression, Marker, NewRecord};
use ottla_server::coordination::Ending;

fn harness() -> (Harness, Keeper) {
    let disk = GatedDisk::default();
    let gate = Keeper(Arc::clone(&disk.gate));
    (Harness::with_fsync(disk), gate)
}

/// Begins to write a commit marker of producer 7 into these partitions of `t`; where the codes come.
fn write(harness: &Harness, partitions: &[i32]) -> Receiver<Option<Vec<i16>>> {
    let (told, tell) = channel();
    let ending = Ending {
        producer_id: 7,
        producer_epoch: 0,
        marker: Marker::Commit,
        coordinator_epoch: 0,
        transaction_version: 0,
    };
    let partitions = partitions.iter().map(|index| ("t".to_owned(), *index)).collect();
    harness.engine.write_markers(ending, partitions, move |codes| {
        told.send(codes.map(|codes| codes.into_iter().map(|code| code.0).collect())).unwrap();
    });
    tell
}

fn told(tell: &Receiver<Option<Vec<i16>>>) -> Option<Vec<i16>> {
    tell.recv_timeout(PATIENCE).unwrap()
}

/// Markers are on the disk when they are answered for, in every partition.
#[test]
fn markers_wait_for_the_disk() {
    let (harness, gate) = harness();
    gate.hold();
    let tell = write(&harness, &[0, 1, 2]);
    gate.await_sync();
    assert_eq!(tell.try_recv(), Err(TryRecvError::Empty));
    gate.release();
    assert_eq!(told(&tell), Some(vec![0, 0, 3]));
    for index in [0, 1] {
        assert_eq!(harness.engine.replica("t", index).unwrap().offsets().unwrap().high_watermark, 1);
    }
}

/// A partition whose disk fails meanwhile, and one whose topic is deleted: nobody waits for either.
#[test]
fn markers_that_will_never_be_committed() {
    let (harness, gate) = harness();
    gate.hold();
    let tell = write(&harness, &[0]);
    gate.await_sync();
    gate.release_broken();
    assert_eq!(told(&tell), Some(vec![56]));
    assert_eq!(told(&write(&harness, &[0])), Some(vec![56]));

    let (harness, gate) = self::harness();
    gate.hold();
    let tell = write(&harness, &[0]);
    gate.await_sync();
    std::thread::scope(|scope| {
        scope.spawn(|| harness.publish(2, vec![], vec![TOPIC_ID]));
        assert_eq!(told(&tell), Some(vec![3]));
        gate.release();
    });
}

/// Something else of the partition changes while its marker waits: it goes on waiting.
#[test]
fn markers_wait_on() {
    let (harness, gate) = harness();
    gate.hold();
    let tell = write(&harness, &[0]);
    gate.await_sync();
    harness.engine.replica("t", 0).unwrap().waiters().wake_all();
    assert_eq!(tell.try_recv(), Err(TryRecvError::Empty));
    gate.release();
    assert_eq!(told(&tell), Some(vec![0]));
}

/// What an engine that was closed is asked for is answered: with nothing.
#[test]
fn closed() {
    let harness = Harness::start();
    let replica = harness.engine.replica("t", 0).unwrap();
    let record = NewRecord { timestamp_ms: 0, key: Some(b"k"), value: Some(b"v"), headers: &[] };
    replica.partition().unwrap().append_records(&[record], Compression::None).unwrap();
    let (told_of_fold, tell) = channel();
    let fold = |done: std::sync::mpsc::Sender<Option<usize>>| {
        harness.engine.fold(Arc::clone(&replica), move |folded| {
            done.send(folded.and_then(Result::ok).map(|folded| folded.records.len())).unwrap();
        });
    };
    fold(told_of_fold.clone());
    assert_eq!(tell.recv_timeout(PATIENCE).unwrap(), Some(1));
    harness.engine.close().unwrap();
    fold(told_of_fold);
    assert_eq!(tell.recv_timeout(PATIENCE).unwrap(), None);
    assert_eq!(told(&write(&harness, &[0])), None);
}
