//! How fast a pass of compaction is on one core: 1 KiB records, uncompressed, half of them dead.
//!
//! `cargo run --release -p ottla-log --example compaction_speed [directory] [megabytes] [records a batch]`

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ottla_log::batch::{Compression, NewRecord};
use ottla_log::commit::Host;
use ottla_log::compaction::Unhurried;
use ottla_log::env::Env;
use ottla_log::partition::{MapSize, OpenHint};
use ottla_log::{CleanupPolicy, Durability, Identity, Partition, PartitionConfig};

const VALUE_BYTES: usize = 1024 - 20;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let megabytes: u64 = arguments.next().map_or(512, |text| text.parse().unwrap());
    let batch_records: u64 = arguments.next().map_or(16, |text| text.parse().unwrap());
    let path = directory.join(format!("compaction-speed-{}", std::process::id())).join("t-0");
    let host = Host::new(Env::system(), 0);
    let config = PartitionConfig {
        segment_bytes: 64 << 20,
        durability: Durability::Os,
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        ..PartitionConfig::default()
    };
    let identity = Identity { topic: "t".into(), topic_id: [7; 16], partition: 0 };
    let (partition, _) =
        Partition::open(&host, path.clone(), identity, Arc::new(config), 0, OpenHint::default()).unwrap();
    let count = (megabytes << 20) / 1024;
    // Every key twice, the two far apart: of any batch about half is dead.
    let value = vec![b'v'; VALUE_BYTES];
    let mut seed = 1u64;
    for batch in 0..count / batch_records {
        let keys: Vec<String> = (0..batch_records)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                format!("{:012}", (seed >> 33) % (count * 5 / 8))
            })
            .collect();
        let records: Vec<NewRecord<'_>> = keys
            .iter()
            .map(|key| NewRecord {
                timestamp_ms: 1_700_000_000_000 + batch as i64,
                key: Some(key.as_bytes()),
                value: Some(&value),
                headers: &[],
            })
            .collect();
        partition.append_records(&records, Compression::None).unwrap();
    }
    partition.roll().unwrap();
    partition.flush().unwrap();
    let size = MapSize { bytes_max: 128 << 20, load_factor: 0.9, hash_key: [3; 16] };
    let started = Instant::now();
    let cpu = cpu_seconds();
    let done = partition.compact(size, &mut Unhurried).unwrap().unwrap();
    let (took, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let stats = done.stats;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{:.0} MiB, {batch_records} records a batch, {:.0} % dead: {took:.2} s, {cpu:.2} s of CPU; {:.0} MiB/s of log ({:.0} MiB/s of CPU)",
        mib(stats.bytes_read),
        100.0 - 100.0 * stats.records_kept as f64 / stats.records_read as f64,
        mib(stats.bytes_read) / took,
        mib(stats.bytes_read) / cpu,
    );
    drop(partition);
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

/// Of this thread.
fn cpu_seconds() -> f64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}
