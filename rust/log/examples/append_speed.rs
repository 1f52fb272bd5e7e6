//! What an append costs beside what the machine asks for: `append_speed DIRECTORY [MiB]`.
//!
//! Appends batches of 64 KiB made of 1 KiB records, checks included, unsynced; then does nothing but CRC32C and write with the same
//! bytes; prints both and their ratio, in CPU time of this thread. Then reads of one batch at random offsets, and look-ups by time.

use std::error::Error;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use ottla_log::batch::builder::{BatchShape, build};
use ottla_log::batch::{Compression, NewRecord, header};
use ottla_log::commit::Host;
use ottla_log::env::{Env, OpenMode};
use ottla_log::partition::{AppendOptions, OpenHint, Origin, ReadUpTo};
use ottla_log::{Durability, Identity, Partition, PartitionConfig};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn measured(what: &str, units: f64, unit: &str, work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    let (cpu, wall) = (cpu_seconds(), std::time::Instant::now());
    work()?;
    let (cpu, wall) = (cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    println!("{what:<34} {:>12.1} {unit}/s of CPU {:>12.1} {unit}/s", units / cpu, units / wall);
    Ok(cpu)
}

fn main() -> Outcome<()> {
    let path = std::env::args().nth(1).ok_or("usage: append_speed DIRECTORY [MiB]")?;
    let mebibytes: usize = std::env::args().nth(2).map_or(Ok(1024), |text| text.parse())?;
    let path = Path::new(&path);
    let host = Host::new(Env::system(), 0);
    let disk = host.env().disk().clone();
    disk.create_dir_all(path)?;
    let value: Vec<u8> = (0..1000u32).map(|byte| (byte * 31) as u8).collect();
    let now_ms = host.env().clock().now_ms();
    let records = [NewRecord { timestamp_ms: now_ms, key: Some(b"key"), value: Some(&value), headers: &[] }; 64];
    let batch = build(BatchShape::plain(Compression::None, -1), &records).ok_or("no batch")?;
    let count = mebibytes * (1 << 20) / batch.len();
    let megabytes = (count * batch.len()) as f64 / 1e6;

    let config = PartitionConfig { durability: Durability::Os, retention_ms: None, ..PartitionConfig::default() };
    let identity = Identity { topic: "speed".into(), topic_id: [1; 16], partition: 0 };
    let hint = OpenHint::default();
    let (partition, _) = Partition::open(&host, path.join("speed-0"), identity, Arc::new(config), 0, hint)?;
    let mut frame = batch.clone();
    let raw = path.join("raw");
    let file = disk.open(&raw, OpenMode::Truncate)?;
    let mut position = 0;
    for _round in 0..3 {
        let ours = measured("append, 64 x 1 KiB", megabytes, "MB", || {
            for _ in 0..count {
                // What the network does: a frame whose offset is 0.
                header::place(&mut frame, 0, -1);
                partition.append(&mut frame, Origin::Client, AppendOptions::default())?;
            }
            Ok(())
        })?;
        let limit = measured("CRC32C and write", megabytes, "MB", || {
            for _ in 0..count {
                std::hint::black_box(header::checksum(std::hint::black_box(&batch)));
                file.write_at(&mut [IoSlice::new(&batch)], position)?;
                position += batch.len() as u64;
            }
            Ok(())
        })?;
        println!("{:<34} {:>12.2}", "ratio", ours / limit);
    }

    let end = partition.offsets().high_watermark;
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as i64 % end
    };
    measured("find a random offset", 1.0, "100k", || {
        for _ in 0..100_000 {
            partition.read(random(), 1, ReadUpTo::HighWatermark, true)?;
        }
        Ok(())
    })?;
    let small = build(BatchShape::plain(Compression::None, -1), &records[..1]).ok_or("no batch")?;
    measured("append one record", 1.0, "100k", || {
        let mut frame = small.clone();
        for _ in 0..100_000 {
            header::place(&mut frame, 0, -1);
            partition.append(&mut frame, Origin::Client, AppendOptions::default())?;
        }
        Ok(())
    })?;
    measured("read at the tail", 1.0, "100k", || {
        for _ in 0..100_000 {
            partition.read(partition.offsets().log_end - 1, 1, ReadUpTo::HighWatermark, true)?;
        }
        Ok(())
    })?;
    disk.remove_dir_all(&path.join("speed-0"))?;
    disk.remove_file(&raw)?;
    Ok(())
}
