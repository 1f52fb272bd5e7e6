//! What waits for the disk: acknowledgements with durability `fsync`, while the test holds the sync.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use std::sync::Arc;

use common::gated_disk::{GatedDisk, Keeper};
use common::{Client, FetchAsk, Harness, batch, fetch_body, fetched, produce_body, produced};
use ottla_log::commit::HostSettings;
use ottla_protocol::native::list_offsets::{LATEST, MAX_TIMESTAMP};
use ottla_protocol::wire::Reader;

const ACKS_ALL: i16 = -1;
const ACKS_LEADER: i16 = 1;
/// What `produce_body` asks for.
const TIMEOUT_MS: i64 = 30_000;

fn harness() -> (Harness, Keeper) {
    let disk = GatedDisk::default();
    let gate = Keeper(Arc::clone(&disk.gate));
    (Harness::with_fsync(disk), gate)
}

fn send(client: &mut Client, acks: i16) -> i32 {
    client.send(0, 7, |w| produce_body(w, None, acks, "t", 0, &batch(&["x"])))
}

fn await_parked(harness: &Harness, requests: usize) {
    while harness.plane.deadlines.waiting() != requests {
        std::thread::yield_now();
    }
}

/// Offset and timestamp that ListOffsets v7 answers for partition 0 of `t`.
fn listed(client: &mut Client, timestamp: i64, isolation: i8) -> (i64, i64) {
    let answer = client.ask(2, 7, |w| {
        w.i32(-1);
        w.i8(isolation);
        w.array(true, Some(1)).unwrap();
        w.string(true, "t").unwrap();
        w.array(true, Some(1)).unwrap();
        w.i32(0);
        w.i32(-1);
        w.i64(timestamp);
        (0..3).for_each(|_| w.no_tags(true));
    });
    let mut reader = Reader::new(&answer);
    reader.skip_tags(true).unwrap();
    reader.i32("throttle").unwrap();
    assert_eq!(reader.array(true, 1, "topics").unwrap(), 1);
    reader.string(true, "name").unwrap();
    assert_eq!(reader.array(true, 1, "partitions").unwrap(), 1);
    reader.i32("partition").unwrap();
    assert_eq!(reader.i16("error").unwrap(), 0);
    let timestamp = reader.i64("timestamp").unwrap();
    (reader.i64("offset").unwrap(), timestamp)
}

/// acks=all is answered once the batch is on the disk and not before; nobody reads it before either. acks=1 does not wait.
#[test]
fn acks_all_waits_for_the_disk() {
    let (harness, gate) = harness();
    let (mut producer, mut other, mut consumer) = (harness.connect(), harness.connect(), harness.connect());
    gate.hold();
    let id = send(&mut producer, ACKS_ALL);
    gate.await_sync();
    await_parked(&harness, 1);
    send(&mut other, ACKS_LEADER);
    assert_eq!(produced(&other.receive().1), (0, 1));
    let answer = fetched(&consumer.ask(1, 7, |w| fetch_body(w, &FetchAsk::default())));
    assert_eq!(answer.partitions[0], (0, 0, 0, vec![]), "nothing is readable before it is on the disk");
    gate.release();
    let (received, answer) = producer.receive();
    assert_eq!((received, produced(&answer)), (id, (0, 0)));
    assert_eq!(harness.plane.deadlines.waiting(), 0, "its deadline is gone with it");
}

/// An acknowledgement that does not come in time is REQUEST_TIMED_OUT; the batch stays and is readable once it is synced.
#[test]
fn acks_all_gives_up_at_its_timeout() {
    let (harness, gate) = harness();
    let mut producer = harness.connect();
    gate.hold();
    send(&mut producer, ACKS_ALL);
    await_parked(&harness, 1);
    ottla_log::env::VirtualClock::turn(&harness.clock, TIMEOUT_MS - 1);
    assert_eq!(harness.plane.deadlines.waiting(), 1);
    ottla_log::env::VirtualClock::turn(&harness.clock, 1);
    assert_eq!(produced(&producer.receive().1).0, 7);
    gate.release();
    send(&mut producer, ACKS_ALL);
    assert_eq!(produced(&producer.receive().1), (0, 1), "what timed out was written");
}

/// With too much that is not on the disk nothing more is appended, whatever acks say: once the disk has caught up it is, and at its time-out it
/// is refused.
#[test]
fn appends_wait_for_a_disk_that_does_not_keep_up() {
    let disk = GatedDisk::default();
    let gate = Keeper(Arc::clone(&disk.gate));
    let limits = HostSettings { flush_start_bytes: 1, flush_wait_bytes: 1, ..HostSettings::default() };
    let harness = Harness::with_fsync_and(disk, limits);
    let log_end = || harness.engine.replica("t", 0).unwrap().offsets().unwrap().log_end;
    let (mut first, mut second, mut third) = (harness.connect(), harness.connect(), harness.connect());
    gate.hold();
    send(&mut first, ACKS_LEADER);
    assert_eq!(produced(&first.receive().1), (0, 0));
    gate.await_sync();
    send(&mut second, ACKS_LEADER);
    send(&mut third, ACKS_ALL);
    await_parked(&harness, 2);
    assert_eq!(log_end(), 1);
    ottla_log::env::VirtualClock::turn(&harness.clock, TIMEOUT_MS);
    assert_eq!(produced(&second.receive().1).0, 7);
    assert_eq!(produced(&third.receive().1).0, 7);
    send(&mut second, ACKS_LEADER);
    await_parked(&harness, 1);
    assert_eq!(log_end(), 1, "what was refused is not there");
    gate.release();
    assert_eq!(produced(&second.receive().1), (0, 1));
}

/// A sync that fails answers those who wait for it with KAFKA_STORAGE_ERROR at once, and so every later request.
#[test]
fn a_failed_sync_is_told_to_those_who_wait() {
    let (harness, gate) = harness();
    let (mut producer, mut consumer) = (harness.connect(), harness.connect());
    gate.hold();
    send(&mut producer, ACKS_ALL);
    gate.await_sync();
    await_parked(&harness, 1);
    gate.release_broken();
    assert_eq!(produced(&producer.receive().1).0, 56);
    send(&mut producer, ACKS_LEADER);
    assert_eq!(produced(&producer.receive().1).0, 56);
    let answer = fetched(&consumer.ask(1, 7, |w| fetch_body(w, &FetchAsk::default())));
    assert_eq!(answer.partitions[0].1, 56);
}

/// No offset is told that a power cut can take back, by whatever question.
#[test]
fn offsets_are_told_once_they_are_on_the_disk() {
    let (harness, gate) = harness();
    let (mut producer, mut asking) = (harness.connect(), harness.connect());
    gate.hold();
    send(&mut producer, ACKS_ALL);
    gate.await_sync();
    for isolation in [0, 1] {
        assert_eq!(listed(&mut asking, LATEST, isolation).0, 0);
        assert_eq!(listed(&mut asking, MAX_TIMESTAMP, isolation), (-1, -1));
        assert_eq!(listed(&mut asking, 0, isolation), (-1, -1));
    }
    gate.release();
    producer.receive();
    for isolation in [0, 1] {
        assert_eq!(listed(&mut asking, LATEST, isolation).0, 1);
        assert_eq!(listed(&mut asking, MAX_TIMESTAMP, isolation), (0, 1_700_000_000_000));
        assert_eq!(listed(&mut asking, 0, isolation), (0, 1_700_000_000_000));
    }
}

/// The first append of a partition makes files and waits for the disk: with as many of them as the server has threads,
/// everybody else is served all the same.
#[test]
fn a_first_append_keeps_nobody_else_waiting() {
    let (harness, gate) = harness();
    let mut producers = [harness.connect(), harness.connect()];
    gate.hold_directories();
    for (partition, producer) in producers.iter_mut().enumerate() {
        let partition = i32::try_from(partition).unwrap();
        producer.send(0, 7, |w| produce_body(w, None, ACKS_LEADER, "t", partition, &batch(&["x"])));
    }
    gate.await_syncs(producers.len());
    let versions = harness.connect().ask(18, 0, |_| {});
    assert_eq!(versions[..2], [0, 0]);
    gate.release();
    for producer in &mut producers {
        assert_eq!(produced(&producer.receive().1), (0, 0));
    }
}
