//! What partitions cost that nobody uses: no descriptor, little memory, few looks at the disk, after a clean stop and after a crash.
//!
//! The one test of this file has the process to itself: it counts the process's descriptors and memory. Four times as many descriptors
//! as it may have are asked for when all partitions are written to at once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use ottla_log::batch::{Compression, NewRecord};
use ottla_log::commit::Host;
use ottla_log::directory::DataDirectory;
use ottla_log::env::Env;
use ottla_log::partition::ReadUpTo;
use ottla_log::{Durability, Identity, Partition, PartitionConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const PARTITIONS: i32 = 2000;
/// Of a partition that is open and idle; the bar of the project.
const BYTES_EACH_MAX: u64 = 8 << 10;
const DESCRIPTORS: u64 = 512;

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn directory(host: &Arc<Host>, path: &Path) -> DataDirectory {
    DataDirectory::open(host, path, 1, Some("cluster"), &mut || [3; 16]).unwrap()
}

fn open_all(host: &Arc<Host>, directory: &DataDirectory) -> Vec<Arc<Partition>> {
    let config = Arc::new(PartitionConfig { durability: Durability::Os, ..PartitionConfig::default() });
    let topic: Arc<str> = "idle".into();
    let open = |partition| {
        let identity = Identity { topic: topic.clone(), topic_id: [9; 16], partition };
        let (path, hint) = (directory.partition_path("idle", partition), directory.hint("idle", partition));
        Partition::open(host, path, identity, config.clone(), 0, hint).unwrap().0
    };
    (0..PARTITIONS).map(open).collect()
}

fn append(partition: &Partition) {
    let record = NewRecord { timestamp_ms: 1_700_000_000_000, key: None, value: Some(b"value"), headers: &[] };
    partition.append_records(&[record], Compression::None).unwrap();
}

/// Where a second process of this test finds what the first one left.
const FOLDER: &str = "OTTLA_TEST_FOLDER";

/// Opens what the first process left; a process of its own, so that no memory is there to be used again.
fn reopen(folder: &Path, crashed: bool) {
    let host = Host::new(Env::system(), 0);
    let owner = directory(&host, folder);
    let before = descriptors();
    assert_eq!(owner.was_clean(), !crashed);
    let resident = resident_bytes();
    let partitions = open_all(&host, &owner);
    let each = (resident_bytes() - resident) / PARTITIONS as u64;
    println!("{each} bytes per open, idle partition, crashed: {crashed}");
    assert!((100..BYTES_EACH_MAX).contains(&each), "{each} bytes per partition, crashed: {crashed}");
    assert_eq!(descriptors(), before, "crashed: {crashed}");
    for partition in &partitions {
        assert_eq!(partition.latest(ReadUpTo::HighWatermark).offset, 2);
    }
    // Not stopped: the next one finds a crash, all of it below the recovery points.
    owner.checkpoint(&partitions).unwrap();
}

#[test]
fn idle_partitions_are_cheap() {
    if let Ok(folder) = std::env::var(FOLDER) {
        let (crashed, folder) = folder.split_once(':').unwrap();
        return reopen(Path::new(folder), crashed == "crashed");
    }
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum: hard }).unwrap();
    // Thousands of syncs are not what this is about.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let host = Host::new(Env::system(), 0);
    // Made and written to, all at the same time, with a quarter of the descriptors that would take.
    let owner = directory(&host, folder.path());
    let before = descriptors();
    let partitions = open_all(&host, &owner);
    assert_eq!(descriptors(), before);
    partitions.iter().for_each(|partition| append(partition));
    partitions.iter().rev().for_each(|partition| append(partition));
    assert!(descriptors() < DESCRIPTORS as usize, "{} descriptors", descriptors());
    partitions.iter().for_each(|partition| partition.close().unwrap());
    owner.close(&partitions).unwrap();
    drop(owner);

    for how in ["clean", "crashed", "crashed"] {
        let again = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "idle_partitions_are_cheap", "--nocapture"])
            .env(FOLDER, format!("{how}:{}", folder.path().display()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&again.stdout);
        assert!(again.status.success(), "{said}{}", String::from_utf8_lossy(&again.stderr));
        println!("{}", said.lines().find(|line| line.contains("bytes per")).unwrap());
    }
}
