//! What a start costs after a crash and after a stop:
//! `recovery_speed DIRECTORY [MiB per partition] [partitions] [rounds] [idle partitions] [--json]`.
//!
//! Writes partitions of 64 KiB batches that nothing was checkpointed of and forgets them, as a kill does; opens them again with two
//! threads, and tells scan and sync apart; then once more as with durability `fsync`, which compares what memory shows with the disk (what was
//! written is synced by then). Beside it the machine's limit: two threads that read the same files from the page cache with
//! their CRC32C, and the sync of as many new bytes in as many files. Then, if asked for, makes idle partitions with a record each, and
//! opens all of them after a clean stop and after a crash.

mod measure;

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use measure::{Arguments, GIB, MIB, Outcome, Report};
use ottla_log::batch::builder::{BatchShape, build};
use ottla_log::batch::{Compression, NewRecord, header};
use ottla_log::commit::Host;
use ottla_log::directory::DataDirectory;
use ottla_log::env::{Env, OpenMode};
use ottla_log::partition::{AppendOptions, Origin, RecoveryReport};
use ottla_log::{Durability, Identity, Partition, PartitionConfig, StorageError};
use parking_lot::Mutex;

type Opened = Vec<(Arc<Partition>, RecoveryReport)>;

const THREADS: usize = 2;
const CHUNK_BYTES: usize = 1 << 18;

fn resident_mib() -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(kib.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

fn directory(host: &Arc<Host>, path: &Path) -> Result<DataDirectory, StorageError> {
    DataDirectory::open(host, path, 1, Some("cluster"), &mut || [3; 16])
}

/// Does `work` for 0.. with some threads.
fn share<T: Send, E: Send>(count: i32, work: impl Fn(i32) -> Result<T, E> + Sync) -> Result<Vec<T>, E> {
    let waiting = Mutex::new((0..count).rev().collect::<Vec<i32>>());
    let done = Mutex::new(Ok(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(number) = { waiting.lock().pop() } {
                    let result = work(number);
                    match (&mut *done.lock(), result) {
                        (Ok(done), Ok(one)) => done.push(one),
                        (all @ Ok(_), Err(error)) => *all = Err(error),
                        (Err(_), _) => return,
                    }
                }
            });
        }
    });
    done.into_inner()
}

/// Opens partitions 0.. of a topic.
fn open_all(
    host: &Arc<Host>,
    owner: &DataDirectory,
    topic: &str,
    count: i32,
    durability: Durability,
) -> Result<Opened, StorageError> {
    let config = Arc::new(PartitionConfig { durability, retention_ms: None, ..PartitionConfig::default() });
    let name: Arc<str> = topic.into();
    share(count, |partition| {
        let identity = Identity { topic: name.clone(), topic_id: [9; 16], partition };
        let (path, hint) = (owner.partition_path(topic, partition), owner.hint(topic, partition));
        Partition::open(host, path, identity, config.clone(), 0, hint)
    })
}

/// What it takes to read the files of all partitions with their checksum, and to sync as many new bytes.
fn limit(host: &Host, path: &Path, partitions: i32, batch: &[u8], batches: usize) -> Outcome<(f64, f64)> {
    let disk = host.env().disk();
    // Of each thread, as the engine counts it.
    let thread_s = |taken_s: Vec<f64>| taken_s.iter().sum::<f64>() / THREADS as f64;
    let read_s = share(partitions, |partition| {
        let begun = Instant::now();
        let path = path.join(format!("busy-{partition}"));
        let mut chunk = vec![0; CHUNK_BYTES];
        for entry in disk.list(&path)? {
            if entry.name.ends_with(".log") {
                let path = path.join(entry.name);
                let file = disk.open(&path, OpenMode::Read)?;
                let mut position = 0;
                while position < entry.length {
                    let read = file.read_at(&mut chunk, position)?;
                    std::hint::black_box(header::checksum(&chunk[..read]));
                    position += read as u64;
                }
            }
        }
        Ok::<f64, std::io::Error>(begun.elapsed().as_secs_f64())
    })?;
    let raw = (0..partitions)
        .map(|partition| Ok(disk.open(&path.join(format!("raw-{partition}")), OpenMode::Truncate)?))
        .collect::<Outcome<Vec<_>>>()?;
    for number in 0..batches {
        for file in &raw {
            file.write_at(&mut [IoSlice::new(batch)], (number * batch.len()) as u64)?;
        }
    }
    let sync_s = share(partitions, |partition| {
        let begun = Instant::now();
        raw[partition as usize].sync_data()?;
        Ok::<f64, std::io::Error>(begun.elapsed().as_secs_f64())
    })?;
    Ok((thread_s(read_s), thread_s(sync_s)))
}

fn main() -> Outcome<()> {
    let mut arguments = Arguments::read(
        "usage: recovery_speed DIRECTORY [MiB per partition] [partitions] [rounds] [idle partitions] [--json]",
    );
    let host = Host::new(Env::system(), 0);
    let disk = host.env().disk().clone();
    let scratch = arguments.directory(&disk)?;
    let (mebibytes, partitions) = (arguments.number(256)?, arguments.number(10)? as i32);
    let (rounds, idle) = (arguments.number(3)?, arguments.number(0)? as i32);

    let value: Vec<u8> = (0..1000u32).map(|byte| (byte * 31) as u8).collect();
    let now_ms = host.env().clock().now_ms();
    let records = [NewRecord { timestamp_ms: now_ms, key: Some(b"key"), value: Some(&value), headers: &[] }; 64];
    let mut batch = build(BatchShape::plain(Compression::None, -1), &records).ok_or("no batch")?;
    let batches = mebibytes * (1 << 20) / batch.len();
    let mut report = Report::new(vec![
        ("partitions", f64::from(partitions)),
        ("mib_per_partition", (batches * batch.len()) as f64 / MIB),
        ("threads", THREADS as f64),
        ("idle_partitions", f64::from(idle)),
    ]);
    for round in 0..rounds {
        let path = scratch.path().join(format!("round-{round}"));
        let owner = directory(&host, &path)?;
        let busy = open_all(&host, &owner, "busy", partitions, Durability::Os)?;
        for _ in 0..batches {
            for (partition, _) in &busy {
                header::place(&mut batch, 0, -1);
                partition.append(&mut batch, Origin::Client, AppendOptions::default())?;
            }
        }
        drop((busy, owner));

        let (begun, owner) = (Instant::now(), directory(&host, &path)?);
        let busy = open_all(&host, &owner, "busy", partitions, Durability::Os)?;
        let open_s = begun.elapsed().as_secs_f64();
        let gib = busy.iter().map(|(_, report)| report.bytes_scanned).sum::<u64>() as f64 / GIB;
        // Of each thread.
        let thread_s = |of: fn(&RecoveryReport) -> i64| {
            busy.iter().map(|(_, report)| of(report)).sum::<i64>() as f64 / 1e3 / THREADS as f64
        };
        let (took_s, sync_s) = (thread_s(|report| report.took_ms), thread_s(|report| report.sync_ms));
        drop((busy, owner));
        let (begun, owner) = (Instant::now(), directory(&host, &path)?);
        drop((open_all(&host, &owner, "busy", partitions, Durability::Fsync)?, owner));
        let compared_s = begun.elapsed().as_secs_f64();
        let (limit_read_s, limit_sync_s) = limit(&host, &path, partitions, &batch, batches)?;
        report.add(
            "recovery",
            vec![
                ("gib_scanned", gib),
                ("open_s", open_s),
                ("scan_s", took_s - sync_s),
                ("sync_s", sync_s),
                ("scan_gib_per_s", gib / (took_s - sync_s)),
                ("compared_gib_per_s", gib / compared_s),
                ("limit_scan_gib_per_s", gib / limit_read_s),
                ("limit_sync_s", limit_sync_s),
            ],
        );
        disk.remove_dir_all(&path)?;
    }
    if idle > 0 {
        open_idle(&host, &scratch.path().join("idle"), idle, &mut report)?;
    }
    report.print(arguments.json);
    Ok(())
}

/// Many partitions with a record each: how long until all are open, and what they take.
fn open_idle(host: &Arc<Host>, path: &Path, count: i32, report: &mut Report) -> Outcome<()> {
    let owner = directory(host, path)?;
    let made = open_all(host, &owner, "idle", count, Durability::Os)?;
    let now_ms = host.env().clock().now_ms();
    let record = NewRecord { timestamp_ms: now_ms, key: None, value: Some(b"value"), headers: &[] };
    for (partition, _) in &made {
        partition.append_records(&[record], Compression::None)?;
    }
    let made: Vec<Arc<Partition>> = made.into_iter().map(|(partition, _)| partition).collect();
    made.iter().try_for_each(|partition| partition.close())?;
    owner.close(&made)?;
    drop((made, owner));
    for table in ["idle_after_a_stop", "idle_after_a_crash"] {
        let before_mib = resident_mib()?;
        let (begun, owner) = (Instant::now(), directory(host, path)?);
        let found = owner.found()?.len();
        let found_s = begun.elapsed().as_secs_f64();
        let all = open_all(host, &owner, "idle", count, Durability::Fsync)?;
        let open_s = begun.elapsed().as_secs_f64();
        let files = std::fs::read_dir("/proc/self/fd")?.count();
        report.add(
            table,
            vec![
                ("found", found as f64),
                ("found_s", found_s),
                ("open_s", open_s),
                ("resident_mib", resident_mib()?),
                ("resident_before_mib", before_mib),
                ("descriptors", files as f64),
            ],
        );
        let all: Vec<Arc<Partition>> = all.into_iter().map(|(partition, _)| partition).collect();
        owner.checkpoint(&all)?;
    }
    Ok(())
}
