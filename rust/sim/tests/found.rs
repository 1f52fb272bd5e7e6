//! What seeds found, each as short as it can be told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use ottla_log::batch::builder::{BatchBuilder, BatchShape};
use ottla_log::batch::{Compression, NewRecord};
use ottla_log::commit::Host;
use ottla_log::compaction::Unhurried;
use ottla_log::directory::DataDirectory;
use ottla_log::env::{Disk, Env, VirtualClock};
use ottla_log::error::StorageError;
use ottla_log::partition::{AppendOptions, Appended, MapSize, Origin};
use ottla_log::{Durability, Identity, Partition, PartitionConfig};
use ottla_sim::disk::{Fate, PowerDisk};

const T0: i64 = 1_700_000_000_000;

struct World {
    disk: PowerDisk,
    host: Arc<Host>,
    config: PartitionConfig,
}

impl World {
    fn new() -> World {
        let disk = PowerDisk::new(1, T0);
        let host = Host::new(Env::new(Arc::new(disk.clone()), Arc::new(VirtualClock::new(T0))), 0);
        let config = PartitionConfig {
            durability: Durability::Os,
            retention_ms: None,
            index_interval_bytes: 0,
            file_delete_delay_ms: 0,
            ..PartitionConfig::default()
        };
        World { disk, host, config }
    }

    fn directory(&self) -> DataDirectory {
        DataDirectory::open(&self.host, Path::new("/data"), 1, Some("cluster"), &mut || [3; 16]).unwrap()
    }

    fn try_open(&self, directory: &DataDirectory, topic_id: u8) -> Result<Arc<Partition>, StorageError> {
        let identity = Identity { topic: "t".into(), topic_id: [topic_id; 16], partition: 0 };
        let (path, hint) = (directory.partition_path("t", 0), directory.hint("t", 0));
        Partition::open(&self.host, path, identity, Arc::new(self.config.clone()), 0, hint).map(|opened| opened.0)
    }

    fn open(&self, directory: &DataDirectory) -> Arc<Partition> {
        self.try_open(directory, 7).unwrap()
    }
}

fn append(partition: &Partition, count: i64) {
    for number in 0..count {
        let record = NewRecord { timestamp_ms: T0 + number, key: None, value: Some(b"value"), headers: &[] };
        partition.append_records(&[record], Compression::None).unwrap();
    }
}

/// One idempotent record.
fn send(partition: &Partition, sequence: i32) -> Appended {
    let shape = BatchShape {
        producer_id: 5,
        producer_epoch: 0,
        base_sequence: sequence,
        ..BatchShape::plain(Compression::None, -1)
    };
    let mut builder = BatchBuilder::new(shape);
    builder.push(&NewRecord { timestamp_ms: T0, key: Some(b"key"), value: Some(b"value"), headers: &[] });
    partition.append(&mut builder.finish().unwrap(), Origin::Client, AppendOptions::default()).unwrap()
}

/// A segment that was rolled when all its records were synced, and whose indexes were not: they are not believed.
#[test]
fn indexes_of_a_segment_that_ends_at_the_recovery_point() {
    let world = World::new();
    let directory = world.directory();
    let partition = world.open(&directory);
    append(&partition, 10);
    partition.flush().unwrap();
    directory.checkpoint(std::slice::from_ref(&partition)).unwrap();
    partition.roll().unwrap();
    world.disk.sync_dir(partition.path()).unwrap();
    drop((partition, directory));
    world.disk.power_on_with(Fate::Nothing);
    let directory = world.directory();
    let partition = world.open(&directory);
    assert_eq!(partition.lookup_timestamp(T0 + 9).unwrap().map(|found| found.offset), Some(9));
}

/// What is written behind a truncation is not below the recovery point, whatever was there before.
#[test]
fn recovery_point_above_a_truncation() {
    let world = World::new();
    let directory = world.directory();
    let partition = world.open(&directory);
    append(&partition, 10);
    partition.flush().unwrap();
    directory.checkpoint(std::slice::from_ref(&partition)).unwrap();
    directory.truncate(&partition, 4).unwrap();
    append(&partition, 4);
    partition.roll().unwrap();
    append(&partition, 4);
    world.disk.sync_dir(partition.path()).unwrap();
    drop((partition, directory));
    world.disk.power_on_with(Fate::Nothing);
    let directory = world.directory();
    assert!(directory.hint("t", 0).recovery_point < 4);
    assert_eq!(world.open(&directory).offsets().log_end, 4);
}

/// A segment that a truncation took does not come back behind what was appended since.
#[test]
fn a_truncated_segment_stays_away() {
    let world = World::new();
    let directory = world.directory();
    let partition = world.open(&directory);
    append(&partition, 5);
    partition.roll().unwrap();
    partition.flush().unwrap();
    directory.truncate(&partition, 4).unwrap();
    let three = [NewRecord { timestamp_ms: T0, key: None, value: None, headers: &[] }; 3];
    partition.append_records(&three, Compression::None).unwrap();
    partition.flush().unwrap();
    assert_eq!(partition.offsets().durable, 7);
    drop((partition, directory));
    world.disk.power_on_with(Fate::Nothing);
    let directory = world.directory();
    assert_eq!(world.open(&directory).offsets().log_end, 7);
}

/// A directory whose owner was not written down before the power went gets one when it is opened: a successor of that name must not
/// take its records for its own.
#[test]
fn a_directory_without_an_owner() {
    let world = World::new();
    let directory = world.directory();
    let partition = world.open(&directory);
    append(&partition, 1);
    partition.flush().unwrap();
    let owner = partition.path().join("partition.metadata");
    drop(partition);
    world.disk.remove_file(&owner).unwrap();
    append(&world.open(&directory), 1);
    assert!(world.disk.exists(&owner).unwrap());
    assert!(world.try_open(&directory, 8).is_err());
}

/// The log start holds though the segment that is named by it never reached the disk.
#[test]
fn log_start_at_a_segment_that_was_lost() {
    let world = World::new();
    let directory = world.directory();
    let partition = world.open(&directory);
    append(&partition, 5);
    partition.flush().unwrap();
    partition.roll().unwrap();
    append(&partition, 1);
    partition.delete_records_before(5).unwrap();
    assert_eq!(partition.enforce_retention(T0).unwrap(), 1);
    directory.checkpoint(std::slice::from_ref(&partition)).unwrap();
    drop((partition, directory));
    world.disk.power_on_with(Fate::Nothing);
    let directory = world.directory();
    let partition = world.open(&directory);
    assert_eq!((partition.offsets().log_start, partition.offsets().log_end), (5, 5));
}

/// A producer whose batches went with a deleted segment goes on: the snapshot behind that segment is synced before it is deleted.
#[test]
fn producers_of_deleted_segments() {
    let world = World::new();
    let directory = world.directory();
    let partition = world.open(&directory);
    send(&partition, 0);
    partition.roll().unwrap();
    send(&partition, 1);
    partition.roll().unwrap();
    append(&partition, 1);
    partition.flush().unwrap();
    partition.delete_records_before(2).unwrap();
    assert_eq!(partition.enforce_retention(T0).unwrap(), 2);
    world.disk.sync_dir(partition.path()).unwrap();
    drop((partition, directory));
    world.disk.power_on_with(Fate::Nothing);
    let directory = world.directory();
    let partition = world.open(&directory);
    assert_eq!(partition.status().producers, 1);
    send(&partition, 2);
}

/// Compaction leaves the last batch of a producer for its sequence: one that a power cut can still take does not count.
#[test]
fn last_batch_of_a_producer_that_is_not_synced() {
    let mut world = World::new();
    world.config.cleanup_policy.compact = true;
    let directory = world.directory();
    let partition = world.open(&directory);
    send(&partition, 0);
    let newer = NewRecord { timestamp_ms: T0, key: Some(b"key"), value: Some(b"newer"), headers: &[] };
    partition.append_records(&[newer], Compression::None).unwrap();
    partition.flush().unwrap();
    partition.roll().unwrap();
    world.disk.sync_dir(partition.path()).unwrap();
    send(&partition, 1);
    let map = MapSize { bytes_max: 1000, load_factor: 0.9, hash_key: [1; 16] };
    assert!(partition.compact(map, &mut Unhurried).unwrap().is_some());
    drop((partition, directory));
    world.disk.power_on_with(Fate::Nothing);
    let directory = world.directory();
    let partition = world.open(&directory);
    let again = send(&partition, 1);
    assert_eq!((again.base_offset, again.duplicate), (2, true));
}

/// A process that dies anywhere inside a truncation leaves a log that the next one opens. What that one takes for durable is just what
/// is there after a power cut: bytes that were cut off, and the cut not synced, do not come back.
#[test]
fn killed_inside_a_truncation() {
    for (offset, operations) in [0, 4, 7].into_iter().flat_map(|offset| (0..12).map(move |after| (offset, after))) {
        let world = World::new();
        let directory = world.directory();
        let partition = world.open(&directory);
        append(&partition, 5);
        partition.roll().unwrap();
        append(&partition, 5);
        partition.flush().unwrap();
        directory.checkpoint(std::slice::from_ref(&partition)).unwrap();
        world.disk.cut_after(Some(operations));
        let _ = directory.truncate(&partition, offset);
        drop((partition, directory));
        world.disk.start_again();
        let directory = world.directory();
        let partition = world.open(&directory);
        let found = partition.offsets();
        assert_eq!(found.durable, found.log_end);
        drop((partition, directory));
        world.disk.power_on_with(Fate::Nothing);
        let directory = world.directory();
        let after = world.open(&directory).offsets();
        assert_eq!(after, found, "killed after {operations} operations of a truncation to {offset}");
    }
}

/// The log start may lie inside a batch. A truncation to it takes the whole batch, and what is appended then does not get offsets from
/// before the start, where the next opening would take it for deleted. The start is known after a power cut though no file tells of it.
#[test]
fn truncated_inside_the_first_batch() {
    for (is_noted, appended) in [(true, 3), (false, 3), (true, 0), (false, 0)] {
        let world = World::new();
        let directory = world.directory();
        let partition = world.open(&directory);
        append(&partition, 5);
        let four = [NewRecord { timestamp_ms: T0, key: None, value: Some(b"value"), headers: &[] }; 4];
        partition.append_records(&four, Compression::None).unwrap();
        partition.delete_records_before(8).unwrap();
        partition.flush().unwrap();
        if is_noted {
            directory.checkpoint(std::slice::from_ref(&partition)).unwrap();
        }
        directory.truncate(&partition, 8).unwrap();
        append(&partition, appended);
        partition.flush().unwrap();
        assert_eq!(partition.offsets().durable, 8 + appended);
        drop((partition, directory));
        world.disk.power_on_with(Fate::Nothing);
        let directory = world.directory();
        let partition = world.open(&directory);
        assert_eq!((partition.offsets().log_start, partition.offsets().log_end), (8, 8 + appended), "{is_noted}");
        let last = partition.lookup_timestamp(T0 + 2).unwrap().map(|found| found.offset);
        assert_eq!(last, (appended > 0).then_some(10), "{is_noted}");
    }
}

/// A log that a power cut left behind its log start is made empty there, and stays so: its old files do not come back after a clean stop.
#[test]
fn an_emptied_log_stays_empty() {
    let world = World::new();
    let directory = world.directory();
    let partition = world.open(&directory);
    append(&partition, 5);
    partition.flush().unwrap();
    append(&partition, 8);
    partition.delete_records_before(13).unwrap();
    directory.checkpoint(std::slice::from_ref(&partition)).unwrap();
    drop((partition, directory));
    world.disk.power_on_with(Fate::Nothing);
    let directory = world.directory();
    let partition = world.open(&directory);
    assert_eq!((partition.offsets().log_start, partition.offsets().log_end), (13, 13));
    partition.close().unwrap();
    directory.close(std::slice::from_ref(&partition)).unwrap();
    drop((partition, directory));
    world.disk.power_on_with(Fate::Nothing);
    let directory = world.directory();
    assert!(directory.was_clean());
    let partition = world.open(&directory);
    assert_eq!((partition.offsets().log_start, partition.offsets().log_end), (13, 13));
    append(&partition, 1);
    assert_eq!(partition.offsets().log_end, 14);
}
