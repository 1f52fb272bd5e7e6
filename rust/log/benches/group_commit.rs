//! What many appenders on one partition gain from sharing syncs: appends a second of one alone and of 32, each waiting until its record is
//! durable, on a disk whose sync takes 2 ms. `cargo bench -p ottla-log --bench group_commit`; prints one line per number of appenders.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench fails by panicking")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_log::batch::{Compression, NewRecord};
use ottla_log::commit::Host;
use ottla_log::env::faulty::FaultyDisk;
use ottla_log::env::{Env, SystemClock};
use ottla_log::partition::{OpenHint, PartitionObserver};
use ottla_log::{Identity, Offsets, Partition, PartitionConfig, StorageError};
use parking_lot::{Condvar, Mutex};

const SYNC: Duration = Duration::from_millis(2);
const RECORD_BYTES: usize = 1024;

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
    let disk = FaultyDisk::memory();
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

fn main() {
    let (alone, _) = rate(1, 300);
    println!("group commit, a sync of {} ms, {RECORD_BYTES} bytes each:", SYNC.as_millis());
    println!("   1 appender  {alone:8.0} appends/s");
    for appenders in [2, 8, 32] {
        let (rate, covered) = rate(appenders, 300);
        println!(
            "  {appenders:2} appenders {rate:8.0} appends/s  {:5.1}x  {covered:4.1} appends per sync",
            rate / alone
        );
    }
}
