//! Directory, host and maintenance together: what survives a restart, and what housekeeping does when the clock is turned.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ottla_log::batch::{Compression, NewRecord};
use ottla_log::commit::{Host, HostSettings};
use ottla_log::directory::DataDirectory;
use ottla_log::env::faulty::FaultyDisk;
use ottla_log::env::scratch::scratch_disk;
use ottla_log::env::{Clock, Env, VirtualClock};
use ottla_log::maintenance::{Maintenance, MaintenanceConfig, PartitionSource, Rounds};
use ottla_log::partition::{PartitionObserver, ReadUpTo};
use ottla_log::{Durability, Identity, Offsets, Partition, PartitionConfig, StorageError};

const T0: i64 = 1_700_000_000_000;

struct World {
    host: Arc<Host>,
    clock: Arc<VirtualClock>,
}

fn world() -> World {
    let clock = Arc::new(VirtualClock::new(T0));
    World { host: Host::new(Env::new(scratch_disk(), clock.clone()), 0), clock }
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

/// What is not synced is counted whatever happens to it, and bounded: from the start threshold on the partitions with most of it are synced,
/// without any flush setting.
#[test]
fn unsynced_bytes_are_bounded() {
    let clock = Arc::new(VirtualClock::new(T0));
    let settings = HostSettings { commit_threads: 0, flush_start_bytes: 1000, ..HostSettings::default() };
    let env = Env::new(scratch_disk(), clock.clone());
    let world = World { host: Host::with(env, settings), clock };
    let config = PartitionConfig { durability: Durability::Os, segment_bytes: 400, ..PartitionConfig::default() };
    let directory = directory(&world);
    let (small, large) = (partition(&world, &directory, "s", &config), partition(&world, &directory, "l", &config));
    let source = Several(vec![small.clone(), large.clone()]);
    let mut rounds = Rounds::new(world.clock.monotonic_ms(), MaintenanceConfig::default());
    let mut tick = || {
        world.clock.turn(1000);
        rounds.run(&world.host, &source);
    };
    let counted = || assert_eq!(world.host.unsynced_bytes(), small.unsynced_bytes() + large.unsynced_bytes());
    append(&small, T0);
    for _ in 0..5 {
        append(&large, T0);
    }
    tick();
    counted();
    assert!(small.unsynced_bytes() > 0 && large.unsynced_bytes() > 0 && world.host.unsynced_bytes() < 1000);
    for _ in 0..10 {
        append(&large, T0);
    }
    assert!(world.host.unsynced_bytes() >= 1000);
    tick();
    counted();
    assert!(small.unsynced_bytes() > 0, "one with little to lose was synced");
    assert_eq!(large.unsynced_bytes(), 0);
    for _ in 0..10 {
        append(&large, T0);
    }
    large.truncate_to(20).unwrap();
    counted();
    large.delete_records_before(-1).unwrap();
    large.enforce_retention(T0).unwrap();
    counted();
    large.delete().unwrap();
    counted();
    assert_eq!(large.unsynced_bytes(), 0);
    drop(source);
    drop(small);
    assert_eq!(world.host.unsynced_bytes(), 0);
}

/// The flusher wakes at once when there is too much to sync, no clock turned; while a disk is slow appenders are told to wait, and told when
/// they need not any more.
#[test]
fn appenders_wait_for_a_slow_disk() {
    let disk = FaultyDisk::scratch();
    let faults = disk.faults();
    let clock = Arc::new(VirtualClock::new(T0));
    let settings =
        HostSettings { commit_threads: 1, flush_start_bytes: 500, flush_wait_bytes: 1000, ..HostSettings::default() };
    let host = Host::with(Env::new(Arc::new(disk), clock.clone()), settings);
    let world = World { host, clock };
    let directory = directory(&world);
    let config = PartitionConfig { durability: Durability::Os, ..PartitionConfig::default() };
    let partition = partition(&world, &directory, "t", &config);
    let relieved = Arc::new(AtomicUsize::new(0));
    let counter = relieved.clone();
    world.host.on_relief(Box::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    let source = Arc::new(Several(vec![partition.clone()]));
    let maintenance = Maintenance::start(&world.host, source, MaintenanceConfig::default());
    faults.hold(true);
    while !world.host.is_over() {
        append(&partition, T0);
    }
    faults.wait_until_held();
    assert!(!world.host.wait_for_room(Duration::ZERO));
    assert_eq!(relieved.load(Ordering::SeqCst), 0);
    faults.hold(false);
    assert!(world.host.wait_for_room(Duration::from_secs(60)));
    maintenance.stop();
    world.host.stop();
    assert_eq!(relieved.load(Ordering::SeqCst), 1);
    assert!(partition.offsets().durable > 0);
}

struct Several(Vec<Arc<Partition>>);

impl PartitionSource for Several {
    fn partitions(&self) -> Vec<Arc<Partition>> {
        self.0.clone()
    }
    fn checkpoint(&self, _partitions: &[Arc<Partition>]) {}
}

/// Says how far may be read.
struct Advanced(std::sync::mpsc::Sender<i64>);

impl PartitionObserver for Advanced {
    fn readable_advanced(&self, _partition: &Arc<Partition>, offsets: Offsets) {
        self.0.send(offsets.high_watermark).unwrap();
    }

    fn went_offline(&self, _partition: &Arc<Partition>, _reason: &StorageError) {}
}

/// A disk that answers no more holds up no commit on another, however many partitions wait for it.
#[test]
fn commits_of_two_disks() {
    let disk = FaultyDisk::scratch();
    let faults = disk.faults();
    let settings = HostSettings { commit_threads: 2, ..HostSettings::default() };
    let host = Host::with(Env::new(Arc::new(disk), Arc::new(VirtualClock::new(T0))), settings);
    let world = World { host, clock: Arc::new(VirtualClock::new(T0)) };
    let open =
        |path: &str| DataDirectory::open(&world.host, Path::new(path), 1, Some("cluster"), &mut || [3; 16]).unwrap();
    let (hung, sound) = (open("/hung"), open("/sound"));
    faults.hold_below(Path::new("/hung"));
    let config = PartitionConfig::default();
    let waiting: Vec<_> = ["a", "b", "c", "d"].map(|topic| partition(&world, &hung, topic, &config)).into();
    for partition in &waiting {
        append(partition, T0);
    }
    faults.wait_until_held();
    let partition = partition(&world, &sound, "e", &config);
    let (sender, advanced) = std::sync::mpsc::channel();
    partition.set_observer(Arc::new(Advanced(sender)));
    append(&partition, T0);
    let shown = advanced.recv_timeout(Duration::from_secs(30));
    faults.hold(false);
    assert_eq!(shown, Ok(1));
    world.host.stop();
    assert!(waiting.iter().all(|partition| partition.offsets().high_watermark == 1));
}
