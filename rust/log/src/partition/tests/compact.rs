//! Compaction as readers see it: of each key the last committed record, at its offset, in the old order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::CleanupPolicy;
use crate::batch::Marker;
use crate::compaction::plan::Verdict;
use crate::compaction::{Pace, Unhurried};
use crate::partition::{Compaction, MapSize};

pub const MAP: MapSize = MapSize { bytes_max: 1 << 20, load_factor: 0.9, hash_key: [9; 16] };

/// A compacted partition with small segments.
pub fn compacted() -> Bench {
    let mut bench = Bench::small();
    bench.config.cleanup_policy = CleanupPolicy { delete: false, compact: true };
    bench.config.dirty_ratio_min = 0.0;
    bench
}

/// Records as (key, value); a value of "" is a tombstone.
pub fn keyed(who: Who, compression: Compression, timestamp_ms: i64, records: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchShape {
        compression,
        level: -1,
        attributes: if who.transactional { header::TRANSACTIONAL_BIT } else { 0 },
        producer_id: who.id,
        producer_epoch: who.epoch,
        base_sequence: who.sequence,
    });
    for (timestamp_ms, (key, value)) in (timestamp_ms..).zip(records) {
        let value = (!value.is_empty()).then_some(value.as_bytes());
        builder.push(&NewRecord { timestamp_ms, key: Some(key.as_bytes()), value, headers: &[("h", Some(b"1"))] });
    }
    builder.finish().unwrap()
}

pub fn put(partition: &Partition, records: &[(&str, &str)]) -> Appended {
    send(partition, keyed(NOBODY, Compression::None, T0, records)).unwrap()
}

pub fn put_in(partition: &Partition, who: Who, records: &[(&str, &str)]) -> Appended {
    let guard = partition.start_verification(who.id, who.epoch, who.sequence);
    let options = AppendOptions { guard, ..AppendOptions::default() };
    partition.append(&mut keyed(who, Compression::None, T0, records), Origin::Client, options).unwrap()
}

pub fn compact(partition: &Partition) -> Compaction {
    partition.compact(MAP, &mut Unhurried).unwrap().expect("nothing was compacted")
}

/// Rolls, so that everything may be compacted, and does it.
fn roll_and_compact(partition: &Partition) -> Compaction {
    partition.roll().unwrap();
    compact(partition)
}

/// (offset, key, value) of all records, control records as "commit" and "abort"; a tombstone's value is "".
pub fn contents(partition: &Partition) -> Vec<(i64, String, String)> {
    let mut found = Vec::new();
    let mut at = partition.offsets().log_start;
    loop {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let next = partition
            .for_each_record(at, 1000, ReadUpTo::LogEnd, |record| {
                found.push(if record.is_control {
                    let commit = record.key.is_some_and(|key| key[3] == 1);
                    (record.offset, if commit { "commit" } else { "abort" }.to_owned(), String::new())
                } else {
                    (record.offset, text(record.key), text(record.value))
                });
            })
            .unwrap();
        if next == at {
            return found;
        }
        at = next;
    }
}

pub fn offsets(partition: &Partition) -> Vec<i64> {
    contents(partition).into_iter().map(|(offset, ..)| offset).collect()
}

/// What a read_committed reader from the start ends up with, as a client works it out: by the aborted list.
pub fn committed(partition: &Partition) -> Vec<(i64, String, String)> {
    let mut found = Vec::new();
    let mut open: HashSet<i64> = HashSet::new();
    let mut at = partition.offsets().log_start;
    loop {
        let read = partition.read(at, 1000, ReadUpTo::LastStable, true).unwrap();
        if read.slice.is_none() {
            return found;
        }
        let mut coming = read.aborted;
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let next = partition
            .for_each_record(at, 1000, ReadUpTo::LastStable, |record| {
                coming.retain(|entry| {
                    let begins = entry.first_offset <= record.offset;
                    if begins {
                        open.insert(entry.producer_id);
                    }
                    !begins
                });
                if record.is_control {
                    open.remove(&record.producer_id);
                } else if !(record.is_transactional && open.contains(&record.producer_id)) {
                    found.push((record.offset, text(record.key), text(record.value)));
                }
            })
            .unwrap();
        if next == at {
            return found;
        }
        at = next;
    }
}

/// Of every key the last record stays, where it was; the segment being written is not touched; small segments become one.
#[test]
fn last_of_each_key_stays() {
    let bench = compacted();
    let partition = bench.open();
    for round in 0..20 {
        let value = format!("{round:050}");
        put(&partition, &[("a", &value), ("b", &value), (&format!("only-{round}"), &value)]);
    }
    let (segments, bytes) = (partition.status().segments, partition.size_bytes());
    assert!(segments > 4);
    let active = partition.compaction_plan().unwrap().unwrap().until;
    let done = compact(&partition);
    assert_eq!((done.cleaned, done.plan.verdict), (active, Verdict::DirtyEnough));
    let last = active / 3 - 1;
    let expected: Vec<i64> =
        (0..60).filter(|offset| offset % 3 == 2 || offset / 3 == last || *offset >= active).collect();
    assert_eq!(offsets(&partition), expected);
    assert!(partition.size_bytes() < bytes * 2 / 3);
    assert_eq!(partition.offsets().log_end, 60);
    for from in 0..60 {
        let read = partition.read(from, 1000, ReadUpTo::LogEnd, true).unwrap();
        assert!(read.first_offset <= from || expected.contains(&read.first_offset), "{from}: {}", read.first_offset);
    }
    assert!(partition.compact(MAP, &mut Unhurried).unwrap().is_none(), "nothing is dirty any more");
    put(&partition, &[("a", "last")]);
    roll_and_compact(&partition);
    assert!(partition.status().segments < segments, "what shrank was put together");
    assert_eq!(partition.size_bytes(), log_bytes(&bench), "the files hold what counts, no more");
}

fn log_bytes(bench: &Bench) -> u64 {
    let entries = bench.host.env().disk().list(&bench.path()).unwrap();
    entries.iter().filter(|entry| entry.name.ends_with(".log")).map(|entry| entry.length).sum()
}

/// What is open, not stable, or not old enough stays as it is.
#[test]
fn what_is_not_touched() {
    let mut bench = compacted();
    bench.config.compaction_lag_min_ms = 1000;
    let partition = bench.open();
    put(&partition, &[("a", "1"), ("a", "2")]);
    partition.roll().unwrap();
    assert!(partition.compact(MAP, &mut Unhurried).unwrap().is_none(), "too young");
    bench.clock.turn(5000);
    put_in(&partition, transaction(1, 0, 0), &[("b", "1")]);
    partition.roll().unwrap();
    put(&partition, &[("a", "3")]);
    partition.roll().unwrap();
    assert_eq!(compact(&partition).cleaned, 2, "up to the open transaction");
    assert_eq!(offsets(&partition), [1, 2, 3]);
    partition.append_marker(1, 0, Marker::Commit, 0, 0).unwrap();
    partition.roll().unwrap();
    bench.clock.turn(5000);
    compact(&partition);
    assert_eq!(offsets(&partition), [2, 3, 4], "the key's newer record, the transaction and its marker");
}

/// A tombstone outlives what it deletes by `delete.retention.ms`, counted from when compaction first saw it (KIP-534).
#[test]
fn tombstones() {
    for compression in [Compression::None, Compression::Zstd] {
        let mut bench = compacted();
        bench.config.delete_retention_ms = 10_000;
        let partition = bench.open();
        send(&partition, keyed(NOBODY, compression, T0, &[("a", "1"), ("b", "1"), ("a", ""), ("c", "1")])).unwrap();
        roll_and_compact(&partition);
        assert_eq!(offsets(&partition), [1, 2, 3]);
        let batch = partition.read(0, 1000, ReadUpTo::LogEnd, true).unwrap();
        assert_eq!(batch.first_offset, 0);
        let time = |partition: &Partition, offset| {
            let mut time = None;
            let each = |record: &crate::batch::records::RecordRef<'_>| {
                if record.offset == offset {
                    time = Some(record.timestamp_ms);
                }
            };
            partition.for_each_record(0, 1000, ReadUpTo::LogEnd, each).unwrap();
            time
        };
        assert_eq!(time(&partition, 2), Some(T0 + 2), "the horizon changes no record's time");
        bench.clock.turn(9_999);
        put(&partition, &[("x", "1")]);
        roll_and_compact(&partition);
        assert_eq!(offsets(&partition), [1, 2, 3, 4], "one millisecond before");
        bench.clock.turn(1);
        put(&partition, &[("x", "2")]);
        roll_and_compact(&partition);
        assert_eq!(offsets(&partition), [1, 3, 5]);
        assert_eq!(time(&partition, 3), Some(T0 + 3));
    }
}

/// An aborted transaction goes with its records; its marker follows when nothing is left for it to end, and after its own wait.
#[test]
fn aborted_transactions_go() {
    let mut bench = compacted();
    bench.config.delete_retention_ms = 10_000;
    let partition = bench.open();
    put(&partition, &[("a", "1")]);
    put_in(&partition, transaction(1, 0, 0), &[("a", "aborted")]);
    partition.append_marker(1, 0, Marker::Abort, 0, 0).unwrap();
    put_in(&partition, transaction(2, 0, 0), &[("b", "committed")]);
    partition.append_marker(2, 0, Marker::Commit, 0, 0).unwrap();
    // Both are known by later batches.
    put_in(&partition, transaction(1, 0, 1), &[("c", "1")]);
    put_in(&partition, transaction(2, 0, 1), &[("b", "2")]);
    partition.append_marker(1, 0, Marker::Commit, 0, 0).unwrap();
    partition.append_marker(2, 0, Marker::Commit, 0, 0).unwrap();
    let step = |expected: &[i64], aborted: usize| {
        put(&partition, &[("x", "")]);
        roll_and_compact(&partition);
        let found: Vec<i64> = offsets(&partition).into_iter().filter(|offset| *offset < 9).collect();
        assert_eq!(found, expected);
        let read = partition.read(0, 1, ReadUpTo::LastStable, true).unwrap();
        assert_eq!(read.aborted.len(), aborted);
    };
    step(&[0, 2, 4, 5, 6, 7, 8], 1);
    // A pass that found batches of it counts for nothing: the marker's time begins with one that finds none.
    bench.clock.turn(20_000);
    // No batch of the first transaction is left, and none of the second's first: their markers get a horizon.
    step(&[0, 2, 4, 5, 6, 7, 8], 0);
    bench.clock.turn(10_000);
    step(&[0, 5, 6, 7, 8], 0);
    assert_eq!(committed(&partition).iter().filter(|(offset, ..)| *offset < 9).count(), 3);
}

/// A producer whose records are all gone is still known: its sequence goes on where it was, a repeated batch is known again.
#[test]
fn sequences_survive() {
    let bench = compacted();
    let partition = bench.open();
    send(&partition, keyed(producer(5, 0, 0), Compression::None, T0, &[("a", "1"), ("b", "1")])).unwrap();
    send(&partition, keyed(producer(5, 0, 2), Compression::None, T0, &[("a", "2"), ("b", "2")])).unwrap();
    partition.append_marker(6, 3, Marker::Commit, 0, 0).unwrap();
    put(&partition, &[("a", "3"), ("b", "3")]);
    put(&partition, &[("z", "3")]);
    roll_and_compact(&partition);
    assert_eq!(offsets(&partition), [4, 5, 6, 7]);
    partition.flush().unwrap();
    drop(partition);
    // Rebuilt from the log alone.
    for name in names(&bench).iter().filter(|name| name.ends_with(".snapshot")) {
        bench.host.env().disk().remove_file(&bench.path().join(name)).unwrap();
    }
    let (partition, report) = bench.open_with(OpenHint::default());
    assert_eq!(report.damage, Vec::<String>::new());
    let again = send(&partition, keyed(producer(5, 0, 2), Compression::None, T0, &[("a", "2"), ("b", "2")])).unwrap();
    assert_eq!((again.duplicate, again.base_offset), (true, 2));
    assert!(send(&partition, keyed(producer(5, 0, 6), Compression::None, T0, &[("a", "4")])).is_err());
    send(&partition, keyed(producer(5, 0, 4), Compression::None, T0, &[("a", "4")])).unwrap();
    assert!(partition.append_marker(6, 2, Marker::Commit, 0, 0).is_err(), "the epoch is known");
}

/// The youngest record is found though a batch that lost its records was younger, and so it is after the indexes were rebuilt.
#[test]
fn youngest_record_that_is_left() {
    let bench = compacted();
    let mut partition = bench.open();
    put(&partition, &[("b", "1")]);
    send(&partition, keyed(producer(5, 0, 0), Compression::None, T0 + 100, &[("a", "1")])).unwrap();
    put(&partition, &[("a", "2")]);
    roll_and_compact(&partition);
    assert_eq!(offsets(&partition), [0, 2]);
    for hint in [Bench::clean(), OpenHint::default()] {
        let youngest = partition.max_timestamp().unwrap().unwrap();
        assert_eq!((youngest.offset, youngest.timestamp_ms), (0, T0));
        assert_eq!(partition.lookup_timestamp(T0 + 50).unwrap(), None);
        partition.close().unwrap();
        drop(partition);
        partition = bench.open_with(hint).0;
        // The time index is not taken for wrong, or it would be made anew at every start.
        let first = partition.state.read().segments[0].clone();
        assert!(first.last_time(bench.host.env().disk().as_ref()).unwrap().1);
    }
}

/// A segment of which nothing is left still tells where it ends: a scan that knows of no compaction finds no gap there.
#[test]
fn a_segment_says_where_it_ends() {
    let mut bench = compacted();
    let partition = bench.open();
    for round in 0..4 {
        put(&partition, &[("a", &round.to_string()), ("b", &round.to_string())]);
        partition.roll().unwrap();
    }
    bench.config.segment_bytes = 100;
    partition.set_config(Arc::new(bench.config.clone()));
    compact(&partition);
    assert_eq!((offsets(&partition), partition.status().segments), (vec![6, 7], 5));
    partition.flush().unwrap();
    drop(partition);
    bench.config.cleanup_policy = CleanupPolicy { delete: true, compact: false };
    let (partition, report) = bench.open_with(OpenHint::default());
    assert_eq!((offsets(&partition), report.damage, partition.offsets().log_end), (vec![6, 7], vec![], 8));
}

/// A map too small for all keys makes several passes, and they come to the same.
#[test]
fn several_passes() {
    let bench = compacted();
    let partition = bench.open();
    for round in 0..60 {
        let key = format!("key-{}", round * 7 % 20);
        put(&partition, &[(&key, &round.to_string())]);
    }
    partition.roll().unwrap();
    let small = MapSize { bytes_max: 24 * 9, ..MAP };
    let mut passes = 0;
    while partition.compaction_plan().unwrap().unwrap().verdict != Verdict::NothingDirty {
        let done = partition.compact(small, &mut Unhurried).unwrap().unwrap();
        assert!(done.cleaned > done.plan.first_dirty && done.stats.keys <= 8);
        passes += 1;
    }
    assert!(passes > 2, "{passes}");
    assert_eq!(offsets(&partition), (40..60).collect::<Vec<_>>());
}

/// Records without a key, from before the topic was compacted, go; they cannot be asked for.
#[test]
fn records_without_key_go() {
    let mut bench = compacted();
    bench.config.cleanup_policy = CleanupPolicy { delete: true, compact: false };
    let partition = bench.open();
    let plain = [NewRecord { timestamp_ms: T0, key: None, value: Some(b"v"), headers: &[] }];
    partition.append_records(&plain, Compression::None).unwrap();
    put(&partition, &[("a", "1")]);
    bench.config.cleanup_policy = CleanupPolicy { delete: false, compact: true };
    partition.set_config(Arc::new(bench.config.clone()));
    let done = roll_and_compact(&partition);
    assert_eq!((offsets(&partition), done.stats.records_without_key), (vec![1], 1));
}

/// Stops after some bytes, and does something on the way.
struct Interrupted<'a>(usize, Box<dyn FnMut() + 'a>);

impl Pace for Interrupted<'_> {
    fn spend(&mut self, _bytes: usize) -> bool {
        self.0 += 1;
        (self.1)();
        true
    }
}

/// Retention, a truncation, a deletion or a stop while a pass runs: it gives up without harm, and leaves nothing behind that counts.
#[test]
fn interrupted() {
    type Deed = fn(&Partition);
    let deeds: [Deed; 4] = [
        |partition| {
            partition.delete_records_before(600).unwrap();
            partition.enforce_retention(T0).unwrap();
        },
        |partition| partition.truncate_to(900).unwrap(),
        |partition| partition.close().unwrap(),
        |partition| partition.delete().unwrap(),
    ];
    for (which, deed) in deeds.into_iter().enumerate() {
        for at in 1..=4 {
            let mut bench = compacted();
            bench.config.segment_bytes = 150_000;
            bench.config.cleanup_policy.delete = true;
            bench.config.retention_ms = None;
            let partition = bench.open();
            let long = "x".repeat(1000);
            for round in 0..1000 {
                put(&partition, &[(&format!("key-{}", round % 700), &long)]);
            }
            partition.roll().unwrap();
            let mut asked = 0;
            let mut pace = Interrupted(
                0,
                Box::new(|| {
                    asked += 1;
                    if asked == at {
                        deed(&partition);
                    }
                }),
            );
            let result = partition.compact(MAP, &mut pace);
            assert!(pace.0 >= at, "{which}: asked only {} times", pace.0);
            drop(pace);
            assert!(result.is_ok(), "{which}: {result:?}");
            assert!(!Bench::status_is_offline(&partition) && !partition.is_uncleanable());
            if which == 3 {
                continue;
            }
            drop(partition);
            let (partition, report) =
                bench.open_with(OpenHint { log_start: if which == 0 { 600 } else { 0 }, ..OpenHint::default() });
            assert_eq!(report.damage, Vec::<String>::new(), "{which} at {at}");
            let last: HashMap<String, i64> =
                contents(&partition).into_iter().map(|(offset, key, _)| (key, offset)).collect();
            let end = if which == 1 { 900 } else { 1000 };
            assert_eq!(partition.offsets().log_end, end);
            for key in 0..700 {
                let newest = if key + 700 < end { key + 700 } else { key };
                let expected = (which != 0 || newest >= 600).then_some(newest);
                assert_eq!(last.get(&format!("key-{key}")).copied(), expected, "{which} at {at}: key {key}");
            }
        }
    }
}

/// Readers and appenders beside passes without end see every key's last value at every moment, and no error.
#[test]
fn beside_traffic() {
    let bench = compacted();
    let partition = bench.open();
    let keys = 10;
    for key in 0..keys {
        put(&partition, &[(&key.to_string(), "0")]);
    }
    let written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..400 {
                put(&partition, &[(&(round % keys).to_string(), &round.to_string())]);
            }
            written.store(true, Ordering::Release);
        });
        let cleaner = scope.spawn(|| {
            let mut passes = 0;
            while !written.load(Ordering::Acquire) || passes == 0 {
                passes += usize::from(partition.compact(MAP, &mut Unhurried).unwrap().is_some());
                partition.release_idle_files();
            }
            passes
        });
        let reader = scope.spawn(|| {
            loop {
                let done = written.load(Ordering::Acquire);
                let seen: BTreeMap<String, String> =
                    contents(&partition).into_iter().map(|(_, key, value)| (key, value)).collect();
                assert_eq!(seen.len(), keys, "{seen:?}");
                partition.lookup_timestamp(T0).unwrap();
                partition.max_timestamp().unwrap();
                if done {
                    return;
                }
            }
        });
        reader.join().unwrap();
        assert!(cleaner.join().unwrap() > 0);
    });
    let last: BTreeMap<String, String> = contents(&partition).into_iter().map(|(_, key, value)| (key, value)).collect();
    for key in 0..keys {
        let newest = (0..400).rev().find(|round| round % keys == key).unwrap();
        assert_eq!(last[&key.to_string()], newest.to_string());
    }
}
