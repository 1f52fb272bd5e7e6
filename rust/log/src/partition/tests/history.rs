//! Any history at all, compacted at any time, against a plain model.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;

use super::compact::{MAP, committed, compact, compacted, keyed, put};
use super::*;
use crate::batch::Marker;
use crate::compaction::Unhurried;
use crate::partition::MapSize;

/// Where the newest batches lie is remembered for readers at the tail; what compaction moved is looked up again.
#[test]
fn what_was_moved_is_looked_up_again() {
    let bench = compacted();
    let partition = bench.open();
    put(&partition, &[("a", "1")]);
    put(&partition, &[("b", "2")]);
    put(&partition, &[("a", "3")]);
    partition.roll().unwrap();
    compact(&partition);
    let read = partition.read(1, 1000, ReadUpTo::LogEnd, true).unwrap();
    assert_eq!((read.first_offset, read.slice.unwrap().position), (1, 0));
}

#[derive(Clone, Debug)]
enum Deed {
    Put { producer: u8, compression: u8, records: Vec<(u8, bool)> },
    End { producer: u8, commit: bool },
    Roll,
    Turn(u16),
    Compact { keys: u8 },
    Reopen { clean: bool },
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let put = (0u8..4, 0u8..5, proptest::collection::vec((0u8..8, any::<bool>()), 1..5));
    proptest::collection::vec(
        prop_oneof![
            8 => put.prop_map(|(producer, compression, records)| Deed::Put { producer, compression, records }),
            2 => (1u8..3, any::<bool>()).prop_map(|(producer, commit)| Deed::End { producer, commit }),
            2 => Just(Deed::Roll),
            1 => (0u16..8000).prop_map(Deed::Turn),
            2 => (1u8..12).prop_map(|keys| Deed::Compact { keys }),
            1 => any::<bool>().prop_map(|clean| Deed::Reopen { clean }),
        ],
        1..60,
    )
}

/// Offset, key, value (None: a tombstone), transaction by number, if any.
type Entry = (i64, String, Option<String>, Option<usize>);

/// A plain history beside the partition.
#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    /// Some(true): committed.
    ended: Vec<Option<bool>>,
    open: HashMap<u8, usize>,
    sequences: HashMap<u8, i32>,
}

impl Model {
    fn is_committed(&self, entry: &Entry) -> bool {
        entry.3.is_none_or(|transaction| self.ended[transaction] == Some(true))
    }

    /// The last committed record of each key that is stable, by key.
    fn last(&self, stable: i64) -> BTreeMap<&str, &Entry> {
        let mut last = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.0 < stable && self.is_committed(entry)) {
            last.insert(entry.1.as_str(), entry);
        }
        last
    }
}

fn check(partition: &Partition, model: &Model) {
    let stable = partition.offsets().last_stable;
    let found = committed(partition);
    let by_offset: HashMap<i64, &Entry> = model.entries.iter().map(|entry| (entry.0, entry)).collect();
    for pair in found.windows(2) {
        assert!(pair[0].0 < pair[1].0, "order: {pair:?}");
    }
    for (offset, key, value) in &found {
        let entry = by_offset.get(offset).unwrap_or_else(|| panic!("offset {offset} was never written"));
        assert_eq!((key, value), (&entry.1, &entry.2.clone().unwrap_or_default()), "at {offset}");
        assert!(model.is_committed(entry), "offset {offset} was aborted");
    }
    let seen: HashMap<&str, i64> = found.iter().map(|(offset, key, _)| (key.as_str(), *offset)).collect();
    for (key, entry) in model.last(stable) {
        match (&entry.2, seen.get(key)) {
            (_, Some(offset)) => assert_eq!(*offset, entry.0, "last of {key}"),
            // A tombstone may have gone, with all it deleted.
            (None, None) => {}
            (Some(_), None) => panic!("the last record of {key}, at {}, is gone", entry.0),
        }
    }
}

fn run(deeds: Vec<Deed>) {
    let mut bench = compacted();
    bench.config.delete_retention_ms = 3000;
    let mut partition = bench.open();
    let mut model = Model::default();
    for (step, deed) in deeds.into_iter().enumerate() {
        match deed {
            Deed::Put { producer: number, compression, records } => {
                let compression = Compression::from_bits(i16::from(compression)).unwrap();
                let texts: Vec<(String, String)> = records
                    .iter()
                    .map(|(key, live)| (format!("k{key}"), if *live { format!("{step}") } else { String::new() }))
                    .collect();
                let pairs: Vec<(&str, &str)> =
                    texts.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                let sequence = model.sequences.entry(number).or_insert(0);
                let mut who = match number {
                    0 => NOBODY,
                    3 => producer(3, 0, *sequence),
                    _ => transaction(i64::from(number), 0, *sequence),
                };
                if number == 0 {
                    who.sequence = -1;
                }
                let guard = who.transactional.then(|| partition.start_verification(who.id, 0, who.sequence)).flatten();
                let options = AppendOptions { guard, ..AppendOptions::default() };
                let mut batch = keyed(who, compression, bench.clock_ms(), &pairs);
                let appended = partition.append(&mut batch, Origin::Client, options).unwrap();
                assert!(!appended.duplicate);
                *sequence += records.len() as i32;
                let transaction = who.transactional.then(|| {
                    *model.open.entry(number).or_insert_with(|| {
                        model.ended.push(None);
                        model.ended.len() - 1
                    })
                });
                for (offset, (key, value)) in (appended.base_offset..).zip(texts) {
                    model.entries.push((offset, key, (!value.is_empty()).then_some(value), transaction));
                }
            }
            Deed::End { producer, commit } => {
                let marker = if commit { Marker::Commit } else { Marker::Abort };
                partition.append_marker(i64::from(producer), 0, marker, 0, 0).unwrap();
                if let Some(transaction) = model.open.remove(&producer) {
                    model.ended[transaction] = Some(commit);
                }
            }
            Deed::Roll => partition.roll().unwrap(),
            Deed::Turn(by_ms) => bench.clock.turn(i64::from(by_ms)),
            Deed::Compact { keys } => {
                let size = MapSize { bytes_max: 24 * (u64::from(keys) + 1), ..MAP };
                partition.compact(size, &mut Unhurried).unwrap();
            }
            Deed::Reopen { clean } => {
                let mut hint = OpenHint { cleaned: Some(partition.offsets().log_start), ..OpenHint::default() };
                if clean {
                    partition.close().unwrap();
                    hint.clean = true;
                } else {
                    partition.flush().unwrap();
                }
                drop(partition);
                let (opened, report) = bench.open_with(hint);
                assert_eq!(report.damage, Vec::<String>::new());
                partition = opened;
            }
        }
        check(&partition, &model);
    }
    // However it went, in the end one record per key is left, and nothing that is aborted.
    for (number, transaction) in std::mem::take(&mut model.open) {
        partition.append_marker(i64::from(number), 0, Marker::Abort, 0, 0).unwrap();
        model.ended[transaction] = Some(false);
    }
    partition.roll().unwrap();
    while partition.compact(MAP, &mut Unhurried).unwrap().is_some() {}
    check(&partition, &model);
    let mut keys = HashSet::new();
    for (_, key, _) in &committed(&partition) {
        assert!(keys.insert(key.clone()), "two records of {key} are left");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any history of producers, transactions and tombstones, compacted at any time with any amount of memory, by any number of passes:
    /// readers find of each key the last committed record, in order, at its offset.
    #[test]
    fn any_history(deeds in deeds()) {
        run(deeds);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    #[ignore = "long: the same, for as long as it takes"]
    fn any_history_for_long(deeds in deeds()) {
        run(deeds);
    }
}

impl Bench {
    fn clock_ms(&self) -> i64 {
        self.host.env().clock().now_ms()
    }
}
