//! Several data directories: where a partition goes, and what is refused rather than begun again at 0.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::batch::{Compression, NewRecord};
use ottla_log::cleaner::CleanerConfig;
use ottla_log::commit::HostSettings;
use ottla_log::env::faulty::{Call, EIO, Fault, FaultyDisk};
use ottla_log::env::{Env, VirtualClock};
use ottla_log::maintenance::MaintenanceConfig;
use ottla_log::{AppendError, Durability, PartitionConfig};
use ottla_server::engine::{Engine, EngineOptions};
use ottla_server::image::{PartitionUpdate, TopicUpdate, Update};

fn topic(name: &str, id: u8) -> TopicUpdate {
    let partition =
        PartitionUpdate { index: 0, leader: 1, leader_epoch: 0, partition_epoch: 0, replicas: vec![1], isr: vec![1] };
    TopicUpdate {
        name: name.to_owned(),
        id: [id; 16],
        is_internal: false,
        config: PartitionConfig { durability: Durability::Os, ..PartitionConfig::default() },
        min_insync_replicas: 1,
        partitions: vec![partition],
    }
}

fn publish(engine: &Engine, topics: Vec<TopicUpdate>) {
    publish_all(engine, topics, Vec::new());
}

fn publish_all(engine: &Engine, topics: Vec<TopicUpdate>, deleted: Vec<[u8; 16]>) {
    let (offset, brokers) = (engine.image().offset + 1, Vec::new());
    engine.publish(Update { offset, controller_id: 1, brokers, features: Default::default(), topics, deleted });
}

fn append(engine: &Engine, topic: &str) -> i64 {
    let replica = engine.replica(topic, 0).unwrap();
    let record = NewRecord { timestamp_ms: 1, key: None, value: Some(b"value"), headers: &[] };
    replica.partition().unwrap().append_records(&[record], Compression::None).unwrap().base_offset
}

fn log_end(engine: &Engine, topic: &str) -> i64 {
    engine.replica(topic, 0).unwrap().partition().unwrap().offsets().log_end
}

fn open_all(env: &Env, paths: &[&Path]) -> Result<Engine, AppendError> {
    Engine::open(EngineOptions {
        env: env.clone(),
        data_dirs: paths.iter().map(|path| path.to_path_buf()).collect(),
        node_id: 1,
        cluster_id: Some("cluster".to_owned()),
        host: HostSettings { commit_threads: 0, ..HostSettings::default() },
        maintenance: MaintenanceConfig::default(),
        cleaner: CleanerConfig::default(),
    })
}

fn refusal(env: &Env, paths: &[&Path]) -> String {
    open_all(env, paths).err().map_or_else(|| "it was opened".to_owned(), |error| error.to_string())
}

/// Topic `t` lies in the first of two directories and `u` in the second, each with a record; stopped cleanly.
fn two_directories(env: &Env, one: &Path, two: &Path) {
    let engine = open_all(env, &[one, two]).unwrap();
    publish(&engine, vec![topic("t", 1), topic("u", 2)]);
    append(&engine, "t");
    append(&engine, "u");
    assert_eq!(engine.replica("u", 0).unwrap().path().parent(), Some(two));
    engine.close().unwrap();
}

/// What was deleted does not count: the next partition goes where the fewest are now.
#[test]
fn the_directory_with_the_fewest() {
    let (env, one, two) = (Env::memory(), Path::new("/one"), Path::new("/two"));
    let engine = open_all(&env, &[one, two]).unwrap();
    publish(&engine, vec![topic("t", 1), topic("u", 2), topic("v", 3), topic("w", 4)]);
    publish_all(&engine, vec![topic("x", 5), topic("y", 6)], vec![[2; 16], [4; 16]]);
    let place = |topic: &str| engine.replica(topic, 0).unwrap().path().parent().unwrap().to_owned();
    assert_eq!(["t", "v", "x", "y"].map(place), [one, one, two, two]);
}

/// New partitions go to the directories whose disks work.
#[test]
fn a_directory_that_failed_takes_nothing_new() {
    let disk = FaultyDisk::scratch();
    let faults = disk.faults();
    let env = Env::new(Arc::new(disk), Arc::new(VirtualClock::new(1_700_000_000_000)));
    let engine = open_all(&env, &[Path::new("/one"), Path::new("/two")]).unwrap();
    publish(&engine, vec![topic("t", 1), topic("u", 2)]);
    append(&engine, "u");
    faults.fail(Fault::new(EIO).of(&[Call::Sync]).at("u-0/00000000000000000000.log"));
    faults.fail(Fault::new(EIO).of(&[Call::Sync]).at("u-0/ottla-durable-offset.tmp"));
    engine.replica("u", 0).unwrap().partition().unwrap().flush().unwrap_err();
    assert_eq!(engine.disks().directories_offline, [PathBuf::from("/two")]);
    for (id, name) in (3..).zip(["v", "w", "x"]) {
        publish(&engine, vec![topic(name, id)]);
        assert_eq!(append(&engine, name), 0);
    }
}

/// A directory that was there before and is not now, or is another one: nothing is served, for its partitions would begin again at 0.
/// When it is back everything is; one that is added is taken.
#[test]
fn a_directory_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two, three, aside] = ["one", "two", "three", "aside"].map(|name| folder.path().join(name));
    let env = Env::system();
    two_directories(&env, &one, &two);
    std::fs::rename(&two, &aside).unwrap();
    for paths in [&[one.as_path()][..], &[&one, &two], &[&one, &three]] {
        let words = refusal(&env, paths);
        assert!(words.contains("is its disk mounted"), "{paths:?}: {words}");
    }
    std::fs::remove_dir_all(&two).unwrap();
    std::fs::rename(&aside, &two).unwrap();
    let engine = open_all(&env, &[&one, &two, &three]).unwrap();
    publish(&engine, vec![topic("t", 1), topic("u", 2)]);
    assert_eq!((log_end(&engine, "t"), log_end(&engine, "u")), (1, 1));
    engine.close().unwrap();
    assert!(refusal(&env, &[&one, &two]).contains("is its disk mounted"), "three belongs to them now");
    let meta = one.join("meta.properties");
    for directory in [&one, &two] {
        let meta = directory.join("meta.properties");
        let text = std::fs::read_to_string(&meta).unwrap();
        let line = text.lines().find(|line| line.starts_with("ottla.log.dirs=")).unwrap();
        let (shorter, _) = line.rsplit_once(',').unwrap();
        std::fs::write(&meta, text.replace(line, shorter)).unwrap();
    }
    open_all(&env, &[&one, &two]).unwrap().close().unwrap();
    assert_eq!(std::fs::read_to_string(&meta).unwrap().matches(',').count(), 1);
}

/// The metadata log is looked for in the first directory alone: in another it would be overlooked, and every topic with it.
#[test]
fn the_order_of_the_directories() {
    let (env, one, two) = (Env::memory(), Path::new("/one"), Path::new("/two"));
    two_directories(&env, one, two);
    let words = refusal(&env, &[two, one]);
    assert!(words.contains("/one/__cluster_metadata-0") && words.contains("order"), "{words}");
    assert!(open_all(&env, &[one, two]).is_ok());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A partition in two directories: nobody can tell which one is right. If they belong to different topics of that name it is clear, and
/// the other one is moved aside, whichever directory it lies in.
#[test]
fn a_partition_in_two_directories() {
    for (mine, others) in [("one/t-0", "two/t-0"), ("two/u-0", "one/u-0")] {
        let folder = tempfile::tempdir().unwrap();
        let (env, one, two) = (Env::system(), folder.path().join("one"), folder.path().join("two"));
        two_directories(&env, &one, &two);
        let (mine, others) = (folder.path().join(mine), folder.path().join(others));
        copy(&mine, &others);
        let words = refusal(&env, &[&one, &two]);
        assert!(words.contains("the same partition"), "{words}");
        let owner = others.join("partition.metadata");
        let other_id = "version: 0\ntopic_id: 4ZHfBuCaTYu0xUGNJXpthg";
        std::fs::write(&owner, other_id).unwrap();
        let engine = open_all(&env, &[&one, &two]).unwrap();
        publish(&engine, vec![topic("t", 1), topic("u", 2)]);
        assert_eq!((log_end(&engine, "t"), log_end(&engine, "u")), (1, 1));
        assert!(mine.exists() && !others.exists());
    }
}
