//! What both kinds of benches measure: partitions on the real disk, and what is done to them. Time is measured by `engine.rs`,
//! instructions by `instructions.rs`.

#![allow(clippy::unwrap_used, reason = "a bench fails by panicking")]
#![allow(dead_code, reason = "neither uses all of it")]

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_log::batch::builder::{BatchShape, build};
use ottla_log::batch::{Compression, NewRecord, header};
use ottla_log::commit::Host;
use ottla_log::compaction::Unhurried;
use ottla_log::env::Env;
use ottla_log::index::offset::{ENTRY_BYTES, OffsetIndex};
use ottla_log::partition::{AppendOptions, MapSize, OpenHint, Origin, ReadUpTo};
use ottla_log::{CleanupPolicy, Durability, Identity, Partition, PartitionConfig};
use tempfile::TempDir;

pub const BATCH_RECORDS: usize = 64;
const VALUE_BYTES: usize = 1000;
const SMALL_BATCH_RECORDS: i64 = 1000;
const SMALL_VALUE_BYTES: usize = 100;
const BEGUN_MS: i64 = 1_700_000_000_000;

/// A partition in a directory of its own, and a batch to append to it. On a disk, so that what the kernel does is no instruction of ours.
pub struct Scene {
    pub partition: Arc<Partition>,
    pub batch: Vec<u8>,
    path: PathBuf,
    host: Arc<Host>,
    _directory: TempDir,
}

/// A partition of so many batches of 64 records; `segment_bytes` decides how many segments that is. Keys come again in the second half.
pub fn filled(batches: usize, segment_bytes: u32, compact: bool) -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::new(Env::system(), 0);
    let config = PartitionConfig {
        segment_bytes,
        durability: Durability::Os,
        retention_ms: None,
        cleanup_policy: CleanupPolicy { delete: !compact, compact },
        ..PartitionConfig::default()
    };
    let identity = Identity { topic: "t".into(), topic_id: [7; 16], partition: 0 };
    let path = directory.path().join("t-0");
    let opened = Partition::open(&host, path.clone(), identity, Arc::new(config), 0, OpenHint::default());
    let partition = opened.unwrap().0;
    let value = vec![b'v'; VALUE_BYTES];
    let half = (batches * BATCH_RECORDS / 2).max(1);
    let mut batch = Vec::new();
    for number in 0..batches.max(1) {
        let first = number * BATCH_RECORDS;
        let keys: Vec<String> = (first..first + BATCH_RECORDS).map(|record| format!("{:012}", record % half)).collect();
        let records: Vec<NewRecord<'_>> = keys
            .iter()
            .zip(first as i64..)
            .map(|(key, offset)| NewRecord {
                timestamp_ms: BEGUN_MS + offset,
                key: Some(key.as_bytes()),
                value: Some(&value),
                headers: &[],
            })
            .collect();
        batch = build(BatchShape::plain(Compression::None, -1), &records).unwrap();
        if batches > 0 {
            partition.append(&mut batch.clone(), Origin::Client, AppendOptions::default()).unwrap();
        }
    }
    Scene { partition, batch, path, host, _directory: directory }
}

/// The same with a batch of many small records without keys: what a producer that batches sends.
pub fn with_small_records(mut scene: Scene) -> Scene {
    let value = [b'v'; SMALL_VALUE_BYTES];
    let record =
        |number: i64| NewRecord { timestamp_ms: BEGUN_MS + number / 10, key: None, value: Some(&value), headers: &[] };
    let records: Vec<NewRecord<'_>> = (0..SMALL_BATCH_RECORDS).map(record).collect();
    scene.batch = build(BatchShape::plain(Compression::None, -1), &records).unwrap();
    scene
}

/// As it arrives from the network: a frame whose offset is 0.
pub fn append(scene: &mut Scene, times: usize) {
    for _ in 0..times {
        header::place(&mut scene.batch, 0, -1);
        black_box(scene.partition.append(&mut scene.batch, Origin::Client, AppendOptions::default()).unwrap());
    }
}

/// Where a fetch from `offset` begins.
pub fn read(scene: &Scene, offset: i64) {
    black_box(scene.partition.read(offset, 1 << 20, ReadUpTo::HighWatermark, true).unwrap());
}

/// ListOffsets by the time of the record at `offset`.
pub fn find_time(scene: &Scene, offset: i64) {
    black_box(scene.partition.lookup_timestamp(BEGUN_MS + offset).unwrap().unwrap());
}

/// Offsets far from each other, none where a batch begins.
pub fn scattered(scene: &Scene, count: i64) -> impl Iterator<Item = i64> + use<> {
    let end = scene.partition.offsets().high_watermark;
    (1..=count).map(move |number| number * 7_919 % end)
}

/// The index of the first segment as it lies on the disk.
pub fn closed_index(scene: &Scene) -> OffsetIndex {
    let names = scene.host.env().disk().list(&scene.path).unwrap();
    let entry = names.into_iter().find(|entry| entry.name.ends_with(".index")).unwrap();
    assert!(entry.length >= 100 * ENTRY_BYTES as u64, "{entry:?}");
    OffsetIndex::closed(0, scene.path.join(entry.name), entry.length)
}

/// The binary search alone.
pub fn search(scene: &Scene, index: &mut OffsetIndex, target: i64) {
    black_box(index.lookup(scene.host.env().disk().as_ref(), target).unwrap());
}

/// One pass over all but the active segment.
pub fn compact(scene: &Scene) {
    let size = MapSize { bytes_max: 16 << 20, load_factor: 0.9, hash_key: [3; 16] };
    let done = scene.partition.compact(size, &mut Unhurried).unwrap().unwrap();
    assert!(done.stats.records_kept < done.stats.records_read, "{:?}", done.stats);
    black_box(done);
}

/// Ready for [`compact`]: everything is in closed segments.
pub fn compactable(batches: usize) -> Scene {
    let scene = filled(batches, 4 << 20, true);
    scene.partition.roll().unwrap();
    scene
}
