//! Directory, host and maintenance together: what survives a restart, and what housekeeping does when the clock is turned.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use ottla_log::batch::{Compression, NewRecord};
use ottla_log::commit::Host;
use ottla_log::directory::DataDirectory;
use ottla_log::env::memory::MemoryDisk;
use ottla_log::env::{Clock, Env, VirtualClock};
use ottla_log::maintenance::{MaintenanceConfig, PartitionSource, Rounds};
use ottla_log::partition::ReadUpTo;
use ottla_log::{Durability, Identity, Partition, PartitionConfig};

const T0: i64 = 1_700_000_000_000;

struct World {
    host: Arc<Host>,
    clock: Arc<VirtualClock>,
}

fn world() -> World {
    let clock = Arc::new(VirtualClock::new(T0));
    World { host: Host::new(Env::new(Arc::new(MemoryDisk::new()), clock.clone()), 0), clock }
}

fn directory(world: &World) -> DataDirectory {
    DataDirectory::open(&world.host, Path::new("/data"), 1, Some("cluster"), &mut || [3; 16]).unwrap()
}

fn partition(world: &World, directory: &DataDirectory, topic: &str, config: &PartitionConfig) -> Arc<Partition> {
    let identity = Identity { topic: topic.into(), topic_id: [9; 16], partition: 0 };
    let (path, hint) = (directory.partition_path(topic, 0), directory.hint(topic, 0));
    Partition::open(&world.host, path, identity, Arc::new(config.clone()), 0, hint).unwrap().0
}

fn append(partition: &Partition, timestamp_ms: i64) {
    let record = NewRecord { timestamp_ms, key: None, value: Some(b"value"), headers: &[] };
    partition.append_records(&[record], Compression::None).unwrap();
}

/// After a clean stop nothing is scanned and log starts are remembered; after a crash the recovery points bound the scan.
#[test]
fn restart() {
    let world = world();
    let config = PartitionConfig { segment_bytes: 500, ..PartitionConfig::default() };
    let mut clean = true;
    for round in 0..4 {
        let directory = directory(&world);
        assert_eq!(directory.was_clean(), clean && round > 0);
        let partition = partition(&world, &directory, "t", &config);
        assert_eq!(partition.offsets().log_end, round * 20);
        assert_eq!(partition.offsets().log_start, (round * 20 - 7).max(0));
        for _ in 0..20 {
            append(&partition, T0);
        }
        partition.delete_records_before((round + 1) * 20 - 7).unwrap();
        clean = round % 2 == 0;
        if clean {
            partition.close().unwrap();
            directory.close(&[partition]).unwrap();
        } else {
            directory.checkpoint(&[partition]).unwrap();
        }
    }
    let found = directory(&world).found().unwrap();
    assert_eq!((found[0].topic.as_str(), found[0].partition, found[0].topic_id), ("t", 0, Some([9; 16])));
}

/// A topic deleted and made again starts from nothing, even after a crash right behind it.
#[test]
fn successor_of_a_deleted_topic() {
    let world = world();
    let config = PartitionConfig::default();
    {
        let directory = directory(&world);
        let old = partition(&world, &directory, "t", &config);
        for _ in 0..10 {
            append(&old, T0);
        }
        old.delete_records_before(10).unwrap();
        directory.checkpoint(std::slice::from_ref(&old)).unwrap();
        directory.forget(&[("t", 0)]).unwrap();
        old.delete().unwrap();
        append(&partition(&world, &directory, "t", &config), T0);
    }
    let directory = directory(&world);
    let partition = partition(&world, &directory, "t", &config);
    assert_eq!((partition.offsets().log_start, partition.offsets().log_end), (0, 1));
    assert_eq!(directory.found().unwrap().len(), 1);
}

/// A checkpoint that gets between a deletion's two steps leaves nothing that a successor, after a crash, would take for its own.
#[test]
fn checkpoint_of_a_partition_being_deleted() {
    let world = world();
    let config = PartitionConfig::default();
    {
        let directory = directory(&world);
        let old = partition(&world, &directory, "t", &config);
        for _ in 0..10 {
            append(&old, T0);
        }
        old.delete_records_before(10).unwrap();
        directory.forget(&[("t", 0)]).unwrap();
        directory.checkpoint(std::slice::from_ref(&old)).unwrap();
        old.delete().unwrap();
    }
    {
        let directory = directory(&world);
        append(&partition(&world, &directory, "t", &config), T0);
    }
    let directory = directory(&world);
    let partition = partition(&world, &directory, "t", &config);
    assert_eq!((partition.offsets().log_start, partition.offsets().log_end), (0, 1));
}

struct One(Arc<Partition>, DataDirectory);

impl PartitionSource for One {
    fn partitions(&self) -> Vec<Arc<Partition>> {
        vec![self.0.clone()]
    }
    fn checkpoint(&self, partitions: &[Arc<Partition>]) {
        self.1.checkpoint(partitions).unwrap();
    }
}

/// Housekeeping on a turned clock: flush.ms syncs, checkpoints note it, retention deletes, deleted files go.
#[test]
fn housekeeping() {
    let world = world();
    let config = PartitionConfig {
        segment_bytes: 500,
        durability: Durability::Os,
        flush_ms: 5_000,
        retention_ms: Some(600_000),
        ..PartitionConfig::default()
    };
    let directory = directory(&world);
    let partition = partition(&world, &directory, "t", &config);
    let source = One(partition.clone(), directory);
    let mut rounds = Rounds::new(world.clock.monotonic_ms(), MaintenanceConfig::default());
    for _ in 0..30 {
        append(&partition, T0);
    }
    let mut turn = |by_ms: i64| {
        for _ in 0..by_ms / 1000 {
            world.clock.turn(1000);
            rounds.run(&world.host, &source);
        }
    };
    turn(4_000);
    assert_eq!(partition.offsets().durable, 0);
    turn(1_000);
    assert_eq!(partition.offsets().durable, 30);
    turn(60_000);
    let points = world.host.env().disk().exists(Path::new("/data/recovery-point-offset-checkpoint")).unwrap();
    assert!(points);
    turn(840_000);
    let offsets = partition.offsets();
    assert_eq!((offsets.log_start, offsets.log_end, partition.status().segments), (30, 30, 1));
    let names = || world.host.env().disk().list(partition.path()).unwrap();
    assert!(names().iter().any(|entry| entry.name.ends_with(".deleted")));
    turn(61_000);
    assert!(!names().iter().any(|entry| entry.name.ends_with(".deleted")));
    append(&partition, T0);
    assert_eq!(partition.latest(ReadUpTo::LogEnd).offset, 31);
}

/// The bound on unsynced bytes syncs the partitions that have most, without any flush setting.
#[test]
fn unsynced_bytes_are_bounded() {
    let world = world();
    let config = PartitionConfig { durability: Durability::Os, ..PartitionConfig::default() };
    let directory = directory(&world);
    let partition = partition(&world, &directory, "t", &config);
    let source = One(partition.clone(), directory);
    let limits = MaintenanceConfig { unsynced_bytes_max: 1000, ..MaintenanceConfig::default() };
    let mut rounds = Rounds::new(world.clock.monotonic_ms(), limits);
    for (appends, unsynced) in [(5, true), (10, false)] {
        for _ in 0..appends {
            append(&partition, T0);
        }
        world.clock.turn(1000);
        rounds.run(&world.host, &source);
        assert_eq!(partition.unsynced_bytes() > 0, unsynced, "{appends} appends");
    }
}
