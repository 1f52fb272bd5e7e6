//! What a pass of compaction may take, and what it must have taken once it got to its end.

use std::collections::BTreeMap;

use ottla_log::Offset;

use super::{Aborted, Batch, Fate, Kind, Model};

/// A pass: what it goes by.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Clean up to here after it.
    pub cleaned: Offset,
    /// No segment that begins at or behind it is touched.
    pub until: Offset,
    pub now_ms: i64,
    pub delete_retention_ms: i64,
}

impl Pass {
    fn horizon_ms(&self) -> i64 {
        self.now_ms + self.delete_retention_ms
    }
}

impl Model {
    /// A pass begins that may be cut anywhere: what it would take may be gone.
    pub fn begin_compaction(&mut self, pass: &Pass) {
        self.compact(pass, Fate::MayBeGone);
    }

    /// A pass got to its end: what it takes is gone for ever.
    pub fn end_compaction(&mut self, pass: &Pass) {
        self.compact(pass, Fate::Gone);
    }

    fn compact(&mut self, pass: &Pass, fate: Fate) {
        let (_, aborted) = self.transactions();
        let unneeded = self.unneeded_markers(pass.until);
        let last = self.last_committed(pass.cleaned, &aborted);
        // Of a transaction whose begin was deleted the engine may not know that it was aborted.
        let start = self.start_max;
        for batch in &mut self.batches {
            if batch.base >= pass.until {
                break;
            }
            if batch.is_marker() {
                if unneeded.contains(&batch.base) {
                    go_when_due(batch, pass);
                }
                continue;
            }
            let of = aborted.iter().find(|one| one.has(batch));
            let is_surely_known = of.is_none_or(|one| one.first >= start);
            let is_clean = batch.base < pass.cleaned;
            let mut tombstones = false;
            for (offset, record) in (batch.base..).zip(&mut batch.records) {
                let is_superseded = record.key.as_ref().and_then(|key| last.get(key)).is_some_and(|at| *at > offset);
                let is_tombstone = record.value.is_none();
                let is_due = |horizon_ms: Option<i64>| is_tombstone && horizon_ms.is_some_and(|at| at <= pass.now_ms);
                let goes = of.is_some() || is_superseded || (is_due(batch.horizon.latest_ms) && offset < pass.cleaned);
                let may_go = goes || is_due(batch.horizon.earliest_ms);
                if goes && is_surely_known && is_clean {
                    record.fate = worse(record.fate, fate);
                } else if may_go {
                    record.fate = worse(record.fate, Fate::MayBeGone);
                }
                tombstones |= is_tombstone && record.fate != Fate::Gone;
            }
            if tombstones {
                batch.horizon.earliest_ms.get_or_insert(pass.horizon_ms());
                let stay = batch.records.iter().any(|record| record.value.is_none() && record.fate == Fate::Stays);
                if stay && is_clean && fate == Fate::Gone {
                    batch.horizon.latest_ms.get_or_insert(pass.horizon_ms());
                }
            }
        }
    }

    /// Offset of the last committed record of each key below `end`.
    fn last_committed(&self, end: Offset, aborted: &[Aborted]) -> BTreeMap<Vec<u8>, Offset> {
        let mut last = BTreeMap::new();
        let counts = |batch: &&Batch| !batch.is_marker() && !aborted.iter().any(|one| one.has(batch));
        for (offset, record) in self.batches.iter().filter(counts).flat_map(Batch::numbered) {
            if let Some(key) = record.key.as_ref().filter(|_| offset < end) {
                last.insert(key.clone(), offset);
            }
        }
        last
    }

    /// Markers below `until` before which a pass may find no batch of their transaction.
    fn unneeded_markers(&self, until: Offset) -> Vec<Offset> {
        let (mut needed, mut unneeded) = (BTreeMap::<i64, bool>::new(), Vec::new());
        for batch in self.batches.iter().filter(|batch| batch.base < until) {
            match batch.kind {
                Kind::Plain => {}
                // Below the log start it may have gone with its segment.
                Kind::Transactional if batch.must_be_there() && batch.base >= self.start_max => {
                    needed.insert(batch.producer, true);
                }
                Kind::Transactional => {}
                Kind::Commit | Kind::Abort => {
                    if !needed.remove(&batch.producer).unwrap_or(false) {
                        unneeded.push(batch.base);
                    }
                }
            }
        }
        unneeded
    }
}

fn worse(one: Fate, other: Fate) -> Fate {
    if one == Fate::Gone || other == Fate::Stays { one } else { other }
}

fn go_when_due(marker: &mut Batch, pass: &Pass) {
    if marker.horizon.earliest_ms.is_some_and(|at| at <= pass.now_ms) {
        for record in &mut marker.records {
            record.fate = worse(record.fate, Fate::MayBeGone);
        }
    }
    marker.horizon.earliest_ms.get_or_insert(pass.horizon_ms());
}
