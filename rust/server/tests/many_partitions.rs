//! Requests over many partitions: what waits for the disk is done side by side, and no answer holds more than it should.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use std::sync::Arc;

use common::gated_disk::{GatedDisk, Keeper};
use common::{Client, FetchAsk, Harness, TOPIC_ID, batch, fetch_body, fetched, produce_body, produced, topic};
use ottla_log::env::faulty::{Call, EIO, EMFILE, ENOSPC, Fault, FaultyDisk};
use ottla_log::{Durability, PartitionConfig};
use ottla_protocol::native::list_offsets::LATEST;
use ottla_protocol::wire::Reader;
use ottla_server::limits::Limits;

const ACKS_ALL: i16 = -1;
const ACKS_LEADER: i16 = 1;

/// A Produce v7 of one record to each partition of topic `t`.
fn send_to_all(client: &mut Client, partitions: i32, value: &str) {
    send_records_to_all(client, partitions, &batch(&[value]));
}

fn send_records_to_all(client: &mut Client, partitions: i32, records: &[u8]) {
    client.send(0, 7, |w| {
        w.nullable_string(false, None).unwrap();
        w.i16(ACKS_LEADER);
        w.i32(30_000);
        w.array(false, Some(1)).unwrap();
        w.string(false, "t").unwrap();
        w.array(false, Some(usize::try_from(partitions).unwrap())).unwrap();
        for index in 0..partitions {
            w.i32(index);
            w.bytes(false, records).unwrap();
        }
    });
}

/// (index, error, base offset) of each partition.
fn produced_to_all(answer: &[u8]) -> Vec<(i32, i16, i64)> {
    let mut reader = Reader::new(answer);
    assert_eq!(reader.array(false, 1, "topics").unwrap(), 1);
    reader.string(false, "name").unwrap();
    let count = reader.array(false, 1, "partitions").unwrap();
    let one = |reader: &mut Reader<'_>| {
        let one = (reader.i32("index").unwrap(), reader.i16("error").unwrap(), reader.i64("base offset").unwrap());
        reader.i64("append time").unwrap();
        reader.i64("log start").unwrap();
        one
    };
    (0..count).map(|_| one(&mut reader)).collect()
}

/// A ListOffsets v1 of the first partitions of topic `t`; their offsets.
fn send_listing(client: &mut Client, partitions: i32) {
    client.send(2, 1, |w| {
        w.i32(-1);
        w.array(false, Some(1)).unwrap();
        w.string(false, "t").unwrap();
        w.array(false, Some(usize::try_from(partitions).unwrap())).unwrap();
        for index in 0..partitions {
            w.i32(index);
            w.i64(LATEST);
        }
    });
}

/// (index, error, offset) of each partition.
fn listed(answer: &[u8]) -> Vec<(i32, i16, i64)> {
    let mut reader = Reader::new(answer);
    assert_eq!(reader.array(false, 1, "topics").unwrap(), 1);
    reader.string(false, "name").unwrap();
    let count = reader.array(false, 1, "partitions").unwrap();
    let one = |reader: &mut Reader<'_>| {
        let (index, error) = (reader.i32("index").unwrap(), reader.i16("error").unwrap());
        reader.i64("timestamp").unwrap();
        (index, error, reader.i64("offset").unwrap())
    };
    (0..count).map(|_| one(&mut reader)).collect()
}

/// The first records of a request make the files of all its partitions at the same time: the disk has the syncs of all of them before
/// it has done one.
#[test]
fn first_records_side_by_side() {
    let disk = GatedDisk::default();
    let gate = Keeper(Arc::clone(&disk.gate));
    let harness = Harness::with_fsync(disk);
    harness.publish(2, vec![topic("t", TOPIC_ID, 8, PartitionConfig::default())], vec![]);
    let mut client = harness.connect();
    gate.hold_directories();
    send_to_all(&mut client, 8, "x");
    gate.await_syncs(8);
    gate.release();
    let expected: Vec<(i32, i16, i64)> = (0..8).map(|index| (index, 0, 0)).collect();
    assert_eq!(produced_to_all(&client.receive().1), expected);
    let answer = client.ask(0, 7, |w| produce_body(w, None, ACKS_LEADER, "t", 3, &batch(&["y"])));
    assert_eq!(produced(&answer), (0, 1));
}

/// What is no batch makes no files: neither zeros, nor a batch cut short, nor one of another magic.
#[test]
fn refused_records_make_nothing() {
    let harness = Harness::start();
    harness.publish(2, vec![topic("t", TOPIC_ID, 8, PartitionConfig::default())], vec![]);
    let mut client = harness.connect();
    let whole = batch(&["x"]);
    let mut of_old = whole.clone();
    of_old[16] = 1;
    let wrong = [vec![0; 100], whole[..whole.len() - 1].to_vec(), of_old];
    for records in wrong {
        send_records_to_all(&mut client, 8, &records);
        assert!(produced_to_all(&client.receive().1).iter().all(|(_, error, _)| *error != 0));
    }
    let names = |directory: &str| harness.engine.env().disk().list(directory.as_ref()).unwrap();
    assert!(names("/data").iter().all(|entry| !entry.name.starts_with("t-")));
    send_records_to_all(&mut client, 8, &whole);
    assert!(produced_to_all(&client.receive().1).iter().all(|(_, error, _)| *error == 0));
    assert_eq!(names("/data").iter().filter(|entry| entry.name.starts_with("t-")).count(), 8);
}

/// Files that cannot be made concern their partitions alone.
#[test]
fn first_records_on_a_failing_disk() {
    let disk = GatedDisk::default();
    let gate = Keeper(Arc::clone(&disk.gate));
    let harness = Harness::with_fsync(disk);
    let mut client = harness.connect();
    let answer = client.ask(0, 7, |w| produce_body(w, None, ACKS_ALL, "t", 0, &batch(&["x"])));
    assert_eq!(produced(&answer), (0, 0));
    harness.publish(2, vec![topic("t", TOPIC_ID, 4, PartitionConfig::default())], vec![]);
    gate.hold_directories();
    send_to_all(&mut client, 4, "x");
    gate.await_syncs(3);
    gate.release_broken();
    assert_eq!(produced_to_all(&client.receive().1), [(0, 0, 1), (1, 56, -1), (2, 56, -1), (3, 56, -1)]);
}

/// Asks where epoch 0 ends, in an OffsetForLeaderEpoch v2; (index, error, where it does) of each partition.
fn send_epochs(client: &mut Client, partitions: i32) {
    client.send(23, 2, |w| {
        w.array(false, Some(1)).unwrap();
        w.string(false, "t").unwrap();
        w.array(false, Some(usize::try_from(partitions).unwrap())).unwrap();
        for index in 0..partitions {
            [index, -1, 0].into_iter().for_each(|number| w.i32(number));
        }
    });
}

fn epoch_ends(answer: &[u8]) -> Vec<(i32, i16, i64)> {
    let mut reader = Reader::new(answer);
    reader.i32("throttle").unwrap();
    assert_eq!(reader.array(false, 1, "topics").unwrap(), 1);
    reader.string(false, "name").unwrap();
    let count = reader.array(false, 1, "partitions").unwrap();
    let one = |reader: &mut Reader<'_>| {
        let error = reader.i16("error").unwrap();
        let index = reader.i32("partition").unwrap();
        reader.i32("epoch").unwrap();
        (index, error, reader.i64("end offset").unwrap())
    };
    (0..count).map(|_| one(&mut reader)).collect()
}

/// Partitions that nobody has used yet are opened at the same time, whoever asks for them.
#[test]
fn opened_side_by_side() {
    let expected: Vec<(i32, i16, i64)> = (0..8).map(|index| (index, 0, 0)).collect();
    for asked in ["fetch", "offsets", "epochs"] {
        let disk = GatedDisk::default();
        let listing = Keeper(Arc::clone(&disk.listing));
        let harness = Harness::with_fsync(disk);
        harness.publish(2, vec![topic("t", TOPIC_ID, 8, PartitionConfig::default())], vec![]);
        let mut client = harness.connect();
        listing.hold();
        match asked {
            "fetch" => {
                let all = FetchAsk { partitions: (0..8).map(|index| (index, 0)).collect(), ..FetchAsk::default() };
                client.send(1, 7, |w| fetch_body(w, &all));
            }
            "offsets" => send_listing(&mut client, 8),
            _ => send_epochs(&mut client, 8),
        }
        listing.await_syncs(8);
        listing.release();
        let answer = client.receive().1;
        match asked {
            "fetch" => assert!(fetched(&answer).partitions.iter().all(|told| (told.1, told.2) == (0, 0))),
            "offsets" => assert_eq!(listed(&answer), expected),
            _ => assert_eq!(epoch_ends(&answer), expected),
        }
    }
}

/// A disk that does not answer holds up those who ask for what lies on it, and nobody else, though they ask for what lies elsewhere too.
#[test]
fn one_disk_of_two_hangs() {
    const PARTITIONS: i32 = 24;
    /// More than the threads of a data directory that wait for the disk.
    const CROWD: usize = 6;
    let disk = GatedDisk::listing_below("/two");
    let listing = Keeper(Arc::clone(&disk.listing));
    let harness = Harness::with_directories(disk, &["/one", "/two"]);
    harness.publish(2, vec![topic("t", TOPIC_ID, PARTITIONS, PartitionConfig::default())], vec![]);
    let is_on_two = |index: &i32| harness.engine.replica("t", *index).unwrap().path().starts_with("/two");
    let (on_two, on_one): (Vec<i32>, Vec<i32>) = (0..PARTITIONS).partition(is_on_two);
    let ask = |wanted: &[i32]| FetchAsk {
        partitions: wanted.iter().map(|index| (*index, 0)).collect(),
        ..FetchAsk::default()
    };
    listing.hold();
    let mut readers: Vec<Client> = (0..CROWD).map(|_| harness.connect()).collect();
    for (place, reader) in readers.iter_mut().enumerate() {
        let wanted = ask(&[on_one[place], on_two[2 * place], on_two[2 * place + 1]]);
        reader.send(1, 7, |w| fetch_body(w, &wanted));
    }
    listing.await_syncs(4);
    let answer = fetched(&harness.connect().ask(1, 7, |w| fetch_body(w, &ask(&on_one[CROWD..]))));
    assert_eq!(answer.partitions.len(), on_one.len() - CROWD);
    listing.release();
    for mut reader in readers {
        assert!(fetched(&reader.receive().1).partitions.iter().all(|(_, error, _, _)| *error == 0));
    }
}

/// A sync of the data directory that failed speaks of all names that were made before it: also of one whose partition got no further then,
/// and is tried again when a later sync has gone well.
#[test]
fn a_name_from_an_earlier_try() {
    let disk = FaultyDisk::scratch();
    let faults = disk.faults();
    let harness = Harness::over_disk(Arc::new(disk), Limits::default());
    harness.publish(2, vec![topic("u", [8; 16], 3, PartitionConfig::default())], vec![]);
    let mut client = harness.connect();
    let mut send = |index| produced(&client.ask(0, 7, |w| produce_body(w, None, ACKS_ALL, "u", index, &batch(&["x"]))));
    faults.fail(Fault::new(ENOSPC).of(&[Call::Create]).at("u-0/00000000000000000000.log").once());
    assert_eq!(send(0).0, 56);
    faults.fail(Fault::new(EIO).of(&[Call::SyncDir]).at("/data").once());
    assert_eq!(send(1).0, 56);
    assert_eq!(send(2), (0, 0));
    assert_eq!(faults.tripped(), 2);
    assert_eq!(send(0).0, 56);
}

/// First records for which there is no descriptor are refused, and that is all: what is sent again is taken, wherever it was cut short.
#[test]
fn first_records_without_descriptors() {
    const REFUSED: i16 = 56;
    let mut refused = 0;
    for calls in 0..24 {
        let disk = FaultyDisk::scratch();
        let faults = disk.faults();
        let harness = Harness::over_disk(Arc::new(disk), Limits::default());
        harness.publish(2, vec![topic("t", TOPIC_ID, 4, PartitionConfig::default())], vec![]);
        let mut client = harness.connect();
        let needs_one = [Call::Open, Call::Create, Call::SyncDir, Call::List];
        faults.fail(Fault::new(EMFILE).of(&needs_one).after(calls));
        send_to_all(&mut client, 4, "x");
        let first = produced_to_all(&client.receive().1);
        faults.heal();
        send_to_all(&mut client, 4, "x");
        let again = produced_to_all(&client.receive().1);
        for ((index, error, _), told) in first.into_iter().zip(again) {
            assert!([0, REFUSED].contains(&error), "{error}");
            assert_eq!(told, (index, 0, i64::from(error == 0)), "{calls}");
            refused += i32::from(error == REFUSED);
        }
    }
    assert!(refused > 24);
}

/// A Fetch of more partitions than it may hold files of brings few records of all, and many of as many as it may: the next one has the rest.
/// What is copied in the place of a file is bounded too.
#[test]
fn records_of_many() {
    const PARTITIONS: i32 = 500;
    const FILES_MAX: usize = 256;
    // A batch of 7,000 bytes takes 70 more.
    const COPIES_MAX: usize = 1024 * 1024 / 7_070;
    let all = usize::try_from(PARTITIONS).unwrap();
    for (value_bytes, first) in [(100, all), (7_000, COPIES_MAX + FILES_MAX), (9_000, FILES_MAX)] {
        let value = "x".repeat(value_bytes);
        let harness = Harness::start();
        // What is appended can be read, without a commit.
        let config = PartitionConfig { durability: Durability::Os, ..PartitionConfig::default() };
        harness.publish(2, vec![topic("t", TOPIC_ID, PARTITIONS, config)], vec![]);
        let mut client = harness.connect();
        send_to_all(&mut client, PARTITIONS, &value);
        assert!(produced_to_all(&client.receive().1).iter().all(|(_, error, offset)| (*error, *offset) == (0, 0)));
        let sent = batch(&[&value]);
        let mut wanted: Vec<i32> = (0..PARTITIONS).collect();
        for expected in [first, all - first] {
            let partitions = wanted.iter().map(|index| (*index, 0)).collect();
            // The clock stands still: what is full does not wait for more.
            let is_cut = wanted.len() > expected;
            let min_bytes = if is_cut { i32::try_from(sent.len() * (expected + 1)).unwrap() } else { 1 };
            let ask =
                FetchAsk { max_bytes: 1 << 26, min_bytes, max_wait_ms: 60_000, partitions, ..FetchAsk::default() };
            if wanted.is_empty() {
                break;
            }
            let answer = fetched(&client.ask(1, 7, |w| fetch_body(w, &ask)));
            assert!(answer.partitions.iter().all(|(_, error, high_watermark, _)| (*error, *high_watermark) == (0, 1)));
            let (whole, empty): (Vec<_>, Vec<_>) = answer.partitions.into_iter().partition(|told| !told.3.is_empty());
            assert_eq!(whole.len(), expected);
            // Behind base offset, length and leader epoch.
            assert!(whole.iter().all(|told| told.3[16..] == sent[16..]));
            wanted = empty.into_iter().map(|told| told.0).collect();
        }
        assert!(wanted.is_empty());
    }
}
