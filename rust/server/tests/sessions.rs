//! Fetches of a session that wait: which of its partitions' movements wake them, and what the answer has then. The clock stands still, so
//! that no time is ever up.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{
    Client, FetchAsk, Fetched, Harness, TOPIC_ID, await_that, batch, fetch_body, fetched, produce_body, produced, topic,
};
use ottla_log::env::faulty::FaultyDisk;
use ottla_log::partition::ReadUpTo;
use ottla_log::{Durability, PartitionConfig};
use ottla_server::limits::Limits;

const FENCED_LEADER_EPOCH: i16 = 74;
const PARTITIONS: [(i32, i64); 2] = [(0, 0), (1, 0)];

/// A consumer whose session of both partitions is open and has been told all there is.
struct Session {
    client: Client,
    id: i32,
    epoch: i32,
}

impl Session {
    fn open(harness: &Harness, partitions: Vec<(i32, i64)>) -> Self {
        let mut client = harness.connect();
        let full = FetchAsk { session: (0, 0), partitions, ..FetchAsk::default() };
        let id = fetched(&client.ask(1, 7, |w| fetch_body(w, &full))).session_id;
        assert_ne!(id, 0);
        Self { client, id, epoch: 1 }
    }

    /// Sends the next fetch and returns once it waits.
    fn wait_for(&mut self, harness: &Harness, min_bytes: usize) {
        let session = (self.id, self.epoch);
        let min_bytes = i32::try_from(min_bytes).unwrap();
        let ask = FetchAsk { max_wait_ms: 60_000, min_bytes, session, partitions: vec![], ..FetchAsk::default() };
        self.client.send(1, 7, |w| fetch_body(w, &ask));
        self.epoch += 1;
        await_that("it waits", || harness.plane.deadlines.waiting() > 0);
    }

    fn answer(&mut self) -> Fetched {
        fetched(&self.client.receive().1)
    }

    /// Partition, error, and how many bytes of records, of each partition in the next answer.
    fn told(&mut self) -> Vec<(i32, i16, usize)> {
        self.answer()
            .partitions
            .iter()
            .map(|(partition, error, _, records)| (*partition, *error, records.len()))
            .collect()
    }
}

fn produce(harness: &Harness, partition: i32, sent: &[u8]) {
    let answer = harness.connect().ask(0, 7, |w| produce_body(w, None, 1, "t", partition, sent));
    assert_eq!(produced(&answer).0, 0);
}

/// An append wakes it.
#[test]
fn an_append_wakes() {
    let harness = Harness::start();
    let sent = batch(&["x"]);
    let mut session = Session::open(&harness, PARTITIONS.to_vec());
    for (partition, min_bytes) in [(1, 1), (0, sent.len() + 1)] {
        session.wait_for(&harness, min_bytes);
        produce(&harness, partition, &sent);
        assert!(session.told().contains(&(partition, 0, sent.len())));
        assert_eq!(harness.plane.deadlines.waiting(), 0, "its deadline is gone with it");
    }
}

/// What comes into several partitions counts together, and too little does not end the wait.
#[test]
fn bytes_of_all_partitions_count() {
    let harness = Harness::start();
    let sent = batch(&["x"]);
    let mut session = Session::open(&harness, PARTITIONS.to_vec());
    session.wait_for(&harness, 4 * sent.len());
    for partition in [0, 1, 0, 1] {
        assert_eq!(harness.plane.deadlines.waiting(), 1);
        produce(&harness, partition, &sent);
    }
    assert_eq!(session.told(), [(0, 0, 2 * sent.len()), (1, 0, 2 * sent.len())]);
}

/// A log that begins elsewhere is news, told with the next answer; a deleted topic is told at once.
#[test]
fn other_movements_are_told() {
    let harness = Harness::start();
    let sent = batch(&["x"]);
    produce(&harness, 0, &sent);
    let mut session = Session::open(&harness, vec![(0, 1), (1, 0)]);
    session.wait_for(&harness, 1);
    produce(&harness, 1, &sent);
    assert_eq!(session.told(), [(1, 0, sent.len())]);
    // From here on nobody looks at the first partition unless it moves.
    session.wait_for(&harness, 2 * sent.len() + 1);
    let partition = Arc::clone(harness.engine.replica("t", 0).unwrap().partition().unwrap());
    partition.delete_records_before(1).unwrap();
    (0..2).for_each(|_| produce(&harness, 1, &sent));
    assert_eq!(session.told(), [(0, 0, 0), (1, 0, 3 * sent.len())]);
    session.wait_for(&harness, 1000);
    harness.publish(2, vec![], vec![TOPIC_ID]);
    // Its partitions go one after the other: the first is told at once, perhaps before the last is gone.
    let told = session.told();
    assert!(told.iter().any(|(_, error, _)| *error == 3), "{told:?}");
    let full = FetchAsk { session: (session.id, session.epoch), partitions: vec![], ..FetchAsk::default() };
    let told = fetched(&session.client.ask(1, 7, |w| fetch_body(w, &full))).partitions;
    assert!(told.len() == 2 && told.iter().all(|(_, error, ..)| *error == 3), "{told:?}");
}

/// Where the disk must be waited for to know how much there is, that is done; what there is does not end the wait if it is too little.
#[test]
fn what_must_be_looked_up_is() {
    let disk = FaultyDisk::scratch();
    let faults = disk.faults();
    let harness = Harness::over_disk(Arc::new(disk), Limits::default());
    let sent = batch(&["x"]);
    (0..100).for_each(|_| produce(&harness, 0, &sent));
    let mut session = Session::open(&harness, vec![(0, 50), (1, 0)]);
    session.wait_for(&harness, 50 * sent.len() + 1);
    harness.engine.replica("t", 0).unwrap().partition().unwrap().roll().unwrap();
    for suffix in ["index", "log"] {
        faults.cold.chill(&Path::new("/data/t-0").join(format!("00000000000000000000.{suffix}")), 1 << 20);
    }
    produce(&harness, 0, &sent);
    await_that("the disk is asked", || faults.cold.waits() > 0);
    produce(&harness, 1, &sent);
    // A fetch of a partition ends with its segment; who had records in the last answer comes last.
    assert_eq!(session.told(), [(1, 0, sent.len()), (0, 0, 50 * sent.len())]);
}

/// Who waits keeps nothing of what there is: no file of a segment, which may be deleted or closed meanwhile.
#[test]
fn who_waits_keeps_no_files() {
    let harness = Harness::start();
    // More than would be copied.
    let sent = batch(&["x".repeat(10_000).as_str()]);
    let min_bytes = 3 * sent.len();
    produce(&harness, 0, &sent);
    let replica = harness.engine.replica("t", 0).unwrap();
    let file = replica.partition().unwrap().read(0, 1000, ReadUpTo::LogEnd, true).unwrap().slice.unwrap().file;
    let kept = Arc::strong_count(&file);
    let is_let_go = || Arc::strong_count(&file) == kept;
    let mut session = Session::open(&harness, PARTITIONS.to_vec());
    session.wait_for(&harness, min_bytes);
    await_that("it is let go", is_let_go);
    // The same without a session, also after it was woken in vain.
    let mut client = harness.connect();
    let ask = FetchAsk { max_wait_ms: 60_000, min_bytes: i32::try_from(min_bytes).unwrap(), ..FetchAsk::default() };
    client.send(1, 7, |w| fetch_body(w, &ask));
    await_that("both wait without it", || harness.plane.deadlines.waiting() == 2 && is_let_go());
    produce(&harness, 0, &sent);
    await_that("it is let go again", is_let_go);
    produce(&harness, 0, &sent);
    assert_eq!(session.told()[0].2, min_bytes);
    assert_eq!(fetched(&client.receive().1).partitions[0].3.len(), min_bytes);
}

/// A new leader epoch is told to who said which one it knows, also if its fetch looks again while the publication is still under way.
#[test]
fn a_new_leader_epoch_is_told() {
    let disk = FaultyDisk::scratch();
    let faults = disk.faults();
    let harness = Harness::over_disk(Arc::new(disk), Limits::default());
    produce(&harness, 1, &batch(&["x"]));
    let mut client = harness.connect();
    let full = client.ask(1, 9, |w| {
        [-1, 0, 1, 1 << 20].into_iter().for_each(|number| w.i32(number));
        w.i8(0);
        [0, 0].into_iter().for_each(|number| w.i32(number));
        w.array(false, Some(1)).unwrap();
        w.string(false, "t").unwrap();
        w.array(false, Some(1)).unwrap();
        // Partition and leader epoch, offset and log start, bytes.
        [0, 0].into_iter().for_each(|number| w.i32(number));
        [0, -1].into_iter().for_each(|number| w.i64(number));
        w.i32(1 << 20);
        w.array(false, Some(0)).unwrap();
    });
    let mut session = Session { client, id: fetched(&full).session_id, epoch: 1 };
    assert_ne!(session.id, 0);
    session.wait_for(&harness, 1);
    // The other partition's epoch has to be written down, which comes after that of the first: the fetch has time to look.
    let address = harness.address;
    faults.when_opened("leader-epoch-checkpoint.tmp", move || {
        let mut other = Client::to(address);
        (0..100).for_each(|_| drop(other.ask(18, 0, |_| {})));
    });
    let config = PartitionConfig { durability: Durability::Os, ..PartitionConfig::default() };
    let mut changed = topic("t", TOPIC_ID, 2, config);
    changed.partitions.iter_mut().for_each(|partition| partition.leader_epoch = 1);
    harness.publish(2, vec![changed], vec![]);
    assert!(!faults.has_hook());
    assert_eq!(session.told(), [(0, FENCED_LEADER_EPOCH, 0)]);
}
