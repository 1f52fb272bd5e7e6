//! Tests of the partition, by what they show.

mod append;
mod cold;
mod commit;
mod compact;
mod crash;
mod cut;
mod cut_clean;
mod damage;
mod deleting;
mod descriptors;
mod failed;
mod faults;
mod fold;
mod history;
mod mirror;
mod read;
mod stop;
mod told;
mod transactions;
mod trim;
mod write_out;
mod wrong_index;

use std::path::PathBuf;
use std::sync::Arc;

use crate::batch::builder::{BatchBuilder, BatchShape};
use crate::batch::{Compression, NO_PRODUCER_ID, NewRecord, header};
use crate::commit::Host;
use crate::env::faulty::{Faults, FaultyDisk};
use crate::env::scratch::scratch_disk;
use crate::env::{Env, VirtualClock};
use crate::error::{AppendError, StorageError};
use crate::partition::{AppendOptions, Appended, Identity, OpenHint, Origin, Partition, ReadUpTo, RecoveryReport};
use crate::{Durability, PartitionConfig, TopicId};

/// Where tests' time begins: far from zero, so that ages are not negative.
pub const T0: i64 = 1_700_000_000_000;

/// A partition over a memory disk and a clock that a test turns. No threads: a group commit is done by the append that needs it.
pub struct Bench {
    pub host: Arc<Host>,
    pub clock: Arc<VirtualClock>,
    pub config: PartitionConfig,
    /// The leader epoch the metadata would tell.
    pub epoch: i32,
}

impl Bench {
    pub fn new() -> Bench {
        let clock = Arc::new(VirtualClock::new(T0));
        let host = Host::new(Env::new(scratch_disk(), clock.clone()), 0);
        Bench {
            host,
            clock,
            config: PartitionConfig { durability: Durability::Os, ..PartitionConfig::default() },
            epoch: 0,
        }
    }

    /// Segments of about ten small batches, an index entry for almost each.
    pub fn small() -> Bench {
        let mut bench = Bench::new();
        bench.config.segment_bytes = 1000;
        bench.config.index_interval_bytes = 150;
        bench.config.file_delete_delay_ms = 0;
        bench
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from("/data/t-0")
    }

    pub fn open_with(&self, hint: OpenHint) -> (Arc<Partition>, RecoveryReport) {
        let identity = Identity { topic: "t".into(), topic_id: [7; 16], partition: 0 };
        Partition::open(&self.host, self.path(), identity, Arc::new(self.config.clone()), self.epoch, hint).unwrap()
    }

    /// The same directory under another topic id.
    pub fn open_as(&self, topic_id: TopicId) -> Result<Arc<Partition>, StorageError> {
        let identity = Identity { topic: "t".into(), topic_id, partition: 0 };
        let config = Arc::new(self.config.clone());
        Partition::open(&self.host, self.path(), identity, config, self.epoch, OpenHint::default())
            .map(|opened| opened.0)
    }

    pub fn open(&self) -> Arc<Partition> {
        self.open_with(OpenHint::default()).0
    }

    pub fn clean() -> OpenHint {
        OpenHint { clean: true, ..OpenHint::default() }
    }

    pub fn status_is_offline(partition: &Partition) -> bool {
        partition.status().offline
    }
}

/// A bench whose disk can be made to fail, and `threads` that commit.
pub fn brittle(durability: Durability, threads: usize) -> (Bench, Arc<Faults>) {
    let disk = FaultyDisk::scratch();
    let faults = disk.faults();
    let clock = Arc::new(VirtualClock::new(T0));
    let host = Host::new(Env::new(Arc::new(disk), clock.clone()), threads);
    (Bench { host, clock, config: PartitionConfig { durability, ..PartitionConfig::default() }, epoch: 0 }, faults)
}

/// A producer's identity and the sequence it is at.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    pub id: i64,
    pub epoch: i16,
    pub sequence: i32,
    pub transactional: bool,
}

pub const NOBODY: Who = Who { id: NO_PRODUCER_ID, epoch: -1, sequence: -1, transactional: false };

pub fn producer(id: i64, epoch: i16, sequence: i32) -> Who {
    Who { id, epoch, sequence, transactional: false }
}

pub fn transaction(id: i64, epoch: i16, sequence: i32) -> Who {
    Who { id, epoch, sequence, transactional: true }
}

/// A batch as a client sends it: one record per value, timestamps one millisecond apart.
pub fn batch_at(who: Who, compression: Compression, timestamp_ms: i64, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchShape {
        compression,
        level: -1,
        attributes: if who.transactional { header::TRANSACTIONAL_BIT } else { 0 },
        producer_id: who.id,
        producer_epoch: who.epoch,
        base_sequence: who.sequence,
    });
    for (timestamp_ms, value) in (timestamp_ms..).zip(values) {
        builder.push(&NewRecord {
            timestamp_ms,
            key: Some(b"k"),
            value: Some(value.as_bytes()),
            headers: &[("h", Some(b"1")), ("h", None)],
        });
    }
    builder.finish().unwrap()
}

pub fn batch(who: Who, values: &[&str]) -> Vec<u8> {
    batch_at(who, Compression::None, T0, values)
}

pub fn send(partition: &Partition, mut batch: Vec<u8>) -> Result<Appended, AppendError> {
    partition.append(&mut batch, Origin::Client, AppendOptions::default())
}

pub fn send_values(partition: &Partition, values: &[&str]) -> Appended {
    send(partition, batch(NOBODY, values)).unwrap()
}

/// All records up to a limit: (offset, value).
pub fn records(partition: &Partition, up_to: ReadUpTo) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    let mut at = partition.offsets().log_start;
    loop {
        let next = partition
            .for_each_record(at, 1000, up_to, |record| {
                if !record.is_control {
                    found.push((record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
                }
            })
            .unwrap();
        if next == at {
            return found;
        }
        at = next;
    }
}

/// Names in the partition's directory.
pub fn names(bench: &Bench) -> Vec<String> {
    bench.host.env().disk().list(&bench.path()).unwrap().into_iter().map(|entry| entry.name).collect()
}
