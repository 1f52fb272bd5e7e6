//! A topic that is deleted, and made again, while a pass of compaction goes over it.

use std::io::IoSlice;

use super::compact::{MAP, compacted, put};
use super::*;
use crate::compaction::Pace;
use crate::env::{OpenMode, read_file};

/// Deletes the partition after some steps of a pass; another of its name is made, and is being compacted itself.
struct Deleting<'a> {
    bench: &'a Bench,
    partition: Arc<Partition>,
    steps_left: usize,
    successor: Option<Arc<Partition>>,
}

impl Deleting<'_> {
    fn cleaned(&self) -> PathBuf {
        crate::segment::names::file(&self.bench.path(), 0, "log.cleaned")
    }
}

impl Pace for Deleting<'_> {
    fn spend(&mut self, _bytes: usize) -> bool {
        if self.steps_left == 0 && self.successor.is_none() {
            self.partition.delete().unwrap();
            let successor = self.bench.open_as([8; 16]).unwrap();
            put(&successor, &[("a", "1")]);
            let file = self.bench.host.env().disk().open(&self.cleaned(), OpenMode::Create).unwrap();
            file.write_at(&mut [IoSlice::new(b"the successor's")], 0).unwrap();
            self.successor = Some(successor);
        }
        self.steps_left = self.steps_left.saturating_sub(1);
        true
    }
}

/// A pass over a partition that is deleted meanwhile touches nothing of the one that has its name, and its place, by now.
#[test]
fn deleted_and_made_again_during_a_pass() {
    for steps in 0..8 {
        let mut bench = compacted();
        bench.config.segment_bytes = 1 << 20;
        let partition = bench.open();
        // Each more than is read between two looks at the pace.
        let value = "v".repeat(300 << 10);
        for key in ["a", "b", "a", "b"] {
            put(&partition, &[(key, &value)]);
        }
        partition.roll().unwrap();
        let mut pace = Deleting { bench: &bench, partition: partition.clone(), steps_left: steps, successor: None };
        let done = partition.compact(MAP, &mut pace).unwrap();
        let found = read_file(bench.host.env().disk().as_ref(), &pace.cleaned(), 100);
        match pace.successor {
            Some(_) => assert_eq!((done, found.unwrap().as_slice()), (None, &b"the successor's"[..]), "{steps} steps"),
            None => assert!(steps == 7 && done.is_some(), "{steps} steps"),
        }
    }
}
