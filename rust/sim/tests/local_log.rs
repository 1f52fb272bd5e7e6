//! A log of one's own under power cuts: an append and the cursors committed with it are there together or not at all, and what was
//! acknowledged is there, wherever the power goes. Every changing operation of a history is a place to cut, with retention, compaction and
//! commits of cursors among them; then the opening after it is cut too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use ottla_log::batch::NewRecord;
use ottla_log::batch::builder::{BatchBuilder, BatchShape};
use ottla_log::commit::HostSettings;
use ottla_log::env::{Disk, Env, VirtualClock};
use ottla_log::local::{CURSOR_HEADER, LocalDirectory, LocalLog};
use ottla_log::{CleanupPolicy, PartitionConfig};
use ottla_sim::disk::PowerDisk;

const NOW_MS: i64 = 1_700_000_000_000;
const APPENDS: i64 = 12;
const COMMITTED_ALONE: i64 = 3;
/// The append that moves the cursor that was committed alone before.
const MOVES_BOTH: i64 = 9;

/// What the history was told.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    end: i64,
    commit_begun: bool,
    committed: bool,
}

fn open(disk: &PowerDisk) -> Option<LocalLog> {
    let clock = Arc::new(VirtualClock::new(NOW_MS));
    let env = Env::new(Arc::new(disk.clone()) as Arc<dyn Disk>, clock);
    // Without threads of their own commits happen where they are asked for, the same each time.
    let settings = HostSettings { commit_threads: 0, reserve_bytes: 0, ..HostSettings::default() };
    let directory = LocalDirectory::open(env, Path::new("/d"), settings, &mut || [7; 16]).ok()?;
    let config = PartitionConfig {
        segment_bytes: 450,
        retention_ms: None,
        file_delete_delay_ms: 0,
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        ..PartitionConfig::default()
    };
    Arc::new(directory).open_log("orders", [9; 16], 0, config, [1; 16]).ok()
}

fn append(log: &LocalLog, number: i64) -> Option<i64> {
    let mut cursors = vec![("with".to_owned(), number + 1)];
    if number == MOVES_BOTH {
        cursors.push(("alone".to_owned(), MOVES_BOTH));
    }
    let texts: Vec<String> = cursors.iter().map(|(name, position)| format!("{name}={position}")).collect();
    let headers: Vec<(&str, Option<&[u8]>)> = texts.iter().map(|text| (CURSOR_HEADER, Some(text.as_bytes()))).collect();
    let key = [b'0' + (number % 3) as u8];
    let mut builder = BatchBuilder::new(BatchShape::plain(ottla_log::batch::Compression::None, 0));
    builder.push(&NewRecord { timestamp_ms: NOW_MS, key: Some(&key), value: Some(b"value"), headers: &headers });
    let appended = log.append(&mut builder.finish().unwrap(), &cursors).ok()?;
    (log.offsets().high_watermark > appended.last_offset).then_some(appended.last_offset + 1)
}

/// Everything, until something fails.
fn play(log: &LocalLog, told: &mut Told) -> Option<()> {
    for number in 0..APPENDS {
        told.end = append(log, number)?;
        match number {
            4 => {
                told.commit_begun = true;
                log.commit(&[("alone".to_owned(), COMMITTED_ALONE)]).ok()?;
                told.committed = true;
            }
            6 => {
                log.delete_before(4).ok()?;
            }
            7 | 10 => {
                log.compact().ok()?;
            }
            _ => {}
        }
    }
    log.close().ok()
}

fn check(log: &LocalLog, told: &Told) -> Result<(), String> {
    let end = log.offsets().log_end;
    let (with, alone) = (log.cursor("with").map(|at| at.position), log.cursor("alone").map(|at| at.position));
    let found = format!("end {end}, with {with:?}, alone {alone:?} after {told:?}");
    if end < told.end {
        return Err(format!("acknowledged and gone: {found}"));
    }
    if with != (end > 0).then_some(end) {
        return Err(format!("an append without its cursor, or a cursor without its append: {found}"));
    }
    let committed = Some(COMMITTED_ALONE);
    let is_right = match alone {
        _ if end > MOVES_BOTH => alone == Some(MOVES_BOTH),
        None => !told.committed,
        _ => told.commit_begun && alone == committed,
    };
    if is_right { Ok(()) } else { Err(format!("the cursor that was committed alone: {found}")) }
}

/// One history with a cut after so many operations, and one in the opening after it.
fn cut_at(seed: u64, operations: u64, in_recovery: u64) -> Result<(), String> {
    let disk = PowerDisk::new(seed, NOW_MS);
    disk.cut_after(Some(operations));
    let mut told = Told::default();
    if let Some(log) = open(&disk) {
        let _ = play(&log, &mut told);
    }
    disk.cut_after(None);
    disk.power_on();
    disk.cut_after(Some(in_recovery));
    drop(open(&disk));
    disk.cut_after(None);
    disk.power_on();
    let log = open(&disk).ok_or("it does not open")?;
    check(&log, &told)?;
    log.close().map_err(|error| error.to_string())?;
    let again = open(&disk).ok_or("it does not open a second time")?;
    check(&again, &told)
}

/// Both or neither, at every cut point.
#[test]
fn an_append_and_its_cursors() {
    let whole = PowerDisk::new(0, NOW_MS);
    let mut told = Told::default();
    play(&open(&whole).unwrap(), &mut told).unwrap();
    check(&open(&whole).unwrap(), &told).unwrap();
    assert_eq!((told.end, told.committed), (APPENDS, true));

    let (mut failures, mut runs) = (Vec::new(), 0);
    for operations in 0..whole.operations() {
        for seed in 0..3 {
            runs += 1;
            if let Err(what) = cut_at(seed, operations, 5 * seed + operations % 7) {
                failures.push(format!("seed {seed}, cut after {operations}: {what}"));
            }
        }
    }
    assert!(runs > 300, "only {runs} runs");
    assert!(failures.is_empty(), "{} of {runs} fail: {:#?}", failures.len(), &failures[..failures.len().min(5)]);
}
