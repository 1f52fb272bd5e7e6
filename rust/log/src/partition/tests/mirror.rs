//! A list in memory and the log on disk do the same things and must agree on everything that can be seen.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::batch::Marker;

#[derive(Clone, Debug)]
enum Step {
    /// Producer (none for 0), records, codec.
    Append {
        producer: i64,
        records: usize,
        codec: usize,
    },
    /// One record in the producer's transaction, which begins with it if none is open.
    Transact {
        producer: i64,
    },
    /// Ends the producer's transaction, or writes a marker for none.
    End {
        producer: i64,
        commit: bool,
    },
    /// The producer's last batch again.
    Repeat {
        producer: i64,
    },
    Roll,
    Flush,
    Truncate {
        back: i64,
    },
    DeleteRecords {
        ahead: i64,
    },
    Retention,
    Reopen {
        clean: bool,
    },
    NewEpoch,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..3i64, 1..6usize, 0..5usize).prop_map(|(producer, records, codec)| Step::Append { producer, records, codec }),
        2 => (1..3i64).prop_map(|producer| Step::Repeat { producer }),
        4 => (10..13i64).prop_map(|producer| Step::Transact { producer }),
        2 => (10..13i64, any::<bool>()).prop_map(|(producer, commit)| Step::End { producer, commit }),
        1 => Just(Step::Roll),
        1 => Just(Step::Flush),
        1 => (0..12i64).prop_map(|back| Step::Truncate { back }),
        1 => (0..12i64).prop_map(|ahead| Step::DeleteRecords { ahead }),
        1 => Just(Step::Retention),
        1 => any::<bool>().prop_map(|clean| Step::Reopen { clean }),
        1 => Just(Step::NewEpoch),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What a batch of the model means to transactions.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Open(i64),
    End { producer: i64, commit: bool },
}

/// Producer, first offset, offset of the marker.
type Aborted = (i64, i64, i64);

/// The model: batches as (base offset, values, kind), and where each producer is.
#[derive(Default)]
struct Model {
    batches: Vec<(i64, Vec<String>, Kind)>,
    log_start: i64,
    log_end: i64,
    /// Batches of each producer still in the log, as (base offset, sequence, bytes sent).
    sent: HashMap<i64, Vec<(i64, i32, Vec<u8>)>>,
    epoch: i32,
    written: u64,
}

impl Model {
    fn records(&self) -> Vec<(i64, String)> {
        self.batches
            .iter()
            .filter(|(_, _, kind)| !matches!(kind, Kind::End { .. }))
            .flat_map(|(base, values, _)| (*base..).zip(values.iter().cloned()))
            .filter(|(offset, _)| *offset >= self.log_start)
            .collect()
    }

    /// First offsets of open transactions by producer, and the aborted ones.
    fn transactions(&self) -> (HashMap<i64, i64>, Vec<Aborted>) {
        let (mut open, mut aborted) = (HashMap::new(), Vec::new());
        for (base, _, kind) in &self.batches {
            match kind {
                Kind::Plain => {}
                Kind::Open(producer) => {
                    open.entry(*producer).or_insert(*base);
                }
                Kind::End { producer, commit } => {
                    if let (Some(first), false) = (open.remove(producer), *commit) {
                        aborted.push((*producer, first, *base));
                    }
                }
            }
        }
        (open, aborted)
    }

    fn truncate(&mut self, offset: i64) {
        let offset = offset.max(self.log_start);
        while let Some((base, values, _)) = self.batches.last() {
            let end = base + values.len() as i64;
            if end <= offset || self.log_end <= offset {
                break;
            }
            self.log_end = *base;
            self.batches.pop();
        }
        self.log_start = self.log_start.min(self.log_end);
        for sent in self.sent.values_mut() {
            sent.retain(|(base, ..)| *base < self.log_end);
        }
    }

    fn next_sequence(&self, producer: i64) -> i32 {
        let last = self.sent.get(&producer).and_then(|sent| sent.last());
        last.map_or(0, |(_, sequence, bytes)| sequence + crate::batch::BatchHeader::read(bytes).unwrap().record_count)
    }
}

fn codec(index: usize) -> Compression {
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd][index]
}

/// The offset behind the last batch that begins in the slice, whole or cut.
fn end_of(slice: &crate::partition::Slice, first_offset: i64) -> i64 {
    let mut bytes = vec![0; slice.length as usize];
    crate::env::read_exact_at(slice.file.as_ref(), &mut bytes, slice.position).unwrap();
    let (mut at, mut end) = (0, first_offset);
    while let Some(header) = bytes.get(at..).and_then(crate::batch::BatchHeader::read) {
        end = header.next_offset();
        at += header.total_bytes().unwrap() as usize;
    }
    end
}

fn run(steps: Vec<Step>) {
    let mut bench = Bench::small();
    let mut model = Model::default();
    let mut partition = bench.open();
    for step in steps {
        match step.clone() {
            Step::Append { producer: id, records, codec: index } => {
                let values: Vec<String> = (0..records).map(|at| format!("{}-{at}", model.written)).collect();
                model.written += 1;
                let words: Vec<&str> = values.iter().map(String::as_str).collect();
                let sequence = model.next_sequence(id);
                let who = if id == 0 { NOBODY } else { producer(id, 0, sequence) };
                let bytes = batch_at(who, codec(index), T0, &words);
                let appended = send(&partition, bytes.clone()).unwrap();
                assert_eq!((appended.base_offset, appended.duplicate), (model.log_end, false));
                if id != 0 {
                    model.sent.entry(id).or_default().push((model.log_end, sequence, bytes));
                }
                model.log_end += records as i64;
                model.batches.push((appended.base_offset, values, Kind::Plain));
            }
            Step::Transact { producer: id } => {
                let sequence = model.next_sequence(id);
                let guard = partition.start_verification(id, 0, sequence);
                assert_eq!(guard.is_none(), model.transactions().0.contains_key(&id), "before {step:?}");
                let mut bytes = batch(transaction(id, 0, sequence), &["in a transaction"]);
                let sent = bytes.clone();
                partition
                    .append(&mut bytes, Origin::Client, AppendOptions { guard, ..AppendOptions::default() })
                    .unwrap();
                model.sent.entry(id).or_default().push((model.log_end, sequence, sent));
                model.batches.push((model.log_end, vec!["in a transaction".to_owned()], Kind::Open(id)));
                model.log_end += 1;
            }
            Step::End { producer, commit } => {
                let marker = if commit { Marker::Commit } else { Marker::Abort };
                partition.append_marker(producer, 0, marker, 0, 0).unwrap();
                model.batches.push((model.log_end, vec![String::new()], Kind::End { producer, commit }));
                model.log_end += 1;
            }
            Step::Repeat { producer } => {
                if let Some((base, _, bytes)) = model.sent.get(&producer).and_then(|sent| sent.last().cloned()) {
                    let again = send(&partition, bytes).unwrap();
                    assert_eq!((again.base_offset, again.duplicate), (base, true));
                }
            }
            Step::Roll => partition.roll().unwrap(),
            Step::Flush => {
                partition.flush().unwrap();
                assert_eq!(partition.offsets().durable, model.log_end);
            }
            Step::Truncate { back } => {
                partition.truncate_to(model.log_end - back).unwrap();
                if back > 0 {
                    model.truncate(model.log_end - back);
                }
            }
            Step::DeleteRecords { ahead } => {
                let target = (model.log_start + ahead).min(model.log_end);
                assert_eq!(partition.delete_records_before(target).unwrap(), target);
                model.log_start = target;
            }
            Step::Retention => {
                partition.enforce_retention(T0).unwrap();
            }
            Step::Reopen { clean } => {
                if clean {
                    partition.close().unwrap();
                }
                let recovery_point = partition.offsets().durable;
                let hint = OpenHint { clean, recovery_point, log_start: model.log_start, cleaned: None };
                partition = bench.open_with(hint).0;
            }
            Step::NewEpoch => {
                model.epoch += 1;
                bench.epoch = model.epoch;
                partition.set_leader_epoch(model.epoch).unwrap();
            }
        }
        let offsets = partition.offsets();
        assert_eq!(
            (offsets.log_start, offsets.high_watermark, offsets.log_end),
            (model.log_start, model.log_end, model.log_end),
            "after {step:?}"
        );
        assert_eq!(records(&partition, ReadUpTo::HighWatermark), model.records(), "after {step:?}");
        let (open, aborted) = model.transactions();
        let stable = open.values().copied().min().unwrap_or(model.log_end).max(model.log_start);
        assert_eq!(offsets.last_stable, stable, "after {step:?}");
        for from in [model.log_start, (model.log_start + stable) / 2] {
            let read = partition.read(from, 300, ReadUpTo::LastStable, true).unwrap();
            let Some(slice) = read.slice else { continue };
            let named: Vec<(i64, i64)> =
                read.aborted.iter().map(|found| (found.producer_id, found.first_offset)).collect();
            let past: Vec<(i64, i64)> =
                aborted.iter().filter(|(_, _, last)| *last >= from).map(|(id, first, _)| (*id, *first)).collect();
            // It may name more than lies in the slice, but nothing that is not there, and all that is.
            assert!(named.iter().all(|found| past.contains(found)), "{named:?} of {past:?} from {from} after {step:?}");
            let slice_end = end_of(&slice, read.first_offset);
            let needed = past.iter().filter(|(_, first)| *first < slice_end);
            assert!(
                needed.clone().all(|found| named.contains(found)),
                "{named:?} of {past:?} from {from} after {step:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any run of operations leaves the same records, offsets and duplicates in both.
    #[test]
    fn same_as_a_list(steps in steps()) {
        run(steps);
    }
}
