//! What nobody waits for is written out before it is synced.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::Offsets;
use crate::commit::HostSettings;
use crate::env::faulty::{Call, EIO, Fault};
use crate::partition::PartitionObserver;

/// A partition in `os` mode with some closed segments, nothing of them synced.
fn with_segments(threads: usize) -> (Bench, Arc<Faults>, Arc<Partition>) {
    let (mut bench, faults) = brittle(Durability::Os, threads);
    bench.config.segment_bytes = 300;
    let partition = bench.open();
    for _ in 0..10 {
        send_values(&partition, &["a", "b"]);
    }
    assert!(partition.status().segments > 2);
    (bench, faults, partition)
}

/// What is asked for before the stop is done by it, all at once.
fn flush_soon_and_stop(bench: &Bench, faults: &Faults, partition: &Partition) {
    faults.hold(true);
    partition.flush_soon().unwrap();
    faults.wait_until_held();
    faults.hold(false);
    bench.host.stop();
}

/// The logs that were written out and synced since the trace began, in that order.
fn logs(faults: &Faults) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let is_log = |path: &Path| path.extension().is_some_and(|end| end == "log");
    let calls: Vec<_> = faults.traced().into_iter().filter(|(_, path)| is_log(path)).collect();
    let of = |call| calls.iter().filter(|(made, _)| *made == call).map(|(_, path)| path.clone()).collect();
    let last_written = calls.iter().rposition(|(call, _)| *call == Call::WriteOut);
    let first_synced = calls.iter().position(|(call, _)| *call == Call::Sync);
    assert!(last_written.is_none() || last_written < first_synced);
    (of(Call::WriteOut), of(Call::Sync))
}

/// The background flusher has closed segments written out, each before its sync; of the segment that is written to a small tail is left to
/// the sync.
#[test]
fn before_the_sync() {
    let (bench, faults, partition) = with_segments(2);
    faults.trace();
    flush_soon_and_stop(&bench, &faults, &partition);
    let (written, synced) = logs(&faults);
    assert_eq!(written, synced[..synced.len() - 1]);
    assert_eq!(synced.len() as u64, partition.status().segments as u64);
    assert_eq!(partition.offsets().durable, partition.offsets().log_end);
}

/// Who waits for a sync gets it at once: a flush that is asked for, a commit in `fsync` mode, and where there is no thread to spare.
#[test]
fn not_before_one_that_is_waited_for() {
    let (bench, faults, partition) = with_segments(2);
    faults.trace();
    partition.flush().unwrap();
    partition.set_config(Arc::new(PartitionConfig { durability: Durability::Fsync, ..bench.config.clone() }));
    for _ in 0..10 {
        send_values(&partition, &["c"]);
    }
    bench.host.stop();
    let (written, synced) = logs(&faults);
    assert!(written.is_empty() && synced.len() > 4);

    let (bench, faults, partition) = with_segments(1);
    faults.trace();
    flush_soon_and_stop(&bench, &faults, &partition);
    let (written, synced) = logs(&faults);
    assert!(written.is_empty() && !synced.is_empty());
}

/// Nor where appenders wait for room, which is also somebody.
#[test]
fn not_while_appenders_wait() {
    let disk = FaultyDisk::scratch();
    let faults = disk.faults();
    let clock = Arc::new(VirtualClock::new(T0));
    let settings = HostSettings { commit_threads: 2, flush_wait_bytes: 1000, ..HostSettings::default() };
    let host = Host::with(Env::new(Arc::new(disk), clock.clone()), settings);
    let config = PartitionConfig { durability: Durability::Os, segment_bytes: 300, ..PartitionConfig::default() };
    let bench = Bench { host, clock, config, epoch: 0 };
    let partition = bench.open();
    while !bench.host.is_over() {
        send_values(&partition, &["a", "b"]);
    }
    faults.trace();
    flush_soon_and_stop(&bench, &faults, &partition);
    let (written, synced) = logs(&faults);
    assert!(written.is_empty() && synced.len() > 2);
}

/// A write that fails there is a failed sync: the kernel would not tell of it again.
#[test]
fn a_lost_write_is_told_once() {
    let (bench, faults, partition) = with_segments(2);
    faults.fail(Fault::new(EIO).of(&[Call::WriteOut]).once());
    flush_soon_and_stop(&bench, &faults, &partition);
    assert!(partition.status().offline);
    assert_eq!(partition.offsets().durable, 0);
    assert!(partition.flush().is_err());
}

/// Says how far may be read.
struct Advanced(mpsc::Sender<i64>);

impl PartitionObserver for Advanced {
    fn readable_advanced(&self, _partition: &Arc<Partition>, offsets: Offsets) {
        self.0.send(offsets.high_watermark).unwrap();
    }

    fn went_offline(&self, _partition: &Arc<Partition>, _reason: &StorageError) {}
}

/// However many partitions are to be written out, one at a time is, and a commit that is waited for finds a thread.
#[test]
fn one_at_a_time() {
    let (bench, faults, first) = with_segments(2);
    let open = |name: &str, durability| {
        let identity = Identity { topic: name.into(), topic_id: [8; 16], partition: 0 };
        let config = Arc::new(PartitionConfig { durability, ..bench.config.clone() });
        let path = PathBuf::from(format!("/data/{name}-0"));
        Partition::open(&bench.host, path, identity, config, 0, OpenHint::default()).unwrap().0
    };
    let (second, waited_for) = (open("second", Durability::Os), open("waited", Durability::Fsync));
    for _ in 0..10 {
        send_values(&second, &["a", "b"]);
    }
    // Only what is written out is held: of the third nothing is.
    let (sender, advanced) = mpsc::channel();
    waited_for.set_observer(Arc::new(Advanced(sender)));
    faults.hold_below(Path::new("/data/t-0"));
    first.flush_soon().unwrap();
    faults.wait_until_held();
    second.flush_soon().unwrap();
    send_values(&waited_for, &["now"]);
    assert_eq!(advanced.recv_timeout(Duration::from_secs(60)), Ok(1));
    assert_eq!(second.offsets().durable, 0);
    faults.hold(false);
    bench.host.stop();
    for partition in [&first, &second] {
        assert_eq!(partition.offsets().durable, partition.offsets().log_end);
    }
}
