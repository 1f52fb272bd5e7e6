//! Writes a data directory with one of everything the crate can write, for other programs to read: `write_sample DIRECTORY`.
//!
//! `sample-0` has several segments, every codec, idempotent and transactional batches, one transaction committed, one aborted, one left
//! open; `compacted-0` such batches and tombstones, compacted three times over two days; `plain-0` one batch; `__cluster_metadata-0` feature level records before and after a snapshot. Prints what readers should find.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use ottla_log::batch::builder::{BatchBuilder, BatchShape};
use ottla_log::batch::{Compression, Marker, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NewRecord, header};
use ottla_log::commit::Host;
use ottla_log::compaction::Unhurried;
use ottla_log::directory::DataDirectory;
use ottla_log::env::{Clock, Env, VirtualClock};
use ottla_log::metadata_log::MetadataLog;
use ottla_log::partition::{AppendOptions, MapSize, Origin};
use ottla_log::{CleanupPolicy, Identity, Partition, PartitionConfig};

type Outcome<T> = Result<T, Box<dyn Error>>;

const ROUNDS: i32 = 40;
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

struct Producer {
    id: i64,
    epoch: i16,
    sequence: i32,
    transactional: bool,
}

fn batch(producer: Option<&Producer>, compression: Compression, timestamp_ms: i64, text: &str) -> Outcome<Vec<u8>> {
    let mut builder = BatchBuilder::new(BatchShape {
        compression,
        level: -1,
        attributes: if producer.is_some_and(|producer| producer.transactional) { header::TRANSACTIONAL_BIT } else { 0 },
        producer_id: producer.map_or(NO_PRODUCER_ID, |producer| producer.id),
        producer_epoch: producer.map_or(NO_PRODUCER_EPOCH, |producer| producer.epoch),
        base_sequence: producer.map_or(NO_SEQUENCE, |producer| producer.sequence),
    });
    let (key, value) = (format!("key {text}"), format!("value {text} {}", "and so on ".repeat(20)));
    let headers = [("twice", Some(&b"1"[..])), ("twice", None)];
    builder.push(&NewRecord {
        timestamp_ms,
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        headers: &headers,
    });
    builder.push(&NewRecord { timestamp_ms: timestamp_ms + 1, key: None, value: None, headers: &[] });
    builder.push(&NewRecord { timestamp_ms: timestamp_ms + 2, key: Some(b""), value: Some(b""), headers: &[] });
    builder.finish().ok_or_else(|| "an empty batch".into())
}

fn send(partition: &Partition, producer: Option<&Producer>, compression: Compression, text: &str) -> Outcome<()> {
    let timestamp_ms = partition.host().env().clock().now_ms();
    let mut frame = batch(producer, compression, timestamp_ms, text)?;
    let guard = producer
        .filter(|producer| producer.transactional)
        .and_then(|producer| partition.start_verification(producer.id, producer.epoch, producer.sequence));
    partition.append(&mut frame, Origin::Client, AppendOptions { guard, ..AppendOptions::default() })?;
    Ok(())
}

fn write_partition(directory: &DataDirectory, host: &Arc<Host>) -> Outcome<Arc<Partition>> {
    let config = PartitionConfig { segment_bytes: 8 * 1024, index_interval_bytes: 1024, ..PartitionConfig::default() };
    let identity = Identity { topic: "sample".into(), topic_id: *b"a sample topic 1", partition: 0 };
    let (path, hint) = (directory.partition_path("sample", 0), directory.hint("sample", 0));
    let (partition, _) = Partition::open(host, path, identity, Arc::new(config), 0, hint)?;
    let mut plain = Producer { id: 1000, epoch: 0, sequence: 0, transactional: false };
    let mut committed = Producer { id: 2000, epoch: 1, sequence: 0, transactional: true };
    let mut aborted = Producer { id: 3000, epoch: 2, sequence: 0, transactional: true };
    for (round, compression) in (0..ROUNDS).zip(CODECS.into_iter().cycle()) {
        if round == ROUNDS / 2 {
            partition.set_leader_epoch(3)?;
        }
        send(&partition, None, compression, &format!("of nobody, round {round}"))?;
        for producer in [&mut plain, &mut committed, &mut aborted] {
            send(&partition, Some(producer), compression, &format!("of {}, round {round}", producer.id))?;
            producer.sequence += 3;
        }
        if round % 10 == 9 {
            partition.append_marker(committed.id, committed.epoch, Marker::Commit, 1, 0)?;
            partition.append_marker(aborted.id, aborted.epoch, Marker::Abort, 1, 0)?;
        }
    }
    let open = Producer { id: 4000, epoch: 0, sequence: 0, transactional: true };
    send(&partition, Some(&open), Compression::None, "of a transaction that stays open")?;
    partition.delete_records_before(5)?;
    Ok(partition)
}

/// Keys that repeat, every third a tombstone, in transactions and out of them; after each third of it a pass, a day later.
fn write_compacted(directory: &DataDirectory, env: &Env) -> Outcome<Arc<Partition>> {
    let clock = Arc::new(VirtualClock::new(1_763_700_000_000));
    let host = Host::new(env.with_clock(clock.clone()), 0);
    let config = PartitionConfig {
        segment_bytes: 8 * 1024,
        index_interval_bytes: 1024,
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        ..PartitionConfig::default()
    };
    let identity = Identity { topic: "compacted".into(), topic_id: *b"a compacted one1", partition: 0 };
    let (path, hint) = (directory.partition_path("compacted", 0), directory.hint("compacted", 0));
    let (partition, _) = Partition::open(&host, path, identity, Arc::new(config), 0, hint)?;
    let mut producers = [(1000, false), (2000, true), (3000, true)].map(|(id, transactional)| Producer {
        id,
        epoch: 0,
        sequence: 0,
        transactional,
    });
    for (round, compression) in (0..3 * ROUNDS).zip(CODECS.into_iter().cycle()) {
        clock.turn(1000);
        for producer in &mut producers {
            let shape = BatchShape {
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                base_sequence: producer.sequence,
                attributes: if producer.transactional { header::TRANSACTIONAL_BIT } else { 0 },
                ..BatchShape::plain(compression, -1)
            };
            let mut builder = BatchBuilder::new(shape);
            for record in 0..4 {
                let key = format!("key {}", (round * 7 + record * 5) % 40);
                let value = format!("round {round} of {}", producer.id);
                let value = ((round + record) % 3 > 0).then_some(value.as_bytes());
                builder.push(&NewRecord {
                    timestamp_ms: clock.now_ms(),
                    key: Some(key.as_bytes()),
                    value,
                    headers: &[],
                });
            }
            let mut frame = builder.finish().ok_or("an empty batch")?;
            let guard = if producer.transactional {
                partition.start_verification(producer.id, producer.epoch, producer.sequence)
            } else {
                None
            };
            partition.append(&mut frame, Origin::Client, AppendOptions { guard, ..AppendOptions::default() })?;
            producer.sequence += 4;
        }
        if round % 4 == 3 {
            partition.append_marker(2000, 0, Marker::Commit, 1, 0)?;
            partition.append_marker(3000, 0, Marker::Abort, 1, 0)?;
        }
        if round % ROUNDS == ROUNDS - 1 {
            partition.roll()?;
            let size = MapSize { bytes_max: 1 << 20, load_factor: 0.9, hash_key: [7; 16] };
            partition.compact(size, &mut Unhurried)?.ok_or("nothing was compacted")?;
            clock.turn(24 * 3_600_000);
        }
    }
    Ok(partition)
}

/// A FeatureLevelRecord as the metadata log's values are framed: version 1 of the frame, api key 12, version 0.
fn feature_level(level: u8) -> Vec<u8> {
    let name = b"metadata.version";
    let mut value = vec![1, 12, 0, name.len() as u8 + 1];
    value.extend(name);
    value.extend([0, level, 0]);
    value
}

fn write_metadata(directory: &DataDirectory, host: &Arc<Host>) -> Outcome<MetadataLog> {
    let log = MetadataLog::open(host, directory.path(), directory.node_id(), directory.was_clean())?;
    let now_ms = host.env().clock().now_ms();
    let values: Vec<Vec<u8>> = (7..27).map(feature_level).collect();
    for pair in values.chunks(2) {
        log.append(&pair.iter().map(Vec::as_slice).collect::<Vec<_>>(), now_ms)?;
    }
    log.sync()?;
    let end = log.partition().offsets().high_watermark;
    log.write_snapshot(end, log.leader_epoch(), &[&feature_level(26)], now_ms)?;
    log.append(&[&feature_level(27)], now_ms)?;
    Ok(log)
}

fn main() -> Outcome<()> {
    let path = std::env::args().nth(1).ok_or("usage: write_sample DIRECTORY")?;
    let host = Host::new(Env::system(), 2);
    let mut seed = 0;
    let mut ids = move || {
        seed += 1;
        [seed; 16]
    };
    let directory = DataDirectory::open(&host, Path::new(&path), 1, Some("c2FtcGxlIGNsdXN0ZXIgMQ"), &mut ids)?;
    let sample = write_partition(&directory, &host)?;
    let compacted = write_compacted(&directory, host.env())?;
    let identity = Identity { topic: "plain".into(), topic_id: *b"a plain topic 01", partition: 0 };
    let (path, hint) = (directory.partition_path("plain", 0), directory.hint("plain", 0));
    let (plain, _) = Partition::open(&host, path, identity, Arc::new(PartitionConfig::default()), 0, hint)?;
    send(&plain, None, Compression::None, "alone")?;
    let metadata = write_metadata(&directory, &host)?;
    for partition in [&sample, &compacted, &plain] {
        partition.close()?;
    }
    metadata.close()?;
    for partition in [&sample, &compacted, &plain, metadata.partition()] {
        let (identity, status) = (partition.identity(), partition.status());
        println!("{}-{} {:?} segments={}", identity.topic, identity.partition, status.offsets, status.segments);
    }
    let partitions = [sample, compacted, plain, metadata.partition().clone()];
    host.stop();
    directory.close(&partitions)?;
    Ok(())
}
