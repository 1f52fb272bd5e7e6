//! What [`super::verify`] has to say.

use std::path::{Path, PathBuf};

use super::walk::Damage;
use crate::Offset;
use crate::compaction::swap::CutOff;

/// What was found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Behind the last batch lies what is none: as a crash leaves it.
    TornTail,
    /// Batches that cannot be read, with others behind them.
    DamagedBatch,
    /// A batch whose checksum is right and whose records are not as its header says.
    WrongRecords,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    LeaderEpochs,
    ProducerSnapshot,
    TopicId,
    /// A compaction that was cut off: the next opening ends it, or takes it back.
    Compaction,
    /// A file that a deletion or a compaction did not come to remove.
    Leftover,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::TornTail => "torn-tail",
            Kind::DamagedBatch => "damaged-batch",
            Kind::WrongRecords => "wrong-records",
            Kind::OffsetIndex => "offset-index",
            Kind::TimeIndex => "time-index",
            Kind::TransactionIndex => "transaction-index",
            Kind::LeaderEpochs => "leader-epochs",
            Kind::ProducerSnapshot => "producer-snapshot",
            Kind::TopicId => "topic-id",
            Kind::Compaction => "compaction",
            Kind::Leftover => "leftover",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub path: PathBuf,
    /// Where in the file.
    pub position: Option<u64>,
    pub what: String,
}

impl Finding {
    pub(super) fn new(kind: Kind, path: &Path, position: Option<u64>, what: impl Into<String>) -> Finding {
        Finding { kind, path: path.to_path_buf(), position, what: what.into() }
    }
}

/// What one segment holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentReport {
    pub base_offset: Offset,
    pub bytes: u64,
    pub batches: u64,
    pub control_batches: u64,
    pub records: u64,
    /// Of the first batch; None without any.
    pub first_offset: Option<Offset>,
    /// Behind the last batch.
    pub next_offset: Offset,
    /// None when no record has one.
    pub min_timestamp_ms: Option<i64>,
    pub max_timestamp_ms: Option<i64>,
    /// Batches by compression, in the order of its codes.
    pub compressed: [u64; 5],
    /// What the records take when they are not packed, without batch headers.
    pub unpacked_bytes: u64,
    pub key_bytes: u64,
    pub value_bytes: u64,
    /// Records without key; without value.
    pub null_keys: u64,
    pub null_values: u64,
    pub damage: Vec<Damage>,
}

/// See [`verify`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub segments: Vec<SegmentReport>,
    pub findings: Vec<Finding>,
    /// First offsets of leader epochs as the batches tell them.
    pub epochs: Vec<(i32, Offset)>,
    /// Bytes behind the last whole batch of a log that is being written.
    pub on_its_way_bytes: u64,
    /// Compactions that did not come to their end.
    pub cut_off: CutOff,
}
