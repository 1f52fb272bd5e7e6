//! Records that are not in memory: who reads them waits for the disk, and nobody else does. The test holds the disk.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use common::{Client, FetchAsk, Harness, await_that, batch, fetch_body, fetched, produce_body, produced, talk, topic};
use ottla_log::env::faulty::{Faults, FaultyDisk};
use ottla_log::{Durability, PartitionConfig};
use ottla_protocol::wire::{Reader, Writer};
use ottla_server::limits::Limits;

/// More than the threads that wait for the disk.
const CROWD: i32 = 20;
const RECORD_BYTES: usize = 100_000;

/// A broker whose topic `t` has many partitions, over a disk that can be held.
struct Scene {
    harness: Harness,
    faults: Arc<Faults>,
}

/// A test that fails lets go of who waits for the disk.
impl Drop for Scene {
    fn drop(&mut self) {
        self.faults.cold.hold(false);
    }
}

impl Scene {
    fn new() -> Self {
        let disk = FaultyDisk::scratch();
        let faults = disk.faults();
        let harness = Harness::over_disk(Arc::new(disk), Limits::default());
        let scene = Self { harness, faults };
        scene.make_partitions(PartitionConfig { durability: Durability::Os, ..PartitionConfig::default() });
        scene
    }

    fn make_partitions(&self, config: PartitionConfig) {
        let offset = self.harness.engine.image().offset + 1;
        self.harness.publish(offset, vec![topic("t", common::TOPIC_ID, CROWD, config)], vec![]);
    }

    fn path(partition: i32, suffix: &str) -> PathBuf {
        Path::new("/data").join(format!("t-{partition}")).join(format!("00000000000000000000.{suffix}"))
    }

    /// `count` long batches in a partition, and what a fetch of them brings.
    fn fill(&self, client: &mut Client, partition: i32, count: usize) -> Vec<u8> {
        let sent = batch(&["x".repeat(RECORD_BYTES).as_str()]);
        for _ in 0..count {
            produce(client, partition, &sent);
        }
        fetch(client, partition, 0, 50 << 20)
    }

    /// The records of a partition are on the disk only.
    fn chill(&self, partition: i32) {
        self.faults.cold.chill(&Self::path(partition, "log"), 1 << 24);
    }

    /// What waits for the disk or for a thread that does.
    fn at_work(&self) -> usize {
        self.harness.engine.readers().iter().map(|readers| readers.at_work()).sum()
    }

    fn waits(&self) -> u64 {
        self.harness.engine.readers().iter().map(|readers| readers.waits.get()).sum()
    }
}

fn produce(client: &mut Client, partition: i32, sent: &[u8]) {
    let answer = client.ask(0, 7, |w| produce_body(w, None, 1, "t", partition, sent));
    assert_eq!(produced(&answer).0, 0);
}

fn ask(partition: i32, offset: i64, bytes: i32) -> FetchAsk {
    FetchAsk {
        max_bytes: bytes,
        partition_max_bytes: bytes,
        partitions: vec![(partition, offset)],
        ..FetchAsk::default()
    }
}

/// A ListOffsets v1: the first record since the time of all.
fn time_body(writer: &mut Writer<'_, BytesMut>, partition: i32) {
    writer.i32(-1);
    writer.array(false, Some(1)).unwrap();
    writer.string(false, "t").unwrap();
    writer.array(false, Some(1)).unwrap();
    writer.i32(partition);
    writer.i64(1_700_000_000_000);
}

fn first_since(answer: &[u8]) -> i64 {
    let mut reader = Reader::new(answer);
    assert_eq!(reader.array(false, 1, "topics").unwrap(), 1);
    reader.string(false, "name").unwrap();
    assert_eq!(reader.array(false, 1, "partitions").unwrap(), 1);
    reader.i32("partition").unwrap();
    assert_eq!(reader.i16("error").unwrap(), 0);
    reader.i64("timestamp").unwrap();
    reader.i64("offset").unwrap()
}

fn fetch(client: &mut Client, partition: i32, offset: i64, bytes: i32) -> Vec<u8> {
    records(&client.ask(1, 7, |w| fetch_body(w, &ask(partition, offset, bytes))))
}

fn records(answer: &[u8]) -> Vec<u8> {
    let mut answer = fetched(answer);
    let (_, error, _, records) = answer.partitions.pop().unwrap();
    assert_eq!(error, 0);
    records
}

/// More readers of old records than there are threads of any kind wait for the disk. Whoever produces, reads at the tail or reads what is in
/// memory is answered meanwhile; the readers are once the disk has answered, with every byte.
#[test]
fn who_reads_from_the_disk_keeps_nobody_waiting() {
    let scene = Scene::new();
    let mut client = scene.harness.connect();
    let right: Vec<Vec<u8>> = (1..CROWD).map(|partition| scene.fill(&mut client, partition, 2)).collect();
    (1..CROWD).for_each(|partition| scene.chill(partition));
    scene.faults.cold.hold(true);
    let mut readers: Vec<Client> = (1..CROWD).map(|_| scene.harness.connect()).collect();
    for (partition, reader) in (1..).zip(&mut readers) {
        reader.send(1, 7, |w| fetch_body(w, &ask(partition, 0, 50 << 20)));
    }
    scene.faults.cold.await_waiting(4);

    let in_memory = scene.fill(&mut client, 0, 3);
    assert_eq!(fetch(&mut scene.harness.connect(), 0, 0, 50 << 20), in_memory);
    // The tail of what others read from the disk, as well.
    for partition in 1..CROWD {
        let sent = batch(&["tail"]);
        produce(&mut client, partition, &sent);
        assert_eq!(fetch(&mut client, partition, 2, 50 << 20).len(), sent.len());
    }
    scene.faults.cold.hold(false);
    for (reader, right) in readers.iter_mut().zip(right) {
        assert!(records(&reader.receive().1).starts_with(&right));
    }
    assert_eq!(fetch(&mut client, 0, 0, 50 << 20), in_memory);
}

/// The same for what must be looked up: an index and batches of an old segment, a partition nobody has opened.
#[test]
fn who_looks_up_on_the_disk_keeps_nobody_waiting() {
    let scene = Scene::new();
    let mut client = scene.harness.connect();
    let small = batch(&["0123456789"]);
    for _ in 0..100 {
        produce(&mut client, 1, &small);
    }
    let replica = scene.harness.engine.replica("t", 1).unwrap();
    replica.partition().unwrap().roll().unwrap();
    produce(&mut client, 1, &small);
    let right = fetch(&mut client, 1, 50, 1000);
    scene.chill(1);
    scene.faults.cold.chill(&Scene::path(1, "index"), 1 << 20);
    scene.faults.cold.hold(true);
    let lookups = || scene.harness.engine.readers().iter().map(|readers| readers.lookups.get()).sum::<u64>();
    let before = lookups();
    let mut reader = scene.harness.connect();
    reader.send(1, 7, |w| fetch_body(w, &ask(1, 50, 1000)));
    scene.faults.cold.await_waiting(1);
    assert_eq!(lookups(), before + 1);
    produce(&mut client, 1, &small);
    produce(&mut client, 0, &small);
    scene.faults.cold.hold(false);
    assert_eq!(records(&reader.receive().1), right);
    let before = lookups();
    assert_eq!(fetch(&mut client, 1, 50, 1000), right);
    assert_eq!(lookups(), before, "now it is in memory");
}

/// Whoever asks for offsets by time waits for a thread like all others, however many they are; what is in memory is found at once.
#[test]
fn times_are_looked_up_by_few() {
    let scene = Scene::new();
    let mut client = scene.harness.connect();
    let small = batch(&["0123456789"]);
    for partition in 0..CROWD {
        produce(&mut client, partition, &small);
        scene.harness.engine.replica("t", partition).unwrap().partition().unwrap().roll().unwrap();
        produce(&mut client, partition, &small);
        scene.chill(partition);
        scene.faults.cold.chill(&Scene::path(partition, "timeindex"), 1 << 20);
    }
    assert_eq!(first_since(&client.ask(2, 1, |w| time_body(w, 0))), 0);
    scene.faults.cold.hold(true);
    let mut others: Vec<Client> = (1..CROWD).map(|_| scene.harness.connect()).collect();
    for (partition, other) in (1..).zip(&mut others) {
        other.send(2, 1, |w| time_body(w, partition));
    }
    await_that("all want the disk", || scene.at_work() == others.len());
    scene.faults.cold.await_waiting(4);
    assert_eq!(first_since(&client.ask(2, 1, |w| time_body(w, 0))), 0);
    assert_eq!(scene.faults.cold.waiting(), 4);
    scene.faults.cold.hold(false);
    others.iter_mut().for_each(|other| assert_eq!(first_since(&other.receive().1), 0));
}

/// However much one connection asks for, it waits for one piece at a time: another one finds a thread.
#[test]
fn one_reader_takes_one_thread() {
    let scene = Scene::new();
    let mut client = scene.harness.connect();
    for partition in 0..9 {
        scene.fill(&mut client, partition, 2);
        scene.chill(partition);
    }
    scene.faults.cold.hold(true);
    let (mut greedy, mut modest) = (scene.harness.connect(), scene.harness.connect());
    let everything = FetchAsk {
        max_bytes: 50 << 20,
        partition_max_bytes: 50 << 20,
        partitions: (0..8).map(|partition| (partition, 0)).collect(),
        ..FetchAsk::default()
    };
    greedy.send(1, 7, |w| fetch_body(w, &everything));
    scene.faults.cold.await_waiting(1);
    modest.send(1, 7, |w| fetch_body(w, &ask(8, 0, 50 << 20)));
    scene.faults.cold.await_waiting(2);
    talk(&mut client);
    assert_eq!((scene.at_work(), scene.faults.cold.waiting()), (2, 2));
    scene.faults.cold.hold(false);
    assert_eq!(fetched(&greedy.receive().1).partitions.len(), 8);
    records(&modest.receive().1);
}

/// What follows is brought in ahead: a reader that goes on from where it was does not wait again.
#[test]
fn reads_ahead() {
    let scene = Scene::new();
    let mut client = scene.harness.connect();
    let right = scene.fill(&mut client, 0, 100);
    // Twice what is brought in with what is waited for.
    assert!(right.len() > 8 << 20);
    scene.chill(0);
    let mut found = Vec::new();
    let bytes = right.len() / 100;
    for offset in 0..100 {
        found.extend(fetch(&mut client, 0, offset, i32::try_from(bytes).unwrap()));
        assert_eq!(scene.waits(), 1, "{offset}");
        // The memory of this disk holds what is coming once the reader is at work elsewhere.
        await_that("what is done ahead is done", || scene.at_work() == 0);
        scene.faults.cold.arrive();
    }
    assert!(found == right);
}

/// Who has gone is not waited for: when the disk answers again it is for those who still want something.
#[test]
fn work_for_nobody_is_not_done() {
    let scene = Scene::new();
    let mut client = scene.harness.connect();
    for partition in 0..CROWD {
        scene.fill(&mut client, partition, 2);
        scene.chill(partition);
    }
    scene.faults.cold.hold(true);
    let mut readers: Vec<Client> = (1..CROWD).map(|_| scene.harness.connect()).collect();
    for (partition, reader) in (1..).zip(&mut readers) {
        reader.send(1, 7, |w| fetch_body(w, &ask(partition, 0, 50 << 20)));
    }
    await_that("all want the disk", || scene.at_work() == readers.len());
    scene.faults.cold.await_waiting(4);
    drop(readers);
    await_that("those who have gone want nothing", || scene.at_work() == 4);
    client.send(1, 7, |w| fetch_body(w, &ask(0, 0, 50 << 20)));
    await_that("one more wants the disk", || scene.at_work() == 5);
    scene.faults.cold.hold(false);
    records(&client.receive().1);
    assert_eq!(scene.faults.cold.waits(), 5);
}

/// While the disk keeps everybody waiting nothing piles up that might be wanted later.
#[test]
fn little_is_done_ahead_at_once() {
    let scene = Scene::new();
    let mut client = scene.harness.connect();
    for partition in 0..5 {
        scene.fill(&mut client, partition, 30);
    }
    (1..5).for_each(|partition| scene.chill(partition));
    scene.faults.cold.chill_from(&Scene::path(0, "log"), 2 * RECORD_BYTES as u64, 3 << 20);
    scene.faults.cold.hold(true);
    let mut readers: Vec<Client> = (1..5).map(|_| scene.harness.connect()).collect();
    for (partition, reader) in (1..).zip(&mut readers) {
        reader.send(1, 7, |w| fetch_body(w, &ask(partition, 0, 50 << 20)));
    }
    scene.faults.cold.await_waiting(4);
    for _ in 0..100 {
        fetch(&mut client, 0, 0, i32::try_from(RECORD_BYTES).unwrap());
    }
    assert!((5..=20).contains(&scene.at_work()), "{}", scene.at_work());
    scene.faults.cold.hold(false);
    readers.iter_mut().for_each(|reader| drop(reader.receive()));
}
