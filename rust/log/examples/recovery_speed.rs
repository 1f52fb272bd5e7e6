//! What a start costs after a crash and after a stop: `recovery_speed DIRECTORY [MiB per partition] [partitions] [idle partitions]`.
//!
//! Writes partitions of 64 KiB batches that nothing was checkpointed of and forgets them, as a kill does; opens them again with two
//! threads and prints scan and sync apart. Then makes idle partitions with a record each, and opens all of them after a clean stop and
//! after a crash.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ottla_log::batch::builder::{BatchShape, build};
use ottla_log::batch::{Compression, NewRecord, header};
use ottla_log::commit::Host;
use ottla_log::directory::DataDirectory;
use ottla_log::env::Env;
use ottla_log::partition::{AppendOptions, Origin, RecoveryReport};
use ottla_log::{Durability, Identity, Partition, PartitionConfig, StorageError};
use parking_lot::Mutex;

type Outcome<T> = Result<T, Box<dyn Error>>;
type Opened = Vec<(Arc<Partition>, RecoveryReport)>;

const THREADS: usize = 2;
const GIB: f64 = (1u64 << 30) as f64;

fn resident_mib() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(kib.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

fn directory(host: &Arc<Host>, path: &Path) -> Result<DataDirectory, StorageError> {
    DataDirectory::open(host, path, 1, Some("cluster"), &mut || [3; 16])
}

/// Opens partitions 0.. of a topic with some threads.
fn open_all(host: &Arc<Host>, owner: &DataDirectory, topic: &str, count: i32) -> Result<Opened, StorageError> {
    let config =
        Arc::new(PartitionConfig { durability: Durability::Os, retention_ms: None, ..PartitionConfig::default() });
    let name: Arc<str> = topic.into();
    let waiting = Mutex::new((0..count).rev().collect::<Vec<i32>>());
    let opened = Mutex::new(Ok(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(partition) = { waiting.lock().pop() } {
                    let identity = Identity { topic: name.clone(), topic_id: [9; 16], partition };
                    let (path, hint) = (owner.partition_path(topic, partition), owner.hint(topic, partition));
                    let result = Partition::open(host, path, identity, config.clone(), 0, hint);
                    match (&mut *opened.lock(), result) {
                        (Ok(opened), Ok(one)) => opened.push(one),
                        (all @ Ok(_), Err(error)) => *all = Err(error),
                        (Err(_), _) => return,
                    }
                }
            });
        }
    });
    opened.into_inner()
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: recovery_speed DIRECTORY [MiB] [partitions] [idle partitions]")?;
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (mebibytes, partitions, idle) = (number(1024)?, number(10)? as i32, number(50_000)? as i32);
    let path = Path::new(&path);
    let host = Host::new(Env::system(), 0);

    let owner = directory(&host, path)?;
    let value: Vec<u8> = (0..1000u32).map(|byte| (byte * 31) as u8).collect();
    let now_ms = host.env().clock().now_ms();
    let records = [NewRecord { timestamp_ms: now_ms, key: Some(b"key"), value: Some(&value), headers: &[] }; 64];
    let mut frame = build(BatchShape::plain(Compression::None, -1), &records).ok_or("no batch")?;
    let busy = open_all(&host, &owner, "busy", partitions)?;
    for _ in 0..mebibytes * (1 << 20) / frame.len() {
        for (partition, _) in &busy {
            header::place(&mut frame, 0, -1);
            partition.append(&mut frame, Origin::Client, AppendOptions::default())?;
        }
    }
    drop((busy, owner));

    let (begun, owner) = (Instant::now(), directory(&host, path)?);
    let busy = open_all(&host, &owner, "busy", partitions)?;
    let wall_s = begun.elapsed().as_secs_f64();
    let bytes: u64 = busy.iter().map(|(_, report)| report.bytes_scanned).sum();
    let thread_s = |of: fn(&RecoveryReport) -> i64| busy.iter().map(|(_, report)| of(report)).sum::<i64>() as f64 / 1e3;
    let (took_s, sync_s) = (thread_s(|report| report.took_ms), thread_s(|report| report.sync_ms));
    let gib = bytes as f64 / GIB;
    println!("recovery of {gib:.2} GiB in {partitions} partitions, {THREADS} threads: {wall_s:.2} s");
    println!(
        "  scan {:.2} s of each thread, {:.2} GiB/s",
        (took_s - sync_s) / THREADS as f64,
        gib / (took_s - sync_s) * THREADS as f64
    );
    println!("  sync {:.2} s of each thread", sync_s / THREADS as f64);
    drop((busy, owner));
    host.env().disk().remove_dir_all(path)?;

    let owner = directory(&host, path)?;
    let made = open_all(&host, &owner, "idle", idle)?;
    let record = NewRecord { timestamp_ms: now_ms, key: None, value: Some(b"value"), headers: &[] };
    for (partition, _) in &made {
        partition.append_records(&[record], Compression::None)?;
    }
    let made: Vec<Arc<Partition>> = made.into_iter().map(|(partition, _)| partition).collect();
    made.iter().try_for_each(|partition| partition.close())?;
    owner.close(&made)?;
    drop((made, owner));
    for how in ["a clean stop", "a crash"] {
        let before_mib = resident_mib()?;
        let (begun, owner) = (Instant::now(), directory(&host, path)?);
        let found = owner.found()?.len();
        let named_s = begun.elapsed().as_secs_f64();
        let all = open_all(&host, &owner, "idle", idle)?;
        let opened_s = begun.elapsed().as_secs_f64();
        let files = std::fs::read_dir("/proc/self/fd")?.count();
        println!(
            "{found} partitions after {how}: found in {named_s:.2} s, all open in {opened_s:.2} s; {:.0} MiB resident, {:.0} before; {files} descriptors",
            resident_mib()?,
            before_mib
        );
        let all: Vec<Arc<Partition>> = all.into_iter().map(|(partition, _)| partition).collect();
        owner.checkpoint(&all)?;
    }
    host.env().disk().remove_dir_all(path)?;
    Ok(())
}
