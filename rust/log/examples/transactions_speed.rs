//! What transactions cost a partition that has seen many: `transactions_speed DIRECTORY [transactions] [rounds] [--json]`.
//!
//! Transactions of one record, committed or aborted, first alone and then behind one that stays open. The median of one (batch and marker),
//! of a read of committed records at the tail, and how long opening takes after a clean stop. None of them should grow with what was there
//! before.

mod measure;

use std::sync::Arc;
use std::time::Instant;

use measure::{Arguments, Figures, Outcome, Report};
use ottla_log::batch::{Marker, NewRecord};
use ottla_log::commit::Host;
use ottla_log::env::Env;
use ottla_log::partition::{OpenHint, ReadUpTo};
use ottla_log::{Durability, Identity, Partition, PartitionConfig};

/// The last of so many are the ones that are timed.
const TIMED: usize = 2_000;
const HANGING: i64 = 1;
const PRODUCER: i64 = 2;
const READ_BYTES: u32 = 1 << 20;

fn open(host: &Arc<Host>, path: &std::path::Path, hint: OpenHint) -> Outcome<Arc<Partition>> {
    let config = PartitionConfig { durability: Durability::Os, ..PartitionConfig::default() };
    let identity = Identity { topic: "transactions".into(), topic_id: [1; 16], partition: 0 };
    let (partition, _) = Partition::open(host, path.to_path_buf(), identity, Arc::new(config), 0, hint)?;
    Ok(partition)
}

fn write(partition: &Partition, producer_id: i64) -> Outcome<i64> {
    let record = NewRecord { timestamp_ms: 1_700_000_000_000, key: None, value: Some(b"value"), headers: &[] };
    let guard = partition.start_verification(producer_id, 0, -1);
    Ok(partition.append_in_transaction(&[record], producer_id, 0, guard)?.last_offset)
}

/// Microseconds of each of the last.
fn transactions(partition: &Partition, count: usize, marker: Marker) -> Outcome<Vec<f64>> {
    let mut taken_us = Vec::with_capacity(TIMED);
    for number in 0..count {
        let begun = Instant::now();
        write(partition, PRODUCER)?;
        partition.append_marker(PRODUCER, 0, marker, 0, 0)?;
        if number + TIMED >= count {
            taken_us.push(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(taken_us)
}

fn median(mut taken: Vec<f64>) -> f64 {
    taken.sort_unstable_by(f64::total_cmp);
    taken.get(taken.len() / 2).copied().unwrap_or(0.0)
}

fn round(host: &Arc<Host>, path: &std::path::Path, count: usize, marker: Marker) -> Outcome<Figures> {
    let partition = open(host, path, OpenHint::default())?;
    let first_us = median(transactions(&partition, TIMED, marker)?);
    let alone_us = median(transactions(&partition, count, marker)?);
    let end = partition.offsets().last_stable;
    let mut reads = Vec::with_capacity(TIMED);
    for _ in 0..TIMED {
        let begun = Instant::now();
        partition.read(end - 1, READ_BYTES, ReadUpTo::LastStable, true)?;
        reads.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    let open_at = write(&partition, HANGING)?;
    let behind_us = median(transactions(&partition, count, marker)?);
    if partition.offsets().last_stable != open_at {
        return Err(format!("committed up to {}", partition.offsets().last_stable).into());
    }
    partition.append_marker(HANGING, 0, marker, 0, 0)?;
    let end = partition.offsets().log_end;
    partition.close()?;
    drop(partition);
    let begun = Instant::now();
    let partition = open(host, path, OpenHint { clean: true, recovery_point: end, ..OpenHint::default() })?;
    let open_ms = begun.elapsed().as_secs_f64() * 1e3;
    if partition.offsets().last_stable != end {
        return Err(format!("opened up to {}", partition.offsets().last_stable).into());
    }
    Ok(vec![
        ("first_us", first_us),
        ("alone_us", alone_us),
        ("behind_open_us", behind_us),
        ("read_tail_us", median(reads)),
        ("open_ms", open_ms),
    ])
}

fn main() -> Outcome<()> {
    let mut arguments = Arguments::read("usage: transactions_speed DIRECTORY [transactions] [rounds] [--json]");
    let host = Host::new(Env::system(), 0);
    let directory = arguments.directory(host.env().disk())?;
    let (count, rounds) = (arguments.number(50_000)?, arguments.number(3)?);
    let mut report = Report::new(vec![("transactions", count as f64)]);
    for number in 0..rounds {
        for (name, marker) in [("committed", Marker::Commit), ("aborted", Marker::Abort)] {
            let path = directory.path().join(format!("transactions-{number}-{name}"));
            report.add(name, round(&host, &path, count, marker)?);
        }
    }
    report.print(arguments.json);
    Ok(())
}
