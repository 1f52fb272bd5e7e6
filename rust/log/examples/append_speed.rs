//! What an append costs beside what the machine asks for: `append_speed DIRECTORY [MiB a round] [rounds] [--json]`.
//!
//! Appends batches of 64 KiB made of 1 KiB records, checks included, unsynced; and does nothing but CRC32C and write with the same
//! bytes. Both in processor time of this thread, new pages of the page cache on both sides; what a round left dirty is synced before
//! the next. Beside it what one append of one record takes, and one read at the tail.

mod measure;

use std::io::IoSlice;
use std::sync::Arc;

use measure::{Arguments, MIB, Outcome, Report, by_turns, cpu_of};
use ottla_log::batch::builder::{BatchShape, build};
use ottla_log::batch::{Compression, NewRecord, header};
use ottla_log::commit::Host;
use ottla_log::env::{Env, OpenMode};
use ottla_log::partition::{AppendOptions, OpenHint, Origin, ReadUpTo};
use ottla_log::{Durability, Identity, Partition, PartitionConfig};

const BATCH_RECORDS: usize = 64;
/// Of the small appends and reads.
const CALLS: usize = 20_000;

fn main() -> Outcome<()> {
    let mut arguments = Arguments::read("usage: append_speed DIRECTORY [MiB a round] [rounds] [--json]");
    let host = Host::new(Env::system(), 0);
    let disk = host.env().disk().clone();
    let directory = arguments.directory(&disk)?;
    let (mebibytes, rounds) = (arguments.number(512)?, arguments.number(5)?);

    let value: Vec<u8> = (0..1000u32).map(|byte| (byte * 31) as u8).collect();
    let now_ms = host.env().clock().now_ms();
    let records =
        [NewRecord { timestamp_ms: now_ms, key: Some(b"key"), value: Some(&value), headers: &[] }; BATCH_RECORDS];
    let batch = build(BatchShape::plain(Compression::None, -1), &records).ok_or("no batch")?;
    let small = build(BatchShape::plain(Compression::None, -1), &records[..1]).ok_or("no batch")?;
    let count = mebibytes * (1 << 20) / batch.len();
    let mib = (count * batch.len()) as f64 / MIB;

    let config = PartitionConfig { durability: Durability::Os, retention_ms: None, ..PartitionConfig::default() };
    let identity = Identity { topic: "speed".into(), topic_id: [1; 16], partition: 0 };
    let path = directory.path().join("speed-0");
    let (partition, _) = Partition::open(&host, path, identity, Arc::new(config), 0, OpenHint::default())?;
    // What the network does: a frame whose offset is 0.
    let append = |frame: &mut [u8]| -> Outcome<()> {
        header::place(frame, 0, -1);
        partition.append(frame, Origin::Client, AppendOptions::default())?;
        Ok(())
    };
    let append_all = || {
        let mut frame = batch.clone();
        cpu_of(|| (0..count).try_for_each(|_| append(&mut frame)))
    };
    let mut report = Report::new(vec![
        ("batch_bytes", batch.len() as f64),
        ("batch_records", BATCH_RECORDS as f64),
        ("mib_per_round", mib),
    ]);
    for round in 0..rounds {
        let raw = disk.open(&directory.path().join(format!("raw-{round}")), OpenMode::Create)?;
        let limit = || {
            cpu_of(|| {
                for number in 0..count {
                    std::hint::black_box(header::checksum(std::hint::black_box(&batch)));
                    raw.write_at(&mut [IoSlice::new(&batch)], (number * batch.len()) as u64)?;
                }
                Ok(())
            })
        };
        let (ours_s, limit_s) = by_turns(round, append_all, limit)?;
        let small_s = cpu_of(|| {
            let mut frame = small.clone();
            (0..CALLS).try_for_each(|_| append(&mut frame))
        })?;
        let read_s = cpu_of(|| {
            for _ in 0..CALLS {
                partition.read(partition.offsets().log_end - 1, 1, ReadUpTo::HighWatermark, true)?;
            }
            Ok(())
        })?;
        report.add(
            "append",
            vec![
                ("append_mib_per_cpu_s", mib / ours_s),
                ("limit_mib_per_cpu_s", mib / limit_s),
                ("ratio", ours_s / limit_s),
                ("append_one_record_us", small_s / CALLS as f64 * 1e6),
                ("read_at_tail_us", read_s / CALLS as f64 * 1e6),
            ],
        );
        raw.sync_data()?;
        partition.flush()?;
    }
    report.print(arguments.json);
    Ok(())
}
