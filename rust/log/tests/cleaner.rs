//! The cleaner over several partitions: which comes first, what is remembered, what an error costs, and how fast it may go.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_log::batch::{Compression, NewRecord};
use ottla_log::cleaner::{Cleaner, CleanerConfig, clean_dirtiest};
use ottla_log::commit::Host;
use ottla_log::compaction::Unhurried;
use ottla_log::directory::DataDirectory;
use ottla_log::env::scratch::scratch_disk;
use ottla_log::env::{Env, OpenMode, VirtualClock};
use ottla_log::maintenance::PartitionSource;
use ottla_log::partition::ReadUpTo;
use ottla_log::{CleanupPolicy, Durability, Identity, Partition, PartitionConfig};
use parking_lot::Mutex;

const T0: i64 = 1_700_000_000_000;
const CHECKPOINT: &str = "/data/cleaner-offset-checkpoint";

struct World {
    host: Arc<Host>,
    clock: Arc<VirtualClock>,
    directory: Mutex<Option<DataDirectory>>,
    partitions: Mutex<Vec<Arc<Partition>>>,
}

impl PartitionSource for World {
    fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.lock().clone()
    }
    fn checkpoint(&self, partitions: &[Arc<Partition>]) {
        self.directory.lock().as_ref().unwrap().checkpoint(partitions).unwrap();
    }
}

fn config() -> PartitionConfig {
    PartitionConfig {
        segment_bytes: 4000,
        durability: Durability::Os,
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        file_delete_delay_ms: 0,
        ..PartitionConfig::default()
    }
}

impl World {
    fn new() -> Arc<World> {
        let clock = Arc::new(VirtualClock::new(T0));
        let host = Host::new(Env::new(scratch_disk(), clock.clone()), 0);
        let world = World { host, clock, directory: Mutex::default(), partitions: Mutex::default() };
        world.start();
        Arc::new(world)
    }

    fn start(&self) {
        let directory =
            DataDirectory::open(&self.host, Path::new("/data"), 1, Some("cluster"), &mut || [3; 16]).unwrap();
        *self.directory.lock() = Some(directory);
    }

    fn open(&self, topic: &str) -> Arc<Partition> {
        let identity = Identity { topic: topic.into(), topic_id: [9; 16], partition: 0 };
        let (path, hint) = {
            let directory = self.directory.lock();
            let directory = directory.as_ref().unwrap();
            (directory.partition_path(topic, 0), directory.hint(topic, 0))
        };
        let partition = Partition::open(&self.host, path, identity, Arc::new(config()), 0, hint).unwrap().0;
        self.partitions.lock().push(partition.clone());
        partition
    }

    fn clean(&self) -> Option<String> {
        clean_dirtiest(self, &CleanerConfig::default(), &mut Unhurried)
            .map(|(partition, _)| partition.identity().topic.to_string())
    }
}

/// So many records of one key, each a batch.
fn write(partition: &Partition, records: usize) {
    for _ in 0..records {
        let record = NewRecord { timestamp_ms: T0, key: Some(b"k"), value: Some(&[b'v'; 300]), headers: &[] };
        partition.append_records(&[record], Compression::None).unwrap();
    }
    partition.roll().unwrap();
}

fn records(partition: &Partition) -> usize {
    let (mut count, mut at, mut before) = (0, 0, -1);
    while at != before {
        before = at;
        at = partition.for_each_record(at, 10_000, ReadUpTo::LogEnd, |_| count += 1).unwrap();
    }
    count
}

fn checkpoint(world: &World) -> String {
    let bytes = ottla_log::env::read_file(world.host.env().disk().as_ref(), Path::new(CHECKPOINT), 1000).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The partition with the largest dirty share comes first; what is below the ratio does not come at all; how far each is clean is
/// written down, in Kafka's file, and known after a crash and after a stop.
#[test]
fn dirtiest_first() {
    let world = World::new();
    let (some, most) = (world.open("some"), world.open("most"));
    for partition in [&some, &most] {
        write(partition, 40);
        partition.compact(MAP, &mut Unhurried).unwrap().unwrap();
    }
    // Distinct keys would stay; here a pass leaves one record.
    write(&some, 1);
    write(&most, 30);
    assert_eq!(world.clean().as_deref(), Some("most"));
    assert_eq!(world.clean(), None, "one record dirty, one clean: not above the ratio");
    write(&some, 1);
    assert_eq!(world.clean().as_deref(), Some("some"));
    assert_eq!((records(&some), records(&most)), (1, 1));
    assert_eq!(checkpoint(&world), "0\n2\nmost 0 70\nsome 0 42\n");
    for clean in [false, true] {
        let partitions = std::mem::take(&mut *world.partitions.lock());
        let directory = world.directory.lock().take().unwrap();
        if clean {
            partitions.iter().for_each(|partition| partition.close().unwrap());
            directory.close(&partitions).unwrap();
        }
        drop(directory);
        world.start();
        let (some, most) = (world.open("some"), world.open("most"));
        assert_eq!(some.compaction_plan().unwrap().unwrap().first_dirty, 42);
        assert_eq!(most.compaction_plan().unwrap().unwrap().first_dirty, 70);
    }
    world.directory.lock().as_ref().unwrap().forget(&[("most", 0)]).unwrap();
    assert_eq!(checkpoint(&world), "0\n1\nsome 0 42\n");
}

const MAP: ottla_log::partition::MapSize =
    ottla_log::partition::MapSize { bytes_max: 1 << 20, load_factor: 0.9, hash_key: [1; 16] };

/// Damage ends the pass before anything is replaced, takes this partition out of cleaning until it is opened again, and no other.
#[test]
fn damage_is_not_copied() {
    let world = World::new();
    let (bad, good) = (world.open("bad"), world.open("good"));
    write(&bad, 60);
    write(&good, 20);
    let path = bad.path().join("00000000000000000000.log");
    let file = world.host.env().disk().open(&path, OpenMode::Write).unwrap();
    let before = ottla_log::env::read_file(world.host.env().disk().as_ref(), &path, u64::MAX).unwrap();
    file.write_at(&mut [std::io::IoSlice::new(b"#")], 200).unwrap();
    assert_eq!(world.clean().as_deref(), None);
    assert!(bad.is_uncleanable() && !good.is_uncleanable());
    assert_eq!(world.clean().as_deref(), Some("good"));
    assert_eq!(world.clean(), None);
    assert!(!bad.status().offline);
    file.write_at(&mut [std::io::IoSlice::new(&before)], 0).unwrap();
    assert_eq!(records(&bad), 60, "nothing was taken");
    let names = world.host.env().disk().list(bad.path()).unwrap();
    assert!(names.iter().all(|entry| !entry.name.contains("cleaned") && !entry.name.contains("swap")), "{names:?}");
    world.partitions.lock().clear();
    drop(bad);
    world.open("bad");
    assert_eq!(world.clean().as_deref(), Some("bad"));
}

/// Asks again until it holds; what it waits for is done by a thread.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// A thread looks again after the backoff; with an I/O budget a pass takes as long as the budget says; a stop does not wait for it.
#[test]
fn threads_keep_to_backoff_and_budget() {
    let world = World::new();
    let partition = world.open("t");
    write(&partition, 20);
    let source: Arc<dyn PartitionSource> = world.clone();
    let cleaner = Cleaner::start(&world.host, &source, &CleanerConfig { backoff_ms: 1000, ..CleanerConfig::default() });
    wait_until("the first look", || {
        world.clock.turn(1000);
        records(&partition) == 1
    });
    cleaner.stop();

    // Longer than what a pass reads before it asks.
    for _ in 0..60 {
        write(&partition, 30);
    }
    let config = CleanerConfig { backoff_ms: 1000, bytes_per_second_max: 200_000.0, ..CleanerConfig::default() };
    let cleaner = Cleaner::start(&world.host, &source, &config);
    wait_until("a pass under way", || {
        world.clock.turn(1);
        partition.is_being_compacted()
    });
    let mut waited_ms = 0;
    wait_until("the end of the pass", || {
        world.clock.turn(1);
        waited_ms += 1;
        !partition.is_being_compacted()
    });
    // 700 kB, read twice, asked for every 256 KiB.
    assert!(waited_ms > 4_000, "{waited_ms} ms");
    assert_eq!(records(&partition), 1);
    for _ in 0..60 {
        write(&partition, 30);
    }
    wait_until("another pass under way", || {
        world.clock.turn(1);
        partition.is_being_compacted()
    });
    cleaner.stop();
    assert!(!partition.is_being_compacted());
    assert!(records(&partition) > 1, "the pass was given up");
}
