//! A log on a disk whose power can go, and what can be done to it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla_log::batch::builder::{BatchBuilder, BatchShape};
use ottla_log::batch::records::{RecordRef, Records};
use ottla_log::batch::{Compression, NewRecord};
use ottla_log::commit::HostSettings;
use ottla_log::compaction::Unhurried;
use ottla_log::env::{Disk, Env, VirtualClock};
use ottla_log::error::ReadError;
use ottla_log::local::{Batches, CURSOR_HEADER, Follower, LocalDirectory, LocalLog};
use ottla_log::{CleanupPolicy, Durability, PartitionConfig};
use ottla_sim::disk::PowerDisk;

use crate::history::Step;

const NOW_MS: i64 = 1_700_000_000_000;
const PLACE: &str = "/d";
const TOPIC: &str = "orders";

/// A record as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub offset: i64,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// What can be seen of a log by its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub start: i64,
    pub end: i64,
    pub cursors: BTreeMap<String, i64>,
    pub lines: Vec<Line>,
}

impl Seen {
    pub fn of(log: &LocalLog) -> Result<Seen, String> {
        let offsets = log.offsets();
        let lines = read(&mut log.batches(offsets.log_start)).map_err(|error| format!("it cannot be read: {error}"))?;
        let cursors = log.status().cursors.into_iter().collect();
        Ok(Seen { start: offsets.log_start, end: offsets.log_end, cursors, lines })
    }
}

pub fn disk(seed: u64) -> PowerDisk {
    PowerDisk::new(seed, NOW_MS)
}

fn env(disk: &PowerDisk) -> Env {
    Env::new(Arc::new(disk.clone()) as Arc<dyn Disk>, Arc::new(VirtualClock::new(NOW_MS)))
}

pub fn open(disk: &PowerDisk, durability: Durability) -> Option<LocalLog> {
    // Without threads of their own commits happen where they are asked for, the same each time.
    let settings = HostSettings { commit_threads: 0, reserve_bytes: 0, ..HostSettings::default() };
    let directory = LocalDirectory::open(env(disk), Path::new(PLACE), settings, &mut || [7; 16]).ok()?;
    let config = PartitionConfig {
        durability,
        segment_bytes: 450,
        retention_ms: None,
        file_delete_delay_ms: 0,
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        ..PartitionConfig::default()
    };
    // Another incarnation at each opening: whose lock it is held by is told by nothing else.
    let mut hash_key = [1; 16];
    hash_key[..8].copy_from_slice(&disk.operations().to_be_bytes());
    Arc::new(directory).open_log(TOPIC, [9; 16], 0, config, hash_key).ok()
}

pub fn open_follower(disk: &PowerDisk) -> Result<Arc<Follower>, String> {
    Follower::open(env(disk), Path::new(PLACE), Some(TOPIC)).map_err(|error| error.to_string())
}

/// All there is to read by now.
pub fn read(batches: &mut Batches) -> Result<Vec<Line>, ReadError> {
    let mut lines = Vec::new();
    while let Some(batch) = batches.next(i64::MAX)? {
        for view in Records::new(&batch.bytes[batch.at..batch.end], batch.header.record_count) {
            let record = RecordRef::new(&batch.header, view.unwrap());
            let of = |bytes: Option<&[u8]>| bytes.unwrap_or_default().to_vec();
            lines.push(Line { offset: record.offset, key: of(record.key), value: of(record.value) });
        }
    }
    Ok(lines)
}

fn owned(cursors: &[(&str, i64)]) -> Vec<(String, i64)> {
    cursors.iter().map(|(name, position)| ((*name).to_owned(), *position)).collect()
}

/// One batch; its records say how many were appended before them, so that no two are the same.
fn append(log: &LocalLog, records: &[Line], cursors: &[(&str, i64)]) -> Option<()> {
    let texts: Vec<String> = cursors.iter().map(|(name, position)| format!("{name}={position}")).collect();
    let headers: Vec<(&str, Option<&[u8]>)> = texts.iter().map(|text| (CURSOR_HEADER, Some(text.as_bytes()))).collect();
    let mut builder = BatchBuilder::new(BatchShape::plain(Compression::None, 0));
    for (index, record) in records.iter().enumerate() {
        let (key, value) = (Some(&record.key[..]), Some(&record.value[..]));
        let headers = if index + 1 == records.len() { &headers[..] } else { &[] };
        builder.push(&NewRecord { timestamp_ms: NOW_MS, key, value, headers });
    }
    let appended = log.append(&mut builder.finish().unwrap(), &owned(cursors)).ok()?;
    (log.offsets().high_watermark > appended.last_offset).then_some(())
}

/// None: it was not acknowledged. `records` are those of an append.
pub fn take(log: &LocalLog, step: Step, records: &[Line]) -> Option<()> {
    match step {
        Step::Append(_, cursors) => append(log, records, cursors),
        Step::Sync => log.sync().ok(),
        Step::Checkpoint => {
            log.checkpoint();
            Some(())
        }
        Step::Commit(cursors) => log.commit(&owned(cursors)).ok(),
        Step::Forget(name) => log.forget(name).ok().map(|_| ()),
        Step::Delete(offset) => log.delete_before(offset).ok().map(|_| ()),
        // All that there are stay where they are.
        Step::Truncate(offset) => log.truncate(offset, &log.status().cursors).ok(),
        Step::Compact => log.compact(&mut Unhurried).ok().map(|_| ()),
    }
}
