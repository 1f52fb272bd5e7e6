//! A partition as a list of batches, and what was promised of it: what any reader must find after any cut.
//!
//! `compaction` knows what a pass may take and what it must.

pub mod compaction;

use std::collections::BTreeMap;

use ottla_log::Offset;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// In a transaction of its producer, which begins with it if none is open.
    Transactional,
    Commit,
    Abort,
}

/// What compaction did to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Stays,
    /// A pass that did not get to its end may have taken it.
    MayBeGone,
    /// A pass that got to its end took it: it must never come back.
    Gone,
}

#[derive(Clone, Debug)]
pub struct Record {
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    /// None: a tombstone.
    pub value: Option<Vec<u8>>,
    pub fate: Fate,
}

#[derive(Clone, Debug)]
pub struct Batch {
    pub base: Offset,
    /// The offset behind the last record.
    pub next: Offset,
    /// As it must lie on the disk; None where only the engine knows (a marker that may not have got there).
    pub stored: Option<Vec<u8>>,
    /// As the client sent it, to be sent again.
    pub sent: Vec<u8>,
    /// A marker has one, of which only the fate counts.
    pub records: Vec<Record>,
    /// -1: none.
    pub producer: i64,
    pub sequence: i32,
    pub kind: Kind,
    pub horizon: Horizon,
}

/// When the tombstones of a batch, or an unneeded marker, may go: `delete.retention.ms` after the pass that first saw them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Horizon {
    /// By the first pass that may have written it down.
    pub earliest_ms: Option<i64>,
    /// By the first pass that did.
    pub latest_ms: Option<i64>,
}

impl Aborted {
    /// A batch of its data.
    pub fn has(&self, batch: &Batch) -> bool {
        batch.kind == Kind::Transactional
            && batch.producer == self.producer
            && (self.first..self.marker).contains(&batch.base)
    }
}

impl Batch {
    pub fn is_marker(&self) -> bool {
        matches!(self.kind, Kind::Commit | Kind::Abort)
    }

    pub fn must_be_there(&self) -> bool {
        self.records.iter().any(|record| record.fate == Fate::Stays)
    }

    /// Records that may be found, by offset.
    pub fn numbered(&self) -> impl Iterator<Item = (Offset, &Record)> {
        (self.base..).zip(&self.records)
    }
}

/// A transaction that ended with an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted {
    pub producer: i64,
    pub first: Offset,
    pub marker: Offset,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    pub batches: Vec<Batch>,
    pub log_end: Offset,
    /// Everything below was promised to survive.
    pub durable: Offset,
    /// Nothing below may come back.
    pub start_promised: Offset,
    /// Where the log may start at most.
    pub start_max: Offset,
    /// Committed when compaction was at the log.
    pub compacted_by: Offset,
}

impl Model {
    pub fn push(&mut self, batch: Batch) {
        self.log_end = batch.next;
        self.batches.push(batch);
    }

    /// The last batch was refused.
    pub fn pop(&mut self) {
        if let Some(batch) = self.batches.pop() {
            self.log_end = batch.base;
        }
    }

    /// The log now ends at `end` and starts at `start`: whatever lay behind was never promised.
    pub fn settle(&mut self, start: Offset, end: Offset) {
        self.batches.retain(|batch| batch.next <= end);
        self.log_end = end;
        self.durable = end;
        self.start_max = start;
        // Where it starts now is on the disk, or the files in front would be there.
        self.start_promised = self.start_promised.max(0).min(start);
    }

    /// Nothing that must be there lies between.
    pub fn is_nothing_between(&self, start: Offset, end: Offset) -> bool {
        let mut records = self.batches.iter().flat_map(Batch::numbered);
        !records.any(|(offset, record)| (start..end).contains(&offset) && record.fate == Fate::Stays)
    }

    pub fn cut(&mut self, end: Offset) {
        self.batches.retain(|batch| batch.next <= end);
        self.log_end = end;
        self.durable = self.durable.min(end);
    }

    /// Open transactions: producer -> offsets of its batches; and the aborted ones.
    pub fn transactions(&self) -> (BTreeMap<i64, Vec<Offset>>, Vec<Aborted>) {
        let (mut open, mut aborted) = (BTreeMap::<i64, Vec<Offset>>::new(), Vec::new());
        for batch in &self.batches {
            match batch.kind {
                Kind::Plain => {}
                Kind::Transactional => open.entry(batch.producer).or_default().push(batch.base),
                Kind::Commit | Kind::Abort => {
                    if let (Some(offsets), Kind::Abort) = (open.remove(&batch.producer), batch.kind) {
                        aborted.push(Aborted { producer: batch.producer, first: offsets[0], marker: batch.base });
                    }
                }
            }
        }
        (open, aborted)
    }

    /// The last batch of each producer, markers apart.
    pub fn last_batches(&self) -> BTreeMap<i64, &Batch> {
        let data = self.batches.iter().filter(|batch| !batch.is_marker());
        data.filter(|batch| batch.producer >= 0).map(|batch| (batch.producer, batch)).collect()
    }

    pub fn next_sequence(&self, producer: i64) -> i32 {
        self.last_batches().get(&producer).map_or(0, |batch| batch.sequence + batch.records.len() as i32)
    }

    /// Where a look-up may lead that asks for the first record not below `start` and not earlier than `timestamp_ms`: the records that may
    /// be gone, up to the first that must be there. None: to nothing.
    pub fn at_time(&self, start: Offset, end: Offset, timestamp_ms: i64) -> Vec<Option<Offset>> {
        let mut found = Vec::new();
        for (offset, record) in self.batches.iter().flat_map(Batch::numbered) {
            if offset >= start && offset < end && record.timestamp_ms >= timestamp_ms && record.fate != Fate::Gone {
                found.push(Some(offset));
                if record.fate == Fate::Stays {
                    return found;
                }
            }
        }
        found.push(None);
        found
    }
}
