//! What a look-up takes in logs of 10, 100 and 1,000 segments: `seek_speed DIRECTORY [look-ups] [rounds] [--json]`.
//!
//! Segments of 1 MiB, batches of 16 records of 1 KiB, a record each millisecond. Look-ups go to random places: by offset, as a fetch
//! finds its first batch, and by timestamp, as ListOffsets does. Beside them one read of 4 KiB of a resident page, which is what the
//! machine asks for at the least. The median and the 99th percentile of single calls, in rounds over all logs.

mod measure;

use std::sync::Arc;
use std::time::Instant;

use measure::{Arguments, Figures, Outcome, Random, Report, Scratch};
use ottla_log::batch::{Compression, NewRecord};
use ottla_log::commit::Host;
use ottla_log::env::{Env, OpenMode, read_exact_at};
use ottla_log::partition::{OpenHint, ReadUpTo};
use ottla_log::{Durability, Identity, Partition, PartitionConfig};

const SEGMENTS: [usize; 3] = [10, 100, 1000];
const SEGMENT_BYTES: u32 = 1 << 20;
const BATCH_RECORDS: i64 = 16;
const PAGE_BYTES: usize = 4096;
const RAW_FILES_MAX: usize = 256;
const BEGUN_MS: i64 = 1_700_000_000_000;

/// A partition of so many segments.
fn filled(host: &Arc<Host>, directory: &Scratch, segments: usize) -> Outcome<Arc<Partition>> {
    let config = PartitionConfig {
        segment_bytes: SEGMENT_BYTES,
        durability: Durability::Os,
        retention_ms: None,
        ..PartitionConfig::default()
    };
    let identity = Identity { topic: "seek".into(), topic_id: [1; 16], partition: segments as i32 };
    let path = directory.path().join(format!("seek-{segments}"));
    let (partition, _) = Partition::open(host, path, identity, Arc::new(config), 0, OpenHint::default())?;
    let value = vec![b'v'; 1000];
    let append = |base: i64| -> Outcome<()> {
        let records: Vec<NewRecord<'_>> = (base..base + BATCH_RECORDS)
            .map(|offset| NewRecord {
                timestamp_ms: BEGUN_MS + offset,
                key: Some(b"key"),
                value: Some(&value),
                headers: &[],
            })
            .collect();
        partition.append_records(&records, Compression::None)?;
        Ok(())
    };
    append(0)?;
    let batches = segments as i64 * (i64::from(SEGMENT_BYTES) / partition.size_bytes() as i64);
    (1..batches).try_for_each(|batch| append(batch * BATCH_RECORDS))?;
    Ok(partition)
}

/// Median and 99th percentile of single calls, in microseconds.
fn each_us(count: usize, mut call: impl FnMut() -> Outcome<()>) -> Outcome<(f64, f64)> {
    let mut taken_ns = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        call()?;
        taken_ns.push(begun.elapsed().as_nanos());
    }
    taken_ns.sort_unstable();
    let at = |share: usize| taken_ns[(count - 1) * share / 100] as f64 / 1e3;
    Ok((at(50), at(99)))
}

fn round(host: &Host, partition: &Partition, lookups: usize) -> Outcome<Figures> {
    let mut random = Random::new();
    let end = partition.offsets().high_watermark as u64;
    let (offset_us, offset_p99_us) = each_us(lookups, || {
        let offset = random.below(end) as i64;
        let read = partition.read(offset, 1, ReadUpTo::HighWatermark, true)?;
        let wanted = read.first_offset..read.first_offset + BATCH_RECORDS;
        if !wanted.contains(&offset) {
            return Err(format!("offset {offset} found at {}", read.first_offset).into());
        }
        Ok(())
    })?;
    let (timestamp_us, timestamp_p99_us) = each_us(lookups, || {
        let offset = random.below(end) as i64;
        let found = partition.lookup_timestamp(BEGUN_MS + offset)?.map(|found| found.offset);
        if found != Some(offset) {
            return Err(format!("the time of offset {offset} found at {found:?}").into());
        }
        Ok(())
    })?;
    // Of a great log, from all over it, but no more descriptors than the machine may grant.
    let disk = host.env().disk();
    let logs = disk.list(partition.path())?.into_iter().filter(|entry| entry.name.ends_with(".log"));
    let apart = partition.status().segments.div_ceil(RAW_FILES_MAX);
    let files = logs
        .step_by(apart)
        .map(|entry| Ok(disk.open(&partition.path().join(entry.name), OpenMode::Read)?))
        .collect::<Outcome<Vec<_>>>()?;
    let mut page = [0; PAGE_BYTES];
    let pages = u64::from(SEGMENT_BYTES) / 2 / PAGE_BYTES as u64;
    let (read_us, read_p99_us) = each_us(lookups, || {
        let file = &files[random.below(files.len() as u64) as usize];
        Ok(read_exact_at(file.as_ref(), &mut page, random.below(pages) * PAGE_BYTES as u64)?)
    })?;
    Ok(vec![
        ("segments", partition.status().segments as f64),
        ("offset_us", offset_us),
        ("offset_p99_us", offset_p99_us),
        ("timestamp_us", timestamp_us),
        ("timestamp_p99_us", timestamp_p99_us),
        ("read_page_us", read_us),
        ("read_page_p99_us", read_p99_us),
    ])
}

fn main() -> Outcome<()> {
    let mut arguments = Arguments::read("usage: seek_speed DIRECTORY [look-ups] [rounds] [--json]");
    let host = Host::new(Env::system(), 0);
    let directory = arguments.directory(host.env().disk())?;
    let (lookups, rounds) = (arguments.number(20_000)?, arguments.number(3)?);
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let logs = SEGMENTS.iter().map(|segments| filled(&host, &directory, *segments)).collect::<Outcome<Vec<_>>>()?;
    let mut report = Report::new(vec![
        ("segment_bytes", f64::from(SEGMENT_BYTES)),
        ("batch_records", BATCH_RECORDS as f64),
        ("lookups", lookups as f64),
        ("descriptors_max", descriptors.map_or(-1.0, |limit| limit as f64)),
    ]);
    // The first look at each segment opens its files.
    for partition in &logs {
        round(&host, partition, lookups)?;
    }
    for _ in 0..rounds {
        for partition in &logs {
            report.add("seek", round(&host, partition, lookups)?);
        }
    }
    report.print(arguments.json);
    Ok(())
}
