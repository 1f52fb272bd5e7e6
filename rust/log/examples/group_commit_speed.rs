//! What many appenders on one partition gain from sharing syncs: `group_commit_speed [appenders] [appends each] [rounds] [--json]`.
//!
//! Appends a second of one appender alone and of many, each waiting until its record is durable, on a disk in memory whose sync takes
//! 2 ms. Beside them such a sync alone, one after another: the limit of one appender is one append per sync, that of many is all of
//! them in each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench fails by panicking")]

mod measure;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use measure::{Arguments, Outcome, RECORD_BYTES, Report, by_turns};
use ottla_log::batch::{Compression, NewRecord};
use ottla_log::commit::Host;
use ottla_log::env::faulty::FaultyDisk;
use ottla_log::env::{Disk, Env, OpenMode, SystemClock};
use ottla_log::partition::{OpenHint, PartitionObserver};
use ottla_log::{Identity, Offsets, Partition, PartitionConfig, StorageError};
use parking_lot::{Condvar, Mutex};

const SYNC: Duration = Duration::from_millis(2);

#[derive(Default)]
struct Watch {
    high_watermark: Mutex<i64>,
    moved: Condvar,
}

impl PartitionObserver for Watch {
    fn readable_advanced(&self, _partition: &Arc<Partition>, offsets: Offsets) {
        *self.high_watermark.lock() = offsets.high_watermark;
        self.moved.notify_all();
    }
    fn went_offline(&self, _partition: &Arc<Partition>, reason: &StorageError) {
        panic!("{reason}");
    }
}

impl Watch {
    fn wait_for(&self, end: i64) {
        let mut high_watermark = self.high_watermark.lock();
        self.moved.wait_while(&mut high_watermark, |high_watermark| *high_watermark < end);
    }
}

/// Appends a second, and the appends each sync covered.
fn rate(appenders: usize, each: usize) -> (f64, f64) {
    let disk = FaultyDisk::scratch();
    let faults = disk.faults();
    let host = Host::new(Env::new(Arc::new(disk), Arc::new(SystemClock::new())), 4);
    let identity = Identity { topic: "t".into(), topic_id: [7; 16], partition: 0 };
    let config = Arc::new(PartitionConfig::default());
    let opened = Partition::open(&host, PathBuf::from("/data/t-0"), identity, config, 0, OpenHint::default());
    let partition = opened.unwrap().0;
    let watch = Arc::new(Watch::default());
    partition.set_observer(watch.clone());
    let value = vec![b'x'; RECORD_BYTES];
    let append = || {
        let record = NewRecord { timestamp_ms: 1_700_000_000_000, key: None, value: Some(&value), headers: &[] };
        let appended = partition.append_records(&[record], Compression::None).unwrap();
        watch.wait_for(appended.last_offset + 1);
    };
    append();
    faults.slow_syncs(SYNC);
    // The first ones tell the commit how long a sync takes.
    (0..5).for_each(|_| append());
    let syncs = faults.syncs();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..appenders {
            scope.spawn(|| (0..each).for_each(|_| append()));
        }
    });
    let total = (appenders * each) as f64;
    let rate = total / started.elapsed().as_secs_f64();
    let covered = total / (faults.syncs() - syncs) as f64;
    host.stop();
    (rate, covered)
}

/// Syncs a second of the disk and nothing else.
fn limit(count: usize) -> Outcome<f64> {
    let disk = FaultyDisk::scratch();
    disk.create_dir_all(Path::new("/"))?;
    let file = disk.open(Path::new("/raw"), OpenMode::Create)?;
    disk.faults().slow_syncs(SYNC);
    let started = Instant::now();
    for _ in 0..count {
        file.sync_data()?;
    }
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

fn main() -> Outcome<()> {
    let mut arguments = Arguments::read("usage: group_commit_speed [appenders] [appends each] [rounds] [--json]");
    let (appenders, each, rounds) = (arguments.number(32)?, arguments.number(300)?, arguments.number(3)?);
    let mut report = Report::new(vec![
        ("sync_ms", SYNC.as_secs_f64() * 1e3),
        ("appenders", appenders as f64),
        ("record_bytes", RECORD_BYTES as f64),
    ]);
    for round in 0..rounds {
        let ((alone, _), (shared, covered)) = by_turns(round, || Ok(rate(1, each)), || Ok(rate(appenders, each)))?;
        report.add(
            "group_commit",
            vec![
                ("alone_per_s", alone),
                ("shared_per_s", shared),
                ("times", shared / alone),
                ("appends_per_sync", covered),
                ("limit_syncs_per_s", limit(each)?),
            ],
        );
    }
    report.print(arguments.json);
    Ok(())
}
