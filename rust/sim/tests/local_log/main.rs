//! A log of one's own under power cuts: an append and the cursors committed with it are there together or not at all, and what was
//! acknowledged is there, wherever the power goes. Every changing operation of a history is a place to cut, with compaction, truncation,
//! deletion and commits of cursors among them; then the opening after it is cut too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use ottla_log::batch::builder::{BatchBuilder, BatchShape};
use ottla_log::batch::{Compression, NewRecord};
use ottla_log::commit::HostSettings;
use ottla_log::compaction::Unhurried;
use ottla_log::env::{Disk, Env, VirtualClock};
use ottla_log::local::{CURSOR_HEADER, LocalDirectory, LocalLog};
use ottla_log::{CleanupPolicy, PartitionConfig};
use ottla_sim::disk::PowerDisk;

const NOW_MS: i64 = 1_700_000_000_000;

/// What is asked of the log.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// With the cursor `with`, and perhaps with `alone` too.
    Append(i64, Option<i64>),
    Commit(i64),
    Delete(i64),
    Truncate(i64),
    Compact,
}

const HISTORY: [Step; 20] = [
    Step::Append(10, None),
    Step::Append(11, None),
    Step::Commit(1),
    Step::Append(12, None),
    Step::Append(13, Some(500)),
    Step::Compact,
    Step::Append(14, None),
    Step::Commit(2),
    Step::Delete(3),
    Step::Append(15, None),
    Step::Append(16, Some(501)),
    Step::Commit(6),
    Step::Truncate(5),
    Step::Append(17, None),
    Step::Append(18, None),
    Step::Compact,
    Step::Append(19, Some(502)),
    Step::Truncate(6),
    Step::Append(20, None),
    Step::Append(21, Some(503)),
];

/// What can be seen of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    end: i64,
    with: Option<i64>,
    alone: Option<i64>,
}

impl Seen {
    fn of(log: &LocalLog) -> Seen {
        let position = |name| log.cursor(name).map(|cursor| cursor.position);
        Seen { end: log.offsets().log_end, with: position("with"), alone: position("alone") }
    }

    fn after(self, step: Step) -> Seen {
        match step {
            Step::Append(with, alone) => Seen { end: self.end + 1, with: Some(with), alone: alone.or(self.alone) },
            Step::Commit(alone) => Seen { alone: Some(alone), ..self },
            Step::Truncate(end) => Seen { end, ..self },
            Step::Delete(_) | Step::Compact => self,
        }
    }
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

fn append(log: &LocalLog, cursors: &[(String, i64)]) -> Option<()> {
    let texts: Vec<String> = cursors.iter().map(|(name, position)| format!("{name}={position}")).collect();
    let headers: Vec<(&str, Option<&[u8]>)> = texts.iter().map(|text| (CURSOR_HEADER, Some(text.as_bytes()))).collect();
    let key = [b'0' + (log.offsets().log_end % 3) as u8];
    let mut builder = BatchBuilder::new(BatchShape::plain(Compression::None, 0));
    builder.push(&NewRecord { timestamp_ms: NOW_MS, key: Some(&key), value: Some(b"value"), headers: &headers });
    let appended = log.append(&mut builder.finish().unwrap(), cursors).ok()?;
    (log.offsets().high_watermark > appended.last_offset).then_some(())
}

fn take(log: &LocalLog, step: Step) -> Option<()> {
    match step {
        Step::Append(with, alone) => {
            let mut cursors = vec![("with".to_owned(), with)];
            cursors.extend(alone.map(|alone| ("alone".to_owned(), alone)));
            append(log, &cursors)
        }
        Step::Commit(alone) => log.commit(&[("alone".to_owned(), alone)]).ok(),
        Step::Delete(offset) => log.delete_before(offset).ok().map(|_| ()),
        // All that there are stay where they are.
        Step::Truncate(offset) => log.truncate(offset, &log.status().cursors).ok(),
        Step::Compact => log.compact(&mut Unhurried).ok().map(|_| ()),
    }
}

/// Goes on until something fails; how many steps were acknowledged.
fn play(log: &LocalLog, seen: &mut Seen) -> usize {
    for (count, step) in HISTORY.into_iter().enumerate() {
        if take(log, step).is_none() {
            return count;
        }
        *seen = seen.after(step);
    }
    HISTORY.len()
}

/// One history with a cut after so many operations, and one in the opening after it.
fn cut_at(seed: u64, operations: u64, in_recovery: u64) -> Result<(), String> {
    let disk = PowerDisk::new(seed, NOW_MS);
    disk.cut_after(Some(operations));
    let (mut before, mut count) = (Seen::default(), 0);
    if let Some(log) = open(&disk) {
        count = play(&log, &mut before);
        if count == HISTORY.len() {
            let _ = log.close();
        }
    }
    disk.cut_after(None);
    disk.power_on();
    disk.cut_after(Some(in_recovery));
    drop(open(&disk));
    disk.cut_after(None);
    disk.power_on();
    let log = open(&disk).ok_or("it does not open")?;
    // The step that was cut happened or did not. Truncation takes segments one by one.
    let after = HISTORY.get(count).map_or(before, |step| before.after(*step));
    let seen = Seen::of(&log);
    let is_between = (after.end..before.end).contains(&seen.end) && Seen { end: after.end, ..seen } == after;
    if seen != before && seen != after && !is_between {
        return Err(format!("{seen:?}, neither {before:?} nor {after:?}"));
    }
    take(&log, Step::Append(99, None)).ok_or("it does not go on")?;
    let expected = seen.after(Step::Append(99, None));
    drop(log);
    disk.power_on();
    let seen = Seen::of(&open(&disk).ok_or("it does not open again")?);
    if seen == expected { Ok(()) } else { Err(format!("{seen:?}, not {expected:?}, after it went on")) }
}

/// Both or neither, at every cut point.
#[test]
fn an_append_and_its_cursors() {
    let whole = PowerDisk::new(0, NOW_MS);
    let (log, mut seen) = (open(&whole).unwrap(), Seen::default());
    assert_eq!(play(&log, &mut seen), HISTORY.len());
    log.close().unwrap();
    assert_eq!(Seen::of(&open(&whole).unwrap()), seen);

    let (mut failures, mut runs) = (Vec::new(), 0);
    for operations in 0..whole.operations() {
        for seed in 0..3 {
            runs += 1;
            if let Err(what) = cut_at(seed, operations, 5 * seed + operations % 7) {
                failures.push(format!("seed {seed}, cut after {operations}: {what}"));
            }
        }
    }
    println!("{} cut points, {runs} histories, each cut again in the opening after it", whole.operations());
    assert!(runs > 300, "only {runs} runs");
    assert!(failures.is_empty(), "{} of {runs} fail: {:#?}", failures.len(), &failures[..failures.len().min(5)]);
}
