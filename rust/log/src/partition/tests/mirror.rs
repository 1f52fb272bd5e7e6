//! A list in memory and the log on disk do the same things and must agree on everything that can be seen.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::compact::MAP;
use super::*;
use crate::CleanupPolicy;
use crate::batch::Marker;
use crate::compaction::Unhurried;
use crate::partition::MapSize;
use crate::partition::state::Mark;

#[derive(Clone, Debug)]
enum Step {
    /// Producer (none for 0), records, codec, and how much later than [`T0`] the first record is.
    Append {
        producer: i64,
        records: usize,
        codec: usize,
        later_ms: i64,
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
    /// With this many bytes to keep.
    Retention {
        bytes: Option<u64>,
    },
    Reopen {
        clean: bool,
    },
    /// The process dies, and so much is missing at the end of what was not synced.
    Crash {
        torn: u64,
    },
    /// A read of so many bytes from an offset so far behind the log start, taken up again until the end.
    Read {
        ahead: i64,
        bytes: u32,
    },
    NewEpoch,
    /// By so many keys at once.
    Compact {
        keys: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..3i64, 1..6usize, 0..5usize, -50..50i64).prop_map(|(producer, records, codec, later_ms)| Step::Append { producer, records, codec, later_ms }),
        2 => (1..3i64).prop_map(|producer| Step::Repeat { producer }),
        4 => (10..13i64).prop_map(|producer| Step::Transact { producer }),
        2 => (10..13i64, any::<bool>()).prop_map(|(producer, commit)| Step::End { producer, commit }),
        1 => Just(Step::Roll),
        1 => Just(Step::Flush),
        1 => (0..12i64).prop_map(|back| Step::Truncate { back }),
        1 => (0..12i64).prop_map(|ahead| Step::DeleteRecords { ahead }),
        1 => proptest::option::of(500..4000u64).prop_map(|bytes| Step::Retention { bytes }),
        1 => any::<bool>().prop_map(|clean| Step::Reopen { clean }),
        1 => (0..400u64).prop_map(|torn| Step::Crash { torn }),
        1 => (0..12i64, 1..1000u32).prop_map(|(ahead, bytes)| Step::Read { ahead, bytes }),
        1 => Just(Step::NewEpoch),
        2 => (1..10u64).prop_map(|keys| Step::Compact { keys }),
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

/// One of a few, so that compaction has something to take.
fn key_of(value: &str) -> &'static str {
    ["a", "b", "c", "d", "e"][value.bytes().map(usize::from).sum::<usize>() % 5]
}

fn keyed_batch(who: Who, compression: Compression, timestamp_ms: i64, values: &[&str]) -> Vec<u8> {
    let records: Vec<(&str, &str)> = values.iter().map(|value| (key_of(value), *value)).collect();
    super::compact::keyed(who, compression, timestamp_ms, &records)
}

/// The model: batches as (base offset, values, kind), and where each producer is.
#[derive(Default)]
struct Model {
    /// Offsets that compaction took.
    gone: BTreeSet<i64>,
    /// What was there at the last pass stays: what is compacted was committed, and that is not truncated.
    committed: i64,
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
            .filter(|(offset, _)| *offset >= self.log_start && !self.gone.contains(offset))
            .collect()
    }

    /// A pass got up to `cleaned`; segments that begin at or behind `until` were not touched.
    fn compact(&mut self, cleaned: i64, until: i64) {
        let (_, aborted) = self.transactions();
        let is_aborted = |base: i64, kind: &Kind| matches!(kind, Kind::Open(id) if aborted.iter().any(|(of, first, marker)| of == id && (*first..*marker).contains(&base)));
        let mut last = HashMap::new();
        let mut gone = BTreeSet::new();
        for (base, values, kind) in self.batches.iter().filter(|(_, _, kind)| !matches!(kind, Kind::End { .. })) {
            for (offset, value) in (*base..).zip(values) {
                if is_aborted(*base, kind) {
                    if offset < until {
                        gone.insert(offset);
                    }
                } else if offset < cleaned
                    && let Some(older) = last.insert(key_of(value), offset)
                {
                    gone.insert(older);
                }
            }
        }
        self.gone.extend(gone);
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
        for sent in self.sent.values_mut() {
            sent.retain(|(base, ..)| *base < self.log_end);
        }
        if self.log_end < self.log_start {
            self.clear();
        }
    }

    /// Nothing is left but where it starts: what was cut reached past the log start.
    fn clear(&mut self) {
        self.batches.clear();
        self.sent.clear();
        self.log_end = self.log_start;
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

/// Where the log lies: in memory, or on the machine's disk.
struct Place {
    bench: Bench,
    path: PathBuf,
    _scratch: Option<tempfile::TempDir>,
}

impl Place {
    fn in_memory() -> Place {
        let bench = Bench::small();
        Place { path: bench.path(), bench, _scratch: None }
    }

    fn on_disk() -> Place {
        let scratch = tempfile::tempdir().unwrap();
        let mut bench = Bench::small();
        bench.host = Host::new(Env::new(Arc::new(crate::env::disk::RealDisk::default()), bench.clock.clone()), 0);
        Place { path: scratch.path().join("t-0"), bench, _scratch: Some(scratch) }
    }

    fn open(&self, hint: OpenHint) -> Arc<Partition> {
        let identity = Identity { topic: "t".into(), topic_id: [7; 16], partition: 0 };
        let config = Arc::new(self.bench.config.clone());
        Partition::open(&self.bench.host, self.path.clone(), identity, config, self.bench.epoch, hint).unwrap().0
    }

    /// Cuts up to `torn` bytes off the log, but none of what was synced.
    fn tear(&self, synced: Mark, torn: u64) {
        let disk = self.bench.host.env().disk();
        let entries = disk.list(&self.path).unwrap_or_default();
        let Some(last) = entries.iter().rfind(|entry| entry.name.ends_with(".log")) else { return };
        let base: i64 = last.name[..20].parse().unwrap();
        let keep = if base == synced.segment { u64::from(synced.position) } else { 0 };
        if base >= synced.segment {
            let file = disk.open(&self.path.join(&last.name), crate::env::OpenMode::Write).unwrap();
            file.set_len(last.length.saturating_sub(torn).max(keep)).unwrap();
        }
    }
}

/// A look-up by time finds what a walk through all records does.
fn same_by_time(partition: &Partition, step: &Step) {
    let mut times = Vec::new();
    let (mut at, offsets) = (partition.offsets().log_start, partition.offsets());
    while at < offsets.log_end {
        let note = |record: &crate::batch::records::RecordRef<'_>| times.push((record.timestamp_ms, record.offset));
        at = partition.for_each_record(at, u32::MAX, ReadUpTo::LogEnd, note).unwrap();
    }
    for target in (-52..60).step_by(7).map(|later_ms| T0 + later_ms).chain([0, i64::MAX]) {
        let expected = times.iter().find(|(timestamp_ms, _)| *timestamp_ms >= target).copied();
        let found = partition.lookup_timestamp(target).unwrap().map(|found| (found.timestamp_ms, found.offset));
        assert_eq!(found, expected, "{target} after {step:?}");
    }
    let greatest_ms = times.iter().map(|(timestamp_ms, _)| *timestamp_ms).max();
    let found = partition.max_timestamp().unwrap().map(|found| (found.timestamp_ms, found.offset));
    match found {
        // Below the log start, as in Kafka.
        Some((timestamp_ms, offset)) if offset < offsets.log_start => assert!(Some(timestamp_ms) >= greatest_ms),
        found => {
            let expected = times.iter().find(|(timestamp_ms, _)| Some(*timestamp_ms) == greatest_ms).copied();
            assert_eq!(found, expected, "after {step:?}");
        }
    }
}

fn run(steps: Vec<Step>, mut place: Place) {
    place.bench.config.cleanup_policy = CleanupPolicy { delete: true, compact: true };
    let mut model = Model::default();
    // What the cleaner's checkpoint would say.
    let mut cleaned = None;
    let mut partition = place.open(OpenHint::default());
    for step in steps {
        match step.clone() {
            Step::Append { producer: id, records, codec: index, later_ms } => {
                let values: Vec<String> = (0..records).map(|at| format!("{}-{at}", model.written)).collect();
                model.written += 1;
                let words: Vec<&str> = values.iter().map(String::as_str).collect();
                let sequence = model.next_sequence(id);
                let who = if id == 0 { NOBODY } else { producer(id, 0, sequence) };
                let bytes = keyed_batch(who, codec(index), T0 + later_ms, &words);
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
                let value = format!("transaction-{}", model.written);
                model.written += 1;
                let mut bytes = keyed_batch(transaction(id, 0, sequence), Compression::None, T0, &[value.as_str()]);
                let sent = bytes.clone();
                partition
                    .append(&mut bytes, Origin::Client, AppendOptions { guard, ..AppendOptions::default() })
                    .unwrap();
                model.sent.entry(id).or_default().push((model.log_end, sequence, sent));
                model.batches.push((model.log_end, vec![value], Kind::Open(id)));
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
                let target = (model.log_end - back).max(model.committed);
                partition.truncate_to(target).unwrap();
                if target < model.log_end {
                    model.truncate(target);
                }
            }
            Step::DeleteRecords { ahead } => {
                let target = (model.log_start + ahead).min(model.log_end);
                assert_eq!(partition.delete_records_before(target).unwrap(), target);
                model.log_start = target;
            }
            Step::Retention { bytes } => {
                partition
                    .set_config(Arc::new(PartitionConfig { retention_bytes: bytes, ..place.bench.config.clone() }));
                partition.enforce_retention(T0).unwrap();
                let start = partition.offsets().log_start;
                let is_whole = start == model.log_end || model.batches.iter().any(|(base, ..)| *base == start);
                assert!(start == model.log_start || (start > model.log_start && is_whole), "{start} after {step:?}");
                assert!(start == model.log_start || bytes.is_some(), "{start} after {step:?}");
                model.log_start = start;
                let status = partition.status();
                assert!(bytes.is_none_or(|bytes| status.bytes < bytes + 1000), "{status:?} after {step:?}");
            }
            Step::Reopen { clean } => {
                if clean {
                    partition.close().unwrap();
                }
                let recovery_point = partition.offsets().durable;
                let hint = OpenHint { clean, recovery_point, log_start: model.log_start, cleaned };
                partition = place.open(hint);
            }
            Step::Crash { torn } => {
                let offsets = partition.offsets();
                place.tear(partition.state.read().durable, torn);
                let (recovery_point, log_start) = (offsets.durable, model.log_start);
                let hint = OpenHint { recovery_point, log_start, cleaned, ..OpenHint::default() };
                partition = place.open(hint);
                let found = partition.offsets();
                assert!((offsets.durable..=model.log_end).contains(&found.log_end), "{found:?} after {step:?}");
                model.truncate(found.log_end);
                if partition.status().segments == 0 {
                    model.log_start = found.log_start;
                    model.clear();
                }
                assert_eq!((model.log_start, model.log_end), (found.log_start, found.log_end), "after {step:?}");
            }
            Step::Read { ahead, bytes } => {
                let from = (model.log_start + ahead).min(model.log_end);
                let mut at = from;
                let mut found = Vec::new();
                while at < model.log_end {
                    let note = |record: &crate::batch::records::RecordRef<'_>| {
                        if !record.is_control {
                            found.push(record.offset);
                        }
                    };
                    at = partition.for_each_record(at, bytes, ReadUpTo::LogEnd, note).unwrap();
                }
                let expected = model.records().into_iter().map(|(offset, _)| offset).filter(|offset| *offset >= from);
                assert_eq!(found, expected.collect::<Vec<_>>(), "after {step:?}");
            }
            Step::Compact { keys } => {
                let size = MapSize { bytes_max: 24 * (keys + 1), ..MAP };
                let committed = partition.offsets().high_watermark;
                if let Some(done) = partition.compact(size, &mut Unhurried).unwrap() {
                    model.committed = committed;
                    // The segments it touched are one or more whole ones.
                    let segments = partition.state.read().segments.to_vec();
                    let touched =
                        segments.iter().map(|segment| segment.base_offset()).find(|base| *base >= done.cleaned);
                    model.compact(done.cleaned, touched.unwrap_or(done.plan.until).min(done.plan.until));
                    cleaned = Some(done.cleaned);
                }
            }
            Step::NewEpoch => {
                model.epoch += 1;
                place.bench.epoch = model.epoch;
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
        same_by_time(&partition, &step);
        let (open, aborted) = model.transactions();
        let stable = open.values().copied().min().unwrap_or(model.log_end).max(model.log_start);
        assert_eq!(offsets.last_stable, stable, "after {step:?}");
        for from in [model.log_start, (model.log_start + stable) / 2] {
            let read = partition.read(from, 300, ReadUpTo::LastStable, true).unwrap();
            let Some(slice) = read.slice else { continue };
            let named: Vec<(i64, i64)> =
                read.aborted.iter().map(|found| (found.producer_id, found.first_offset)).collect();
            // It may name more than lies in the slice, but nothing that was not aborted, and all of which something is left. Where
            // compaction took the first batches it may be said to begin later.
            let is_right = |(id, at): &(i64, i64)| {
                aborted.iter().any(|(of, first, marker)| of == id && (first..marker).contains(&at) && *marker >= from)
            };
            assert!(named.iter().all(is_right), "{named:?} of {aborted:?} from {from} after {step:?}");
            let slice_end = end_of(&slice, read.first_offset);
            let left: Vec<i64> = model.records().into_iter().map(|(offset, _)| offset).collect();
            for (id, first, marker) in &aborted {
                let of_it = |base: i64, kind: &Kind| *kind == Kind::Open(*id) && (*first..*marker).contains(&base);
                let bases = model.batches.iter().filter(|(base, _, kind)| of_it(*base, kind)).map(|(base, ..)| *base);
                let Some(seen) = bases.clone().find(|base| (from..slice_end).contains(base) && left.contains(base))
                else {
                    continue;
                };
                let is_named = named.iter().any(|(of, at)| of == id && (*first..=seen).contains(at));
                assert!(is_named, "{id} from {first} on is not in {named:?} from {from} after {step:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any run of operations leaves the same records, offsets and duplicates in both.
    #[test]
    fn same_as_a_list(steps in steps()) {
        run(steps, Place::in_memory());
    }
}

proptest! {
    // Each case waits for the disk.
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// The same on the machine's disk.
    #[test]
    fn same_as_a_list_on_disk(steps in steps()) {
        run(steps, Place::on_disk());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// The same, for longer.
    #[test]
    #[ignore = "long: twenty thousand histories"]
    fn same_as_a_list_many_times(steps in steps()) {
        run(steps, Place::in_memory());
    }
}
