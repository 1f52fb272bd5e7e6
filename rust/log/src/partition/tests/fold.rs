//! The fold of a coordinator's topic against the same log replayed record by record.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::compact::{MAP, compacted};
use super::*;
use crate::batch::Marker;
use crate::compaction::Unhurried;
use crate::error::code;
use crate::partition::ProducerStatus;

type Written = (i64, String);

/// What a coordinator would know: of each key its value, and what open transactions have for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    values: BTreeMap<String, Written>,
    waiting: BTreeMap<i64, BTreeMap<String, Written>>,
}

impl Known {
    fn record(&mut self, offset: i64, producer: i64, key: &str, value: Option<&str>) {
        match value {
            None => {
                self.values.remove(key);
                self.waiting.values_mut().for_each(|waiting| drop(waiting.remove(key)));
            }
            Some(value) => {
                let values = if producer < 0 { &mut self.values } else { self.waiting.entry(producer).or_default() };
                values.insert(key.to_owned(), (offset, value.to_owned()));
            }
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
    }

    fn end(&mut self, producer: i64, commit: bool) {
        for (key, written) in self.waiting.remove(&producer).unwrap_or_default() {
            if commit && self.values.get(&key).is_none_or(|held| held.0 < written.0) {
                self.values.insert(key, written);
            }
        }
    }

    fn of(partition: &Partition) -> Known {
        let folded = partition.fold(1000).unwrap();
        let mut known = Known::default();
        let mut last = -1;
        for record in &folded.records {
            assert!(record.offset > last, "{} after {last}", record.offset);
            last = record.offset;
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            known.record(record.offset, record.producer_id, &text(&record.key), Some(&text(&record.value)));
            assert_eq!(record.producer_epoch, if record.producer_id < 0 { -1 } else { 7 });
        }
        assert_eq!(folded.end_offset, partition.offsets().high_watermark);
        known
    }
}

/// Appends as a coordinator does, for a producer in epoch 7 or for none (-1).
fn write(partition: &Partition, producer: i64, records: &[(String, Option<String>)]) -> Result<Appended, AppendError> {
    let records: Vec<NewRecord<'_>> = records
        .iter()
        .map(|(key, value)| NewRecord {
            timestamp_ms: T0,
            key: Some(key.as_bytes()),
            value: value.as_deref().map(str::as_bytes),
            headers: &[],
        })
        .collect();
    if producer < 0 {
        return partition.append_records(&records, Compression::None);
    }
    let guard = partition.start_verification(producer, 7, -1);
    partition.append_in_transaction(&records, producer, 7, guard)
}

fn record(key: &str, value: &str) -> (String, Option<String>) {
    (key.to_owned(), (!value.is_empty()).then(|| value.to_owned()))
}

#[derive(Clone, Debug)]
enum Deed {
    Write { producer: i64, records: Vec<(u8, bool)> },
    End { producer: i64, commit: bool },
    Roll,
    Compact,
    Reopen,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let write = (-1_i64..3, proptest::collection::vec((0_u8..6, proptest::bool::weighted(0.8)), 1..5));
    proptest::collection::vec(
        prop_oneof![
            8 => write.prop_map(|(producer, records)| Deed::Write { producer, records }),
            3 => (0_i64..3, any::<bool>()).prop_map(|(producer, commit)| Deed::End { producer, commit }),
            1 => Just(Deed::Roll),
            1 => Just(Deed::Compact),
            1 => Just(Deed::Reopen),
        ],
        1..60,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any history of commits, transactions and tombstones, compacted at any time: folded it says what it says record by record.
    #[test]
    fn any_history(deeds in deeds()) {
        let bench = compacted();
        let mut partition = bench.open();
        let mut known = Known::default();
        for (step, deed) in deeds.into_iter().enumerate() {
            match deed {
                Deed::Write { producer, records } => {
                    // Nothing is deleted in a transaction.
                    let value = |live| (live || producer >= 0).then(|| format!("{step}"));
                    let records: Vec<_> =
                        records.into_iter().map(|(key, live)| (format!("k{key}"), value(live))).collect();
                    let appended = write(&partition, producer, &records).unwrap();
                    for (offset, (key, value)) in (appended.base_offset..).zip(&records) {
                        known.record(offset, producer, key, value.as_deref());
                    }
                }
                Deed::End { producer, commit } => {
                    let marker = if commit { Marker::Commit } else { Marker::Abort };
                    partition.append_marker(producer, 7, marker, 0, 0).unwrap();
                    known.end(producer, commit);
                }
                Deed::Roll => partition.roll().unwrap(),
                Deed::Compact => drop(partition.compact(MAP, &mut Unhurried).unwrap()),
                Deed::Reopen => {
                    partition.close().unwrap();
                    drop(partition);
                    partition = bench.open_with(Bench::clean()).0;
                }
            }
            prop_assert_eq!(&Known::of(&partition), &known, "after step {}", step);
        }
    }
}

/// A commit of a transaction that ends later does not take the place of a plain one written after it.
#[test]
fn the_higher_offset_counts() {
    let bench = compacted();
    let partition = bench.open();
    write(&partition, 1, &[record("a", "in the transaction"), record("b", "in the transaction")]).unwrap();
    write(&partition, -1, &[record("a", "plain")]).unwrap();
    partition.append_marker(1, 7, Marker::Commit, 0, 0).unwrap();
    let values = Known::of(&partition).values;
    assert_eq!(values["a"], (2, "plain".to_owned()));
    assert_eq!(values["b"], (1, "in the transaction".to_owned()));
}

/// Only committed records count, and those without a key for nothing.
#[test]
fn what_is_left_out() {
    let mut bench = Bench::new();
    bench.config.durability = Durability::Fsync;
    let partition = bench.open();
    let no_key = NewRecord { timestamp_ms: T0, key: None, value: Some(b"1"), headers: &[] };
    partition.append_records(&[no_key], Compression::None).unwrap();
    write(&partition, -1, &[record("a", "1"), record("a", "2")]).unwrap();
    partition.flush().unwrap();
    let folded = partition.fold(1000).unwrap();
    assert_eq!((folded.records.len(), folded.records_read, folded.without_key), (1, 3, 1));
    assert_eq!((folded.records[0].offset, folded.end_offset), (2, 3));
}

/// Offsets are committed in a transaction only after its coordinator was asked, once per transaction; an older epoch never.
#[test]
fn verified() {
    let bench = compacted();
    let partition = bench.open();
    let records = [NewRecord { timestamp_ms: T0, key: Some(b"k"), value: Some(b"v"), headers: &[] }];
    let append = |epoch, guard| {
        partition.append_in_transaction(&records, 1, epoch, guard).map_or_else(|error| error.code(), |_| 0)
    };
    assert_eq!(append(7, None), code::INVALID_TXN_STATE);
    let guard = partition.start_verification(1, 7, -1);
    assert_eq!(append(7, guard), 0);
    assert_eq!(append(7, None), 0);
    assert_eq!(partition.offsets().last_stable, 0);
    partition.append_marker(1, 7, Marker::Commit, 3, 0).unwrap();
    assert_eq!(append(7, guard), code::INVALID_TXN_STATE, "it was asked for the last one");
    assert_eq!(partition.start_verification(1, 6, -1), None);
    assert_eq!(append(6, None), code::INVALID_PRODUCER_EPOCH);
    let next = partition.start_verification(1, 7, -1);
    assert_eq!(append(7, next), 0);
    let described = ProducerStatus {
        producer_id: 1,
        epoch: 7,
        last_sequence: -1,
        last_timestamp_ms: T0,
        coordinator_epoch: 3,
        transaction_start: Some(3),
    };
    assert_eq!(partition.producers(), [described]);
}
