//! Cursors of records that go: what is appended while they are brought to safety, and a disk that fails on the way.

use super::*;
use crate::CleanupPolicy;
use crate::batch::builder::{BatchBuilder, BatchShape};
use crate::batch::{Compression, NewRecord};
use crate::commit::HostSettings;
use crate::compaction::Unhurried;
use crate::env::faulty::{Call, EIO, Fault, Faults, FaultyDisk};
use crate::env::{Env, VirtualClock};
use crate::local::CURSOR_HEADER;

const PLACE: &str = "/d";
/// What the file of cursors is written as.
const UNFINISHED: &str = ".ottla_cursors.tmp";

struct Bench {
    disk: Arc<FaultyDisk>,
    faults: Arc<Faults>,
    config: PartitionConfig,
}

impl Bench {
    fn new(cleanup_policy: CleanupPolicy) -> Bench {
        let disk = Arc::new(FaultyDisk::scratch());
        let faults = disk.faults();
        let config = PartitionConfig {
            cleanup_policy,
            retention_ms: None,
            dirty_ratio_min: 0.0,
            file_delete_delay_ms: 0,
            ..PartitionConfig::default()
        };
        Bench { disk, faults, config }
    }

    /// Without threads that sync; those of housekeeping sleep, as time stands still.
    fn open(&self) -> Arc<LocalLog> {
        let env = Env::new(self.disk.clone(), Arc::new(VirtualClock::new(1_700_000_000_000)));
        let settings = HostSettings { commit_threads: 0, reserve_bytes: 0, ..HostSettings::default() };
        let directory = LocalDirectory::open(env, Path::new(PLACE), settings, &mut || [7; 16]).unwrap();
        Arc::new(Arc::new(directory).open_log("orders", [9; 16], 0, self.config.clone(), [1; 16]).unwrap())
    }
}

/// A record, and where the cursor `c` stands after it.
fn append(log: &LocalLog, key: &str, cursor: Option<Offset>) -> Result<(), AppendError> {
    let text = cursor.map(|position| format!("c={position}"));
    let headers: Vec<(&str, Option<&[u8]>)> = text.iter().map(|text| (CURSOR_HEADER, Some(text.as_bytes()))).collect();
    let mut builder = BatchBuilder::new(BatchShape::plain(Compression::None, 0));
    builder.push(&NewRecord {
        timestamp_ms: 1_700_000_000_000,
        key: Some(key.as_bytes()),
        value: Some(b"v"),
        headers: &headers,
    });
    let cursors: Vec<_> = cursor.map(|position| ("c".to_owned(), position)).into_iter().collect();
    log.append(&mut builder.finish().unwrap(), &cursors).map(|_| ())
}

/// While the cursors known so far are written: one more, with a record that can go at once.
fn while_saving(bench: &Bench, log: &Arc<LocalLog>) {
    let log = log.clone();
    bench.faults.when_opened(UNFINISHED, move || {
        append(&log, "k", Some(5)).unwrap();
        append(&log, "k", None).unwrap();
        log.partition().roll().unwrap();
        log.sync().unwrap();
    });
}

/// The process is killed; where the cursor stands when the log is opened again.
fn killed(bench: &Bench, log: Arc<LocalLog>) -> Option<Offset> {
    assert!(!bench.faults.has_hook(), "nothing was appended meanwhile");
    assert_eq!(Arc::strong_count(&log), 1);
    drop(log);
    bench.open().cursor("c").map(|cursor| cursor.position)
}

fn begun(bench: &Bench) -> Arc<LocalLog> {
    let log = bench.open();
    append(&log, "k", Some(1)).unwrap();
    append(&log, "other", None).unwrap();
    log.partition().roll().unwrap();
    log
}

const COMPACT: CleanupPolicy = CleanupPolicy { delete: false, compact: true };
const DELETE: CleanupPolicy = CleanupPolicy { delete: true, compact: false };

#[test]
fn acknowledged_while_it_is_compacted() {
    let bench = Bench::new(COMPACT);
    let log = begun(&bench);
    while_saving(&bench, &log);
    log.compact(&mut Unhurried).unwrap();
    assert_eq!(killed(&bench, log), Some(5));
}

/// By the thread that cleans in the background, killed before it notes what it did.
#[test]
fn acknowledged_while_it_is_cleaned() {
    let bench = Bench::new(COMPACT);
    let log = begun(&bench);
    while_saving(&bench, &log);
    let size = MapSize { bytes_max: 1 << 20, load_factor: MAP_LOAD_FACTOR, hash_key: [1; 16] };
    for partition in log.inner.compacted() {
        partition.compact(size, &mut Unhurried).unwrap();
    }
    assert_eq!(killed(&bench, log), Some(5));
}

#[test]
fn acknowledged_while_retention_deletes() {
    let mut bench = Bench::new(DELETE);
    bench.config.retention_bytes = Some(0);
    let log = begun(&bench);
    while_saving(&bench, &log);
    for partition in log.inner.with_idle() {
        partition.enforce_retention(log.now_ms()).unwrap();
    }
    assert!(log.offsets().log_start > 0, "what was noted may go");
    assert_eq!(killed(&bench, log), Some(5));
}

/// Who deletes up to an offset means all before it, with what was appended just now.
#[test]
fn acknowledged_while_it_is_deleted() {
    let bench = Bench::new(DELETE);
    let log = begun(&bench);
    while_saving(&bench, &log);
    assert_eq!(log.delete_before(4).unwrap(), 4);
    assert_eq!(killed(&bench, log), Some(5));
}

/// Offsets behind the cut are given again, and the file says that they were looked through: no cursor may come with them.
#[test]
fn cursors_cannot_be_written_after_a_cut() {
    let bench = Bench::new(DELETE);
    let log = bench.open();
    for position in 0..20 {
        append(&log, "k", Some(position)).unwrap();
    }
    log.commit(&[("c".to_owned(), 3)]).unwrap();
    bench.faults.fail(Fault::new(EIO).of(&[Call::Rename]).at(".ottla_cursors").after(1).once());
    assert!(log.truncate(5, &[("c".to_owned(), 3)]).is_err());
    bench.faults.heal();
    let refused = append(&log, "k", Some(9)).unwrap_err();
    assert!(matches!(refused, AppendError::Storage(StorageError::Offline { .. })), "{refused}");
    drop(log);
    let log = bench.open();
    assert_eq!((log.offsets().log_end, log.cursor("c").unwrap().position), (5, 3));
    append(&log, "k", Some(9)).unwrap();
    append(&log, "k", None).unwrap();
    assert_eq!(killed(&bench, log), Some(9));
}
