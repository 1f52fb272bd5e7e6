//! A partition that somebody holds while waiting for the disk, here for a new segment: whoever needs it waits and takes no thread for that,
//! and nobody else notices.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use common::{
    Client, FetchAsk, Harness, TOPIC_ID, await_that, batch, fetch_body, fetched, produce_body, produced, topic,
};
use ottla_log::env::faulty::{Faults, FaultyDisk};
use ottla_log::{Durability, PartitionConfig};
use ottla_protocol::wire::Reader;
use ottla_server::limits::Limits;

const REQUEST_TIMED_OUT: i16 = 7;
/// More than there are threads to wait with, of any kind, in proportion to what one may take.
const CROWD: usize = 320;
/// Other tests of this program have theirs.
const THREADS_OF_OTHERS: usize = 60;

/// A broker in which somebody makes a segment for partition 0 of three, each with a record in it.
struct Scene {
    /// Dropped, the disk goes on; before the broker, which waits for it.
    go: Option<Sender<()>>,
    harness: Harness,
    faults: Arc<Faults>,
    rolling: Client,
    sent: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let disk = FaultyDisk::scratch();
        let faults = disk.faults();
        let harness = Harness::over_disk(Arc::new(disk), Limits::default());
        let config = PartitionConfig { durability: Durability::Os, ..PartitionConfig::default() };
        harness.publish(2, vec![topic("t", TOPIC_ID, 3, config.clone())], vec![]);
        let sent = batch(&["0123456789"]);
        let mut client = harness.connect();
        (0..3).for_each(|partition| assert_eq!(produce(&mut client, partition, &sent).0, 0));
        let small = PartitionConfig { segment_bytes: 100, ..config.clone() };
        harness.publish(3, vec![topic("t", TOPIC_ID, 3, small)], vec![]);
        let (begun, begins) = channel();
        let (go, gone) = channel::<()>();
        faults.when_opened(".log", move || {
            begun.send(()).unwrap();
            let _ = gone.recv();
        });
        let mut rolling = harness.connect();
        rolling.send(0, 7, |w| produce_body(w, None, 1, "t", 0, &sent));
        begins.recv().unwrap();
        harness.publish(4, vec![topic("t", TOPIC_ID, 3, config)], vec![]);
        Self { harness, faults, rolling, sent, go: Some(go) }
    }

    fn requests(&self) -> u64 {
        self.harness.plane.counters.requests.get()
    }

    fn release(&mut self) {
        self.go = None;
        assert_eq!(produced(&self.rolling.receive().1), (0, 1));
    }
}

/// Error and offset.
fn produce(client: &mut Client, partition: i32, sent: &[u8]) -> (i16, i64) {
    produced(&client.ask(0, 7, |w| produce_body(w, None, 1, "t", partition, sent)))
}

fn ask_for(client: &mut Client, partition: i32) {
    let ask = FetchAsk { partitions: vec![(partition, 0)], ..FetchAsk::default() };
    client.send(1, 7, |w| fetch_body(w, &ask));
}

fn records(client: &mut Client) -> Vec<u8> {
    let (_, error, _, records) = fetched(&client.receive().1).partitions.pop().unwrap();
    assert_eq!(error, 0);
    records
}

/// Asks where partition 0 ends.
fn ask_for_the_end(client: &mut Client) {
    client.send(2, 1, |w| {
        w.i32(-1);
        w.array(false, Some(1)).unwrap();
        w.string(false, "t").unwrap();
        w.array(false, Some(1)).unwrap();
        w.i32(0);
        w.i64(-1);
    });
}

fn end(client: &mut Client) -> i64 {
    let answer = client.receive().1;
    let mut reader = Reader::new(&answer);
    assert_eq!(reader.array(false, 1, "topics").unwrap(), 1);
    reader.string(false, "name").unwrap();
    assert_eq!(reader.array(false, 1, "partitions").unwrap(), 1);
    reader.i32("partition").unwrap();
    assert_eq!(reader.i16("error").unwrap(), 0);
    reader.i64("timestamp").unwrap();
    reader.i64("offset").unwrap()
}

/// Asks where epoch 0 of it ends.
fn ask_for_the_epoch(client: &mut Client) {
    client.send(23, 2, |w| {
        w.array(false, Some(1)).unwrap();
        w.string(false, "t").unwrap();
        w.array(false, Some(1)).unwrap();
        [0, -1, 0].into_iter().for_each(|number| w.i32(number));
    });
}

fn end_of_the_epoch(client: &mut Client) -> i64 {
    let answer = client.receive().1;
    let mut reader = Reader::new(&answer);
    reader.i32("throttle").unwrap();
    assert_eq!(reader.array(false, 1, "topics").unwrap(), 1);
    reader.string(false, "name").unwrap();
    assert_eq!(reader.array(false, 1, "partitions").unwrap(), 1);
    assert_eq!(reader.i16("error").unwrap(), 0);
    ["partition", "epoch"].into_iter().for_each(|what| _ = reader.i32(what).unwrap());
    reader.i64("end").unwrap()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Producers, consumers and those who ask for offsets or epochs wait by the hundred; whoever needs another partition is answered, also with records
/// that are on the disk only. Afterwards all get what they asked for, and every batch is there once.
#[test]
fn who_waits_for_it_takes_no_thread() {
    let mut scene = Scene::new();
    let (requests, before) = (scene.requests(), threads());
    let mut clients: Vec<Client> = (0..CROWD).map(|_| scene.harness.connect()).collect();
    for (place, client) in clients.iter_mut().enumerate() {
        match place % 4 {
            0 => drop(client.send(0, 7, |w| produce_body(w, None, -1, "t", 0, &scene.sent))),
            1 => ask_for(client, 0),
            2 => ask_for_the_end(client),
            _ => ask_for_the_epoch(client),
        }
    }
    await_that("all have asked", || scene.requests() == requests + CROWD as u64);
    let mut other = scene.harness.connect();
    assert_eq!(produce(&mut other, 1, &scene.sent), (0, 1));
    scene.faults.cold.chill(Path::new("/data/t-2/00000000000000000000.log"), 1 << 20);
    ask_for(&mut other, 2);
    assert_eq!(records(&mut other).len(), scene.sent.len());
    assert!(threads() < before + THREADS_OF_OTHERS, "{before} threads have become {}", threads());

    scene.release();
    let mut offsets = Vec::new();
    for (place, client) in clients.iter_mut().enumerate() {
        match place % 4 {
            0 => {
                let (error, offset) = produced(&client.receive().1);
                assert_eq!(error, 0);
                offsets.push(offset);
            }
            1 => assert!(records(client).len() >= scene.sent.len()),
            2 => assert!(end(client) >= 2),
            _ => assert!(end_of_the_epoch(client) >= 2),
        }
    }
    offsets.sort_unstable();
    assert!(offsets.iter().copied().eq(2..2 + CROWD as i64 / 4));
}

/// A Produce that waits longer than its time-out is refused, and nothing of it is appended later. One of another connection goes on.
#[test]
fn what_waits_too_long_is_refused() {
    let mut scene = Scene::new();
    let (mut late, mut client) = (scene.harness.connect(), scene.harness.connect());
    late.send(0, 7, |w| produce_body(w, None, 1, "t", 0, &scene.sent));
    await_that("it waits", || scene.harness.plane.deadlines.waiting() == 1);
    scene.harness.clock.turn(31_000);
    assert_eq!(produced(&late.receive().1).0, REQUEST_TIMED_OUT);
    client.send(0, 7, |w| produce_body(w, None, 1, "t", 0, &scene.sent));
    await_that("the other one waits", || scene.harness.plane.deadlines.waiting() == 1);
    scene.release();
    assert_eq!(produced(&client.receive().1), (0, 2));
    assert_eq!(produce(&mut late, 0, &scene.sent), (0, 3));
}
