//! Who watches a partition is told before files go, so that readers of the files by name can be told in time.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::compact::{compact, compacted, put};
use super::*;
use crate::partition::PartitionObserver;
use crate::segment::names;
use crate::{Offset, Offsets};

/// What was told, with the segments whose files had their names just then.
struct Told {
    host: Arc<Host>,
    path: PathBuf,
    heard: Mutex<Vec<(String, Vec<Offset>)>>,
}

impl Told {
    fn watch(bench: &Bench, partition: &Partition) -> Arc<Told> {
        let told = Arc::new(Told { host: bench.host.clone(), path: bench.path(), heard: Mutex::default() });
        partition.set_observer(told.clone());
        told
    }

    fn named(&self) -> Vec<Offset> {
        let entries = self.host.env().disk().list(&self.path).unwrap();
        entries.iter().filter_map(|entry| names::offset_of(&entry.name, names::LOG)).collect()
    }

    fn note(&self, what: String) {
        let named = self.named();
        self.heard.lock().push((what, named));
    }
}

impl PartitionObserver for Told {
    fn readable_advanced(&self, _partition: &Arc<Partition>, _offsets: Offsets) {}
    fn went_offline(&self, _partition: &Arc<Partition>, _reason: &StorageError) {}

    fn start_moves(&self, log_start: Offset) {
        self.note(format!("start {log_start}"));
    }

    fn rewriting(&self, until: Offset) {
        self.note(format!("rewriting {until}"));
    }

    fn rewritten(&self) {
        self.note("rewritten".to_owned());
    }
}

/// Retention says where the log begins while all files are there.
#[test]
fn before_segments_are_deleted() {
    let mut bench = Bench::small();
    bench.config.retention_bytes = Some(0);
    let partition = bench.open();
    for _ in 0..40 {
        send_values(&partition, &["v"]);
    }
    let told = Told::watch(&bench, &partition);
    let before = told.named();
    assert!(partition.enforce_retention(T0).unwrap() >= 2);
    let start = partition.offsets().log_start;
    // All is old: the log goes on in a segment of its own.
    let named: Vec<Offset> = before.into_iter().chain([start]).collect();
    assert_eq!(told.heard.lock()[0], (format!("start {start}"), named));
    assert_eq!(told.named().first(), Some(&start));
}

/// Compaction says up to where before the first file of the old ones goes, and when the last of the new ones is there.
#[test]
fn before_segments_are_replaced() {
    let bench = compacted();
    let partition = bench.open();
    for number in 0..40 {
        put(&partition, &[("k", "old"), (["a", "b", "c"][number % 3], "v")]);
    }
    partition.roll().unwrap();
    let told = Told::watch(&bench, &partition);
    let before = told.named();
    compact(&partition);
    let heard = told.heard.lock().clone();
    let active = *before.last().unwrap();
    let (first, last) = (&heard[0], heard.last().unwrap());
    assert_eq!(first.1, before, "{heard:?}");
    assert!(first.0.starts_with("rewriting "), "{heard:?}");
    assert_eq!((last.0.as_str(), &last.1), ("rewritten", &told.named()), "{heard:?}");
    assert!(heard.iter().any(|(what, _)| *what == format!("rewriting {active}")), "{heard:?}");
}
