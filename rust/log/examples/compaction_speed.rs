//! How fast a pass of compaction is on one core: `compaction_speed DIRECTORY [MiB] [records a batch] [rounds] [--json]`.
//!
//! Records of 1 KiB, uncompressed, half of them dead, in a log of its own each round. Beside it what the machine asks for at the least:
//! reading these files once with their CRC32C, and writing half as much with its CRC32C. Both are in the page cache and of one thread.

mod measure;

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use measure::{Arguments, MIB, Outcome, RECORD_BYTES, Random, Report, Scratch, cpu_of};
use ottla_log::batch::{Compression, NewRecord, header};
use ottla_log::commit::Host;
use ottla_log::compaction::Unhurried;
use ottla_log::env::{Env, OpenMode};
use ottla_log::partition::{MapSize, OpenHint};
use ottla_log::{CleanupPolicy, Durability, Identity, Partition, PartitionConfig};

/// With key and framing it is a record of 1 KiB.
const VALUE_BYTES: usize = RECORD_BYTES - 20;
const CHUNK_BYTES: usize = 1 << 20;

/// A log in which every key comes twice or so, far apart: of any batch about half is dead.
fn filled(
    host: &Arc<Host>,
    directory: &Scratch,
    round: usize,
    mebibytes: usize,
    batch_records: u64,
) -> Outcome<Arc<Partition>> {
    let config = PartitionConfig {
        segment_bytes: 64 << 20,
        durability: Durability::Os,
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        ..PartitionConfig::default()
    };
    let identity = Identity { topic: "t".into(), topic_id: [7; 16], partition: round as i32 };
    let path = directory.path().join(format!("t-{round}"));
    let (partition, _) = Partition::open(host, path, identity, Arc::new(config), 0, OpenHint::default())?;
    let count = (mebibytes as u64) << 10;
    let value = vec![b'v'; VALUE_BYTES];
    let mut random = Random::new();
    for batch in 0..count / batch_records {
        let keys: Vec<String> = (0..batch_records).map(|_| format!("{:012}", random.below(count * 5 / 8))).collect();
        let records: Vec<NewRecord<'_>> = keys
            .iter()
            .map(|key| NewRecord {
                timestamp_ms: 1_700_000_000_000 + batch as i64,
                key: Some(key.as_bytes()),
                value: Some(&value),
                headers: &[],
            })
            .collect();
        partition.append_records(&records, Compression::None)?;
    }
    partition.roll()?;
    partition.flush()?;
    Ok(partition)
}

/// Reads all of the log and writes half as much.
fn limit(host: &Host, directory: &Scratch, partition: &Partition, round: usize) -> Outcome<()> {
    let disk = host.env().disk();
    let raw = disk.open(&directory.path().join(format!("raw-{round}")), OpenMode::Create)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut written = 0;
    for entry in disk.list(partition.path())?.into_iter().filter(|entry| entry.name.ends_with(".log")) {
        let file = disk.open(&partition.path().join(entry.name), OpenMode::Read)?;
        let mut position = 0;
        loop {
            let read = file.read_at(&mut chunk, position)?;
            if read == 0 {
                break;
            }
            std::hint::black_box(header::checksum(&chunk[..read]));
            let kept = &chunk[..read / 2];
            std::hint::black_box(header::checksum(kept));
            raw.write_at(&mut [IoSlice::new(kept)], written)?;
            position += read as u64;
            written += kept.len() as u64;
        }
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let mut arguments = Arguments::read("usage: compaction_speed DIRECTORY [MiB] [records a batch] [rounds] [--json]");
    let host = Host::new(Env::system(), 0);
    let directory = arguments.directory(host.env().disk())?;
    let (mebibytes, batch_records, rounds) =
        (arguments.number(256)?, arguments.number(16)? as u64, arguments.number(3)?);
    let mut report = Report::new(vec![("record_bytes", RECORD_BYTES as f64), ("batch_records", batch_records as f64)]);
    for round in 0..rounds {
        let partition = filled(&host, &directory, round, mebibytes, batch_records)?;
        // The limit comes first: afterwards the files are others.
        let limit_s = cpu_of(|| limit(&host, &directory, &partition, round))?;
        let size = MapSize { bytes_max: 128 << 20, load_factor: 0.9, hash_key: [3; 16] };
        let begun = Instant::now();
        let mut stats = None;
        let cpu_s = cpu_of(|| {
            stats = partition.compact(size, &mut Unhurried)?.map(|done| done.stats);
            Ok(())
        })?;
        let took_s = begun.elapsed().as_secs_f64();
        let stats = stats.ok_or("nothing was compacted")?;
        let mib = stats.bytes_read as f64 / MIB;
        report.add(
            "compaction",
            vec![
                ("mib_read", mib),
                ("dead_percent", 100.0 - 100.0 * stats.records_kept as f64 / stats.records_read as f64),
                ("mib_per_s", mib / took_s),
                ("mib_per_cpu_s", mib / cpu_s),
                ("limit_mib_per_cpu_s", mib / limit_s),
                ("ratio", cpu_s / limit_s),
            ],
        );
    }
    report.print(arguments.json);
    Ok(())
}
