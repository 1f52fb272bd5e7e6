//! The engine over several lives of a data directory: what counts as a clean stop, what is opened when, and whose files are whose.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/gated_disk.rs"]
#[expect(dead_code, reason = "shared with the tests of durability, which use the rest")]
mod gated_disk;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gated_disk::GatedDisk;
use ottla_log::batch::{Compression, NewRecord};
use ottla_log::cleaner::CleanerConfig;
use ottla_log::commit::HostSettings;
use ottla_log::env::faulty::{Call, EIO, Fault, FaultyDisk};
use ottla_log::env::{Clock, Env, VirtualClock};
use ottla_log::maintenance::MaintenanceConfig;
use ottla_log::{Durability, PartitionConfig};
use ottla_server::engine::{Engine, EngineOptions};
use ottla_server::image::{PartitionUpdate, TopicUpdate, Update};

/// Nothing in a test takes this long.
const PATIENCE: Duration = Duration::from_secs(30);

fn open(env: &Env, path: &Path) -> Engine {
    open_with(env, path, MaintenanceConfig::default())
}

fn open_with(env: &Env, path: &Path, maintenance: MaintenanceConfig) -> Engine {
    let options = EngineOptions {
        env: env.clone(),
        data_dirs: vec![path.to_path_buf()],
        node_id: 1,
        cluster_id: Some("cluster".to_owned()),
        host: HostSettings { commit_threads: 1, ..HostSettings::default() },
        maintenance,
        cleaner: CleanerConfig::default(),
    };
    Engine::open(options).unwrap()
}

fn topic(name: &str, id: u8) -> TopicUpdate {
    let partition =
        PartitionUpdate { index: 0, leader: 1, leader_epoch: 0, partition_epoch: 0, replicas: vec![1], isr: vec![1] };
    TopicUpdate {
        name: name.to_owned(),
        id: [id; 16],
        is_internal: false,
        config: PartitionConfig { durability: Durability::Os, flush_ms: 1000, ..PartitionConfig::default() },
        min_insync_replicas: 1,
        partitions: vec![partition],
    }
}

fn publish(engine: &Engine, topics: Vec<TopicUpdate>, deleted: Vec<[u8; 16]>) {
    let offset = engine.image().offset + 1;
    engine.publish(Update { offset, controller_id: 1, brokers: vec![], features: Default::default(), topics, deleted });
}

fn append(engine: &Engine, topic: &str) -> i64 {
    let replica = engine.replica(topic, 0).unwrap();
    let record = NewRecord { timestamp_ms: 1, key: None, value: Some(b"value"), headers: &[] };
    replica.partition().unwrap().append_records(&[record], Compression::None).unwrap().base_offset
}

fn log_end(engine: &Engine, topic: &str) -> i64 {
    engine.replica(topic, 0).unwrap().partition().unwrap().offsets().log_end
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::yield_now();
    }
}

/// A data directory with three records in topic `t`, whose owner was killed.
fn killed(env: &Env, path: &Path) {
    let engine = open(env, path);
    publish(&engine, vec![topic("t", 1)], vec![]);
    for _ in 0..3 {
        append(&engine, "t");
    }
}

/// A start that fails after a crash, before any partition was looked at, leaves the directory as unclean as it found it.
#[test]
fn a_failed_start_is_no_clean_stop() {
    let (env, path) = (Env::memory(), PathBuf::from("/data"));
    killed(&env, &path);
    open(&env, &path).close().unwrap();
    let engine = open(&env, &path);
    assert!(!engine.was_clean());
    publish(&engine, vec![topic("t", 1)], vec![]);
    assert_eq!(log_end(&engine, "t"), 3);
    engine.close().unwrap();
    // From here on everything was closed: a start that fails changes nothing about that.
    open(&env, &path).close().unwrap();
    assert!(open(&env, &path).was_clean());
}

/// A partition that could not be opened is not marked clean with the others: once it can be, its tail is checked.
#[test]
fn a_partition_that_could_not_be_opened() {
    let directory = tempfile::tempdir().unwrap();
    let (env, path) = (Env::system(), directory.path());
    killed(&env, path);
    let log = path.join("t-0/00000000000000000000.log");
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::File::options().write(true).open(&log).unwrap().set_len(length - 1).unwrap();
    let (epochs, aside) = (path.join("t-0/leader-epoch-checkpoint"), path.join("epochs"));
    std::fs::rename(&epochs, &aside).unwrap();
    std::fs::create_dir(&epochs).unwrap();

    let engine = open(&env, path);
    publish(&engine, vec![topic("t", 1)], vec![]);
    assert!(engine.replica("t", 0).unwrap().partition().is_err());
    engine.close().unwrap();

    std::fs::remove_dir(&epochs).unwrap();
    std::fs::rename(&aside, &epochs).unwrap();
    let engine = open(&env, path);
    assert!(!engine.was_clean());
    publish(&engine, vec![topic("t", 1)], vec![]);
    assert_eq!(log_end(&engine, "t"), 2, "the torn tail is cut");
    assert_eq!(append(&engine, "t"), 2);
    engine.close().unwrap();
    assert!(open(&env, path).was_clean());
}

/// After a clean stop housekeeping opens nothing but for retention: a start costs what is used.
#[test]
fn idle_partitions_stay_closed() {
    let clock = Arc::new(VirtualClock::new(1_700_000_000_000));
    let (env, path) = (Env::memory().with_clock(Arc::clone(&clock) as Arc<dyn Clock>), PathBuf::from("/data"));
    let topics = || vec![topic("busy", 1), topic("idle", 2)];
    let engine = open(&env, &path);
    publish(&engine, topics(), vec![]);
    append(&engine, "idle");
    engine.close().unwrap();
    drop(engine);

    const RETENTION_MS: i64 = 1 << 40;
    let maintenance = MaintenanceConfig { retention_interval_ms: RETENTION_MS, ..MaintenanceConfig::default() };
    let engine = open_with(&env, &path, maintenance);
    assert!(engine.was_clean());
    publish(&engine, topics(), vec![]);
    let (busy, idle) = (engine.replica("busy", 0).unwrap(), engine.replica("idle", 0).unwrap());
    for _ in 0..3 {
        let end = append(&engine, "busy") + 1;
        // Turned again and again: the thread may not have begun to look at the clock.
        wait_until("a flush", || {
            clock.turn(1000);
            busy.opened().unwrap().offsets().durable == end
        });
        assert!(idle.opened().is_none(), "housekeeping opened an idle partition");
    }
    wait_until("retention", || {
        clock.turn(RETENTION_MS);
        idle.opened().is_some()
    });
    assert_eq!(log_end(&engine, "idle"), 1);
}

/// What a topic of the same name left in the way, whose deletion failed or came too late, is moved aside.
#[test]
fn files_in_the_way_of_a_new_topic() {
    let directory = tempfile::tempdir().unwrap();
    let (env, path) = (Env::system(), directory.path());
    let engine = open(&env, path);
    publish(&engine, vec![topic("t", 1)], vec![]);
    append(&engine, "t");
    // The deletion renames it out of the way; put back, it is as if that had failed.
    publish(&engine, vec![], vec![[1; 16]]);
    let names = || std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let deleted = names().find(|name| name.ends_with("-delete")).unwrap();
    std::fs::rename(path.join(deleted), path.join("t-0")).unwrap();

    publish(&engine, vec![topic("t", 2)], vec![]);
    assert_eq!(append(&engine, "t"), 0);
    assert_eq!(names().filter(|name| name.ends_with("-stray")).count(), 1);
}

/// What the checkpoints say of a topic whose deletion was cut short by a crash is not said of the next one of that name: its log would
/// start where the other's did, and hide what was written.
#[test]
fn checkpoints_of_files_in_the_way() {
    let (env, path) = (Env::memory(), PathBuf::from("/data"));
    let engine = open(&env, &path);
    publish(&engine, vec![topic("t", 1)], vec![]);
    for _ in 0..3 {
        append(&engine, "t");
    }
    assert_eq!(engine.delete_records(&[("t".to_owned(), 0, 2)])[0].1, 2);
    drop(engine);
    // The metadata know of the deletion, and of the next topic.
    let engine = open(&env, &path);
    publish(&engine, vec![topic("t", 2)], vec![]);
    for _ in 0..3 {
        append(&engine, "t");
    }
    drop(engine);
    let engine = open(&env, &path);
    publish(&engine, vec![topic("t", 2)], vec![]);
    let offsets = engine.replica("t", 0).unwrap().partition().unwrap().offsets();
    assert_eq!((offsets.log_start, offsets.log_end), (0, 3));
}

/// What is in the way and tells no owner is neither moved nor written into: the partition says what it found.
#[test]
fn a_file_in_the_way_of_a_new_topic() {
    let directory = tempfile::tempdir().unwrap();
    let (env, path) = (Env::system(), directory.path());
    let engine = open(&env, path);
    std::fs::write(path.join("t-0"), "not a directory").unwrap();
    publish(&engine, vec![topic("t", 1)], vec![]);
    assert!(engine.replica("t", 0).unwrap().partition().is_err());
    assert_eq!(std::fs::read_to_string(path.join("t-0")).unwrap(), "not a directory");
}

/// A topic deleted and made again in one publication starts from nothing, and keeps its files.
#[test]
fn deleted_and_made_again_at_once() {
    let (env, path) = (Env::memory(), PathBuf::from("/data"));
    let engine = open(&env, &path);
    publish(&engine, vec![topic("t", 1)], vec![]);
    for _ in 0..5 {
        append(&engine, "t");
    }
    publish(&engine, vec![topic("t", 2)], vec![[1; 16]]);
    assert_eq!(append(&engine, "t"), 0);
    drop(engine);
    let engine = open(&env, &path);
    publish(&engine, vec![topic("t", 2)], vec![]);
    assert_eq!(log_end(&engine, "t"), 1);
}

/// Settings that are published while a partition is being opened hold for it.
#[test]
fn settings_published_during_an_opening() {
    let disk = Arc::new(GatedDisk::default());
    let env = Env::new(disk.clone(), Arc::new(VirtualClock::new(1)));
    let path = PathBuf::from("/data");
    let engine = open(&env, &path);
    publish(&engine, vec![topic("t", 1)], vec![]);
    append(&engine, "t");
    engine.close().unwrap();

    let engine = open(&env, &path);
    publish(&engine, vec![topic("t", 1)], vec![]);
    let replica = engine.replica("t", 0).unwrap();
    disk.listing.hold();
    std::thread::scope(|scope| {
        let opening = scope.spawn(|| Arc::clone(replica.partition().unwrap()));
        disk.listing.await_sync();
        let mut altered = topic("t", 1);
        altered.config.flush_ms = 7;
        altered.partitions[0].leader_epoch = 5;
        publish(&engine, vec![altered], vec![]);
        disk.listing.release();
        let partition = opening.join().unwrap();
        assert_eq!((partition.config().flush_ms, partition.leader_epoch()), (7, 5));
    });
}

/// A produce that comes just behind a deletion makes no directory that would stand in a successor's way.
#[test]
fn nothing_is_made_after_a_deletion() {
    let env = Env::memory();
    let path = PathBuf::from("/data");
    let engine = open(&env, &path);
    publish(&engine, vec![topic("t", 1)], vec![]);
    let replica = engine.replica("t", 0).unwrap();
    publish(&engine, vec![], vec![[1; 16]]);
    assert!(replica.partition().is_err());
    assert!(!env.disk().exists(&path.join("t-0")).unwrap());
}

/// Checkpoints that wait for a slow disk keep nobody from making a topic.
#[test]
fn topics_are_made_while_checkpoints_are_written() {
    let disk = Arc::new(GatedDisk::default());
    let env = Env::new(disk.clone(), Arc::new(VirtualClock::new(1)));
    let engine = open(&env, Path::new("/data"));
    publish(&engine, vec![topic("t", 1)], vec![]);
    append(&engine, "t");
    let partition = Arc::clone(engine.replica("t", 0).unwrap().partition().unwrap());
    disk.checkpoints.hold();
    let made = std::thread::scope(|scope| {
        scope.spawn(|| engine.checkpoint(&[partition]).unwrap());
        disk.checkpoints.await_sync();
        let (tell, told) = std::sync::mpsc::channel();
        let engine = &engine;
        scope.spawn(move || {
            publish(engine, vec![topic("another", 2)], vec![]);
            let _ = tell.send(());
        });
        let made = told.recv_timeout(PATIENCE).is_ok();
        disk.checkpoints.release();
        made
    });
    assert!(made, "the topic waited for the checkpoint");
    assert_eq!(append(&engine, "another"), 0);
}

/// A disk that takes neither a sync nor the note of how far it came takes its directory out of service: every partition there, the metadata
/// log, DescribeLogDirs and `status()` say so. The other directory goes on, and is the only one that counts as stopped cleanly.
#[test]
fn a_directory_that_fails() {
    let disk = Arc::new(FaultyDisk::scratch());
    let faults = disk.faults();
    faults.track();
    let env = Env::new(disk, Arc::new(VirtualClock::new(1_700_000_000_000)));
    let options = || EngineOptions {
        env: env.clone(),
        data_dirs: vec![PathBuf::from("/one"), PathBuf::from("/two")],
        node_id: 1,
        cluster_id: Some("cluster".to_owned()),
        host: HostSettings { commit_threads: 0, ..HostSettings::default() },
        maintenance: MaintenanceConfig::default(),
        cleaner: CleanerConfig::default(),
    };
    let topics = || {
        let named = |(name, id): (&str, u8)| {
            let mut topic = topic(name, id);
            topic.config.durability = Durability::Fsync;
            topic
        };
        [("a", 1), ("b", 2), ("c", 3), ("d", 4)].into_iter().map(named).collect::<Vec<_>>()
    };
    let engine = Engine::open(options()).unwrap();
    publish(&engine, topics(), vec![]);
    let place = |engine: &Engine, name: &str| engine.replica(name, 0).unwrap().path().parent().unwrap().to_owned();
    for name in ["a", "b", "c", "d"] {
        append(&engine, name);
    }
    let in_two: Vec<&str> =
        ["a", "b", "c", "d"].into_iter().filter(|name| place(&engine, name) == Path::new("/two")).collect();
    assert_eq!(in_two.len(), 2);
    let failing = engine.replica(in_two[0], 0).unwrap();
    for name in [".log", "ottla-durable-offset.tmp"] {
        faults.fail(Fault::new(EIO).of(&[Call::Sync]).at(name));
    }
    let record = NewRecord { timestamp_ms: 1, key: None, value: Some(b"lost"), headers: &[] };
    let _ = failing.partition().unwrap().append_records(&[record], Compression::None);
    faults.heal();
    for name in ["a", "b", "c", "d"] {
        let replica = engine.replica(name, 0).unwrap();
        assert_eq!(replica.failure().is_some(), in_two.contains(&name), "{name}");
        let appended = replica.partition().unwrap().append_records(
            &[NewRecord { timestamp_ms: 1, key: None, value: Some(b"value"), headers: &[] }],
            Compression::None,
        );
        assert_eq!(appended.is_err(), in_two.contains(&name), "{name}: {appended:?}");
    }
    let codes: Vec<(PathBuf, i16, usize)> =
        engine.usage().into_iter().map(|usage| (usage.path, usage.code.0, usage.partitions.len())).collect();
    assert_eq!(codes, [(PathBuf::from("/one"), 0, 2), (PathBuf::from("/two"), 56, 0)]);
    let disks = engine.disks();
    assert_eq!((disks.failures, disks.directories_offline), (1, vec![PathBuf::from("/two")]));
    assert!(engine.close().is_err());
    let clean = |path: &str| env.disk().exists(&Path::new(path).join(".kafka_cleanshutdown")).unwrap();
    assert_eq!((clean("/one"), clean("/two")), (true, false));
    let engine = Engine::open(options()).unwrap();
    publish(&engine, topics(), vec![]);
    for name in ["a", "b", "c", "d"] {
        assert_eq!(log_end(&engine, name), if in_two.contains(&name) { 1 } else { 2 }, "{name}");
    }
}

/// After a crash every partition with files is opened at the first publication, in whichever directory it lies and however few threads
/// there are; after a clean stop none is.
#[test]
fn opened_after_a_crash() {
    let env = Env::memory();
    let names: Vec<String> = (0..9).map(|index| format!("t{index}")).collect();
    let life = |recovery_threads| {
        let engine = Engine::open(EngineOptions {
            env: env.clone(),
            data_dirs: ["/one", "/two", "/three"].map(PathBuf::from).to_vec(),
            node_id: 1,
            cluster_id: Some("cluster".to_owned()),
            host: HostSettings { commit_threads: 0, recovery_threads, ..HostSettings::default() },
            maintenance: MaintenanceConfig::default(),
            cleaner: CleanerConfig::default(),
        })
        .unwrap();
        publish(&engine, names.iter().zip(1..).map(|(name, id)| topic(name, id)).collect(), vec![]);
        engine
    };
    let opened =
        |engine: &Engine| names.iter().filter(|name| engine.replica(name, 0).unwrap().opened().is_some()).count();
    let engine = life(1);
    names.iter().for_each(|name| assert_eq!(append(&engine, name), 0));
    drop(engine);
    for threads in [1, 2, 64] {
        assert_eq!(opened(&life(threads)), names.len(), "{threads} threads");
    }
    life(2).close().unwrap();
    assert_eq!(opened(&life(2)), 0);
}

/// Topics that are deleted together cost the disk as many syncs as one.
#[test]
fn deleted_together() {
    let disk = FaultyDisk::scratch();
    let faults = disk.faults();
    let env = Env::new(Arc::new(disk), Arc::new(VirtualClock::new(1_700_000_000_000)));
    let engine = open(&env, Path::new("/data"));
    let names: Vec<String> = (0..20).map(|number| format!("topic-{number}")).collect();
    let topics = || names.iter().zip(1..).map(|(name, id)| topic(name, id));
    publish(&engine, topics().collect(), vec![]);
    for name in &names {
        append(&engine, name);
    }
    let partitions: Vec<_> =
        names.iter().map(|name| Arc::clone(engine.replica(name, 0).unwrap().partition().unwrap())).collect();
    engine.checkpoint(&partitions).unwrap();
    let mut costs = Vec::new();
    for deleted in [1..2, 2..21] {
        faults.trace();
        publish(&engine, vec![], deleted.map(|id| [id; 16]).collect());
        let is_sync = |call: &Call| matches!(call, Call::Sync | Call::SyncDir);
        costs.push(faults.traced().iter().filter(|(call, _)| is_sync(call)).count());
    }
    assert!(costs[0] > 0);
    assert_eq!(costs[0], costs[1]);
    assert!(names.iter().all(|name| engine.replica(name, 0).is_none()));
    engine.close().unwrap();
    // None of what was known of them is there for topics of the same names.
    let engine = open(&env, Path::new("/data"));
    publish(&engine, topics().map(|topic| TopicUpdate { id: [99 + topic.id[0]; 16], ..topic }).collect(), vec![]);
    assert!(names.iter().all(|name| log_end(&engine, name) == 0));
}
