//! Who reads the log from another process while its owner works.

use crate::bench::{self, Seen, take};
use crate::follower::Reader;
use crate::history::{History, SYNCED, Step, UNSYNCED};
use crate::model::Model;

/// After each step: nothing that is not on the disk, everything that is, and who was passed is told.
fn beside_its_owner(history: &History) {
    let disk = bench::disk(0);
    let (log, mut model) = (bench::open(&disk, history.durability).unwrap(), Model::new());
    let (mut reader, mut told) = (Reader::begin(&disk).unwrap(), 0);
    for step in history.steps {
        take(&log, *step, &model.next(*step)).unwrap();
        model = model.after(*step, history.durability);
        model.fit(log.offsets().log_end);
        let durable = log.offsets().durable;
        let mut seen = Seen::of(&log).unwrap();
        model.check(&seen, None).unwrap();
        seen.lines.retain(|line| line.offset < durable);
        if reader.go_on(&seen).map_err(|what| format!("{}, {step:?}: {what}", history.name)).unwrap() {
            told += 1;
            reader = Reader::begin(&disk).unwrap();
            assert!(reader.told.is_none(), "{:?}", reader.told);
            assert_eq!(reader.lines, seen.lines, "{}, {step:?}", history.name);
        }
    }
    assert!(told > 1, "nobody was passed");
}

#[test]
fn what_is_read_beside_the_owner() {
    for history in [SYNCED, UNSYNCED] {
        beside_its_owner(&history);
    }
}

/// Who waits at the end while the log is closed and opened again reads on.
#[test]
fn over_a_clean_stop() {
    let disk = bench::disk(0);
    let (log, mut model) = (bench::open(&disk, SYNCED.durability).unwrap(), Model::new());
    for step in SYNCED.steps {
        take(&log, *step, &model.next(*step)).unwrap();
        model = model.after(*step, SYNCED.durability);
    }
    let mut reader = Reader::begin(&disk).unwrap();
    log.close().unwrap();
    drop(log);
    let log = bench::open(&disk, SYNCED.durability).unwrap();
    let step = Step::Append(2, &[]);
    take(&log, step, &model.next(step)).unwrap();
    assert!(!reader.go_on(&Seen::of(&log).unwrap()).unwrap(), "it was told to begin again");
    assert_eq!(reader.lines, Seen::of(&log).unwrap().lines);
}
