//! A partition as a list of batches, and what was promised of it: what any reader must find after any cut.

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

#[derive(Clone, Debug)]
pub struct Batch {
    pub base: Offset,
    /// The offset behind the last record.
    pub next: Offset,
    /// As it must lie on the disk; None where only the engine knows (a marker that may not have got there).
    pub stored: Option<Vec<u8>>,
    /// As the client sent it, to be sent again.
    pub sent: Vec<u8>,
    pub timestamps_ms: Vec<i64>,
    /// -1: none.
    pub producer: i64,
    pub sequence: i32,
    pub kind: Kind,
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

    /// Where the log ends if it is cut at `offset`: batches are whole.
    pub fn end_if_cut(&self, offset: Offset) -> Offset {
        self.batches.iter().find(|batch| batch.next > offset).map_or(self.log_end, |batch| batch.base.min(offset))
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
        let data = self.batches.iter().filter(|batch| matches!(batch.kind, Kind::Plain | Kind::Transactional));
        data.filter(|batch| batch.producer >= 0).map(|batch| (batch.producer, batch)).collect()
    }

    pub fn next_sequence(&self, producer: i64) -> i32 {
        self.last_batches().get(&producer).map_or(0, |batch| batch.sequence + batch.timestamps_ms.len() as i32)
    }

    /// The first record not below `start` that is not earlier than `timestamp_ms`.
    pub fn at_time(&self, start: Offset, timestamp_ms: i64) -> Option<Offset> {
        let records = self.batches.iter().flat_map(|batch| (batch.base..).zip(batch.timestamps_ms.iter().copied()));
        records.filter(|(offset, at)| *offset >= start && *at >= timestamp_ms).map(|(offset, _)| offset).next()
    }
}
