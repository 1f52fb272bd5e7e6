//! Durability: what the high watermark waits for, who is told, and what a failing disk does.

use parking_lot::Mutex;

use super::*;
use crate::Offsets;
use crate::env::faulty::{Call, EIO, ENOSPC, Fault};
use crate::error::StorageError;
use crate::partition::PartitionObserver;

/// Notes what it is told.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl PartitionObserver for Notes {
    fn readable_advanced(&self, partition: &Arc<Partition>, offsets: Offsets) {
        // Takes the lock: the caller must not hold it.
        assert!(partition.offsets().high_watermark >= offsets.high_watermark);
        self.0.lock().push(format!("{}/{}", offsets.last_stable, offsets.high_watermark));
    }
    fn start_moved(&self, partition: &Arc<Partition>, offsets: Offsets) {
        assert!(partition.offsets().log_start >= offsets.log_start);
        self.0.lock().push(format!("from {}", offsets.log_start));
    }
    fn went_offline(&self, partition: &Arc<Partition>, reason: &StorageError) {
        assert!(partition.status().offline);
        self.0.lock().push(format!("offline: {reason}"));
    }
}

fn offsets_of(partition: &Partition) -> (i64, i64, i64) {
    let offsets = partition.offsets();
    (offsets.durable, offsets.high_watermark, offsets.log_end)
}

/// In `os` mode the high watermark is the log end and nothing is synced until a flush; in `fsync` mode it is what was synced.
#[test]
fn high_watermark_follows_durability() {
    let (bench, _) = brittle(Durability::Os, 0);
    let partition = bench.open();
    send_values(&partition, &["a"]);
    assert_eq!(offsets_of(&partition), (0, 1, 1));
    assert!(partition.unsynced_bytes() > 0);
    partition.flush().unwrap();
    assert_eq!((offsets_of(&partition), partition.unsynced_bytes()), ((1, 1, 1), 0));

    let (bench, _) = brittle(Durability::Fsync, 0);
    let partition = bench.open();
    send_values(&partition, &["a"]);
    assert_eq!(offsets_of(&partition), (1, 1, 1));
}

/// `flush.messages` syncs before the answer, `flush.ms` is due by the clock.
#[test]
fn flush_settings() {
    let (mut bench, _) = brittle(Durability::Os, 0);
    bench.config.flush_messages = 3;
    bench.config.flush_ms = 1000;
    let partition = bench.open();
    send_values(&partition, &["a", "b"]);
    assert_eq!(offsets_of(&partition).0, 0);
    bench.clock.turn(999);
    assert!(!partition.flush_is_due());
    bench.clock.turn(1);
    assert!(partition.flush_is_due());
    send_values(&partition, &["c"]);
    assert_eq!(offsets_of(&partition).0, 3);
    assert!(!partition.flush_is_due());
}

/// The observer hears of every advance, and of every move of the start, without the lock being held.
#[test]
fn observer() {
    for durability in [Durability::Os, Durability::Fsync] {
        let (mut bench, _) = brittle(durability, 0);
        let partition = bench.open();
        let notes = Arc::new(Notes::default());
        partition.set_observer(notes.clone());
        send_values(&partition, &["a"]);
        send_values(&partition, &["b", "c"]);
        assert_eq!(*notes.0.lock(), ["1/1", "3/3"]);
        partition.delete_records_before(2).unwrap();
        partition.delete_records_before(1).unwrap();
        partition.roll().unwrap();
        bench.config.retention_bytes = Some(0);
        partition.set_config(Arc::new(bench.config.clone()));
        partition.enforce_retention(T0).unwrap();
        assert_eq!(notes.0.lock()[2..], ["from 2", "from 3"]);
    }
}

/// A failed sync takes the partition offline at once and for good: nothing is retried, waiters are told, the log end stays unread.
#[test]
fn failed_sync() {
    let (bench, faults) = brittle(Durability::Fsync, 0);
    let partition = bench.open();
    let notes = Arc::new(Notes::default());
    partition.set_observer(notes.clone());
    send_values(&partition, &["a"]);
    faults.fail(Fault::new(EIO).of(&[Call::Sync]));
    send_values(&partition, &["b"]);
    let told = notes.0.lock().clone();
    assert_eq!(told.len(), 2);
    assert!(told[1].starts_with("offline: cannot sync /data/t-0/00000000000000000000.log"), "{told:?}");
    let syncs = faults.syncs();
    faults.heal();
    let error = send(&partition, batch(NOBODY, &["c"])).unwrap_err();
    assert_eq!(error.code(), crate::error::code::KAFKA_STORAGE_ERROR);
    assert!(error.to_string().starts_with("offline: cannot sync"), "{error}");
    assert!(partition.flush().is_err() && partition.close().is_err());
    assert!(partition.read(0, 100, ReadUpTo::HighWatermark, true).is_err());
    assert_eq!(faults.syncs(), syncs, "no sync after the failed one");
    assert!(Bench::status_is_offline(&partition));
}

/// A full disk refuses the append and nothing else: what is there is served, and appends go on when there is room again.
#[test]
fn full_disk() {
    let (bench, faults) = brittle(Durability::Os, 0);
    let partition = bench.open();
    send_values(&partition, &["a"]);
    faults.fail(Fault::new(ENOSPC).of(&[Call::Write]));
    let error = send(&partition, batch(NOBODY, &["b"])).unwrap_err();
    assert_eq!(error.code(), crate::error::code::KAFKA_STORAGE_ERROR);
    assert_eq!(records(&partition, ReadUpTo::LogEnd), [(0, "a".to_owned())]);
    faults.heal();
    assert_eq!(send_values(&partition, &["c"]).base_offset, 1);
    drop(partition);
    assert_eq!(records(&bench.open(), ReadUpTo::LogEnd), [(0, "a".to_owned()), (1, "c".to_owned())]);
}

/// A reader is never shown what lies past its limit, wherever in the segments the high watermark or an open transaction stands.
#[test]
fn limits_hold() {
    for stand in 0..30 {
        let (mut bench, faults) = brittle(Durability::Fsync, 1);
        bench.config.segment_bytes = 1000;
        bench.config.index_interval_bytes = 150;
        let partition = bench.open();
        for index in 0..30 {
            if index == stand {
                partition.flush().unwrap();
                faults.hold(true);
            }
            send_values(&partition, &["v"]);
        }
        let high_watermark = partition.offsets().high_watermark;
        assert_eq!(high_watermark, stand, "the commit is held");
        for (up_to, end) in [(ReadUpTo::HighWatermark, stand), (ReadUpTo::LastStable, stand), (ReadUpTo::LogEnd, 30)] {
            let found = records(&partition, up_to);
            assert_eq!(found.len() as i64, end, "{up_to:?} with the high watermark at {stand}");
            for start in 0..=30 {
                let read = partition.read(start, 500, up_to, true).unwrap();
                assert_eq!(read.slice.is_some(), start < end, "{up_to:?} from {start}");
            }
        }
        faults.hold(false);
        bench.host.stop();
        assert_eq!(offsets_of(&partition), (30, 30, 30));
    }
}

/// Appenders and readers side by side over commit threads: offsets are dense, every reader sees whole batches in order, everything
/// appended becomes durable, and fewer syncs than appends were needed.
#[test]
fn threads() {
    const APPENDERS: i64 = 4;
    const BATCHES: i32 = 200;
    let (mut bench, faults) = brittle(Durability::Fsync, 2);
    bench.config.segment_bytes = 5000;
    bench.config.index_interval_bytes = 500;
    let partition = bench.open();
    let total = APPENDERS * i64::from(BATCHES) * 2;
    std::thread::scope(|scope| {
        for id in 0..APPENDERS {
            let partition = &partition;
            scope.spawn(move || {
                for sequence in 0..BATCHES {
                    let value = format!("{id}:{sequence}");
                    send(partition, batch(producer(id, 0, sequence * 2), &[&value, "second"])).unwrap();
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let mut next = 0;
                while next < total {
                    let from = next;
                    let mut expected = from;
                    next = partition
                        .for_each_record(from, 3000, ReadUpTo::HighWatermark, |record| {
                            assert_eq!(record.offset, expected);
                            expected += 1;
                        })
                        .unwrap();
                    assert_eq!(next, expected);
                    if next == from {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    bench.host.stop();
    assert_eq!(offsets_of(&partition), (total, total, total));
    let by_id = records(&partition, ReadUpTo::HighWatermark);
    for id in 0..APPENDERS {
        let prefix = format!("{id}:");
        let sequences: Vec<String> =
            by_id.iter().filter_map(|(_, value)| value.strip_prefix(&prefix).map(str::to_owned)).collect();
        assert_eq!(sequences, (0..BATCHES).map(|sequence| sequence.to_string()).collect::<Vec<_>>());
    }
    assert!(faults.syncs() > 0);
    drop(partition);
    assert_eq!(bench.open().offsets().log_end, total);
}

/// A topic that becomes `os` while a commit runs: what was appended meanwhile is shown too, though nothing is appended any more.
#[test]
fn from_fsync_to_os_beside_a_commit() {
    let (bench, faults) = brittle(Durability::Fsync, 1);
    let partition = bench.open();
    send_values(&partition, &["first"]);
    partition.flush().unwrap();
    faults.hold(true);
    send_values(&partition, &["a"]);
    faults.wait_until_held();
    send_values(&partition, &["b"]);
    partition.set_config(Arc::new(PartitionConfig { durability: Durability::Os, ..bench.config.clone() }));
    faults.hold(false);
    bench.host.stop();
    assert_eq!(partition.offsets().high_watermark, 3);
}

/// A topic that becomes `fsync`: the housekeeping syncs what was there, though nothing is appended any more.
#[test]
fn from_os_to_fsync() {
    let (bench, _) = brittle(Durability::Os, 0);
    let partition = bench.open();
    send_values(&partition, &["a"]);
    assert!(!partition.flush_is_due());
    partition.set_config(Arc::new(PartitionConfig { durability: Durability::Fsync, ..bench.config.clone() }));
    assert!(partition.flush_is_due());
    partition.flush().unwrap();
    assert_eq!((partition.offsets().durable, partition.flush_is_due()), (1, false));
}
