//! Compaction: of the records of a key, only the last one stays. Kafka's `Cleaner`, in parts that know nothing of partitions.
//!
//! ```text
//! plan          what is dirty, how far it may be cleaned, whether it is time, which segments become one: a pure choice
//! key_map       key -> last offset, bounded: a pass that cannot hold all keys ends earlier
//! transactions  which batches belong to aborted transactions, which markers nobody needs any more
//! rewrite       segments -> one replacement beside them, in `.cleaned` files
//! swap          replacement -> segment, so that a crash at any step leaves the old ones or the new one
//! ```
//!
//! Offsets never change. What is gone leaves a gap; the last batch of every replacement stays, if need be without its records, so that
//! a segment still tells where it ends (Kafka keeps the last of a pass). The last batch of every known producer stays too, for its
//! sequence.

pub mod key_map;
pub mod plan;
pub mod rewrite;
pub mod swap;
pub mod transactions;

use std::collections::HashMap;

use crate::error::StorageError;
use crate::{Offset, PartitionConfig};
use key_map::KeyMap;

/// Asked on the way whether to go on, and told what was read and written: an I/O budget may make it wait.
pub trait Pace {
    /// False: stop here, leave everything as it was.
    fn spend(&mut self, bytes: usize) -> bool;
}

/// No budget, no end.
#[derive(Clone, Copy, Debug)]
pub struct Unhurried;

impl Pace for Unhurried {
    fn spend(&mut self, _bytes: usize) -> bool {
        true
    }
}

/// Why a pass ended early.
#[derive(Debug)]
pub enum Halt {
    /// The pace said so, or the segments changed meanwhile.
    Stopped,
    /// In the segment with that base offset lies, at that offset, the abort of a transaction that its index of them does not name.
    NotIndexed {
        segment: Offset,
        marker: Offset,
    },
    Storage(StorageError),
}

impl From<StorageError> for Halt {
    fn from(error: StorageError) -> Halt {
        Halt::Storage(error)
    }
}

/// What a pass goes by.
#[derive(Debug)]
pub struct Rules<'a> {
    pub map: &'a KeyMap,
    pub now_ms: i64,
    pub config: &'a PartitionConfig,
    /// By producer id.
    pub last_records: &'a HashMap<i64, LastRecord>,
}

/// What must stay of a producer the partition knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastRecord {
    /// Of its last data batch in this epoch.
    pub last_offset: Option<Offset>,
    pub epoch: i16,
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub map_bytes_read: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub records_read: u64,
    pub records_kept: u64,
    /// Records without a key, which have no place in a compacted log.
    pub records_without_key: u64,
    pub keys: u64,
}
