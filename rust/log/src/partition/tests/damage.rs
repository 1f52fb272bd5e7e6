//! Bits that changed on the disk, region by region, and who finds that out.
//!
//! ```text
//! batch, bytes 0-20    recovery: framing, magic, order of offsets, epochs; a broken length costs up to the next index entry
//! batch, byte 21 on    recovery and embedded reads: the checksum
//! snapshot             its checksum: an older one and more of the log
//! epoch checkpoint     its form, and the batches: one that does not fit them is made anew
//! ```

use std::io::IoSlice;

use proptest::prelude::*;

use super::*;
use crate::batch::BatchHeader;
use crate::batch::header::MAGIC_AT;
use crate::env::{OpenMode, read_file};
use crate::error::ReadError;
use crate::segment::names as segment_names;

/// Where in a batch that field lies.
const LAST_OFFSET_DELTA: std::ops::Range<usize> = 23..27;
const EPOCH: std::ops::Range<usize> = 12..16;
const BITS: [u8; 3] = [0x01, 0x10, 0x80];

/// Five segments of idempotent batches, closed cleanly; how many records.
fn written() -> (Bench, i64) {
    let mut bench = Bench::small();
    bench.config.segment_bytes = 500;
    bench.config.index_interval_bytes = 150;
    let partition = bench.open();
    partition.set_leader_epoch(2).unwrap();
    for sequence in 0..20 {
        send(&partition, batch(producer(1, 0, sequence), &["some value"])).unwrap();
    }
    assert!(partition.status().segments >= 4);
    partition.close().unwrap();
    (bench, 20)
}

fn files(bench: &Bench, suffix: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let disk = bench.host.env().disk();
    let found = names(bench).into_iter().filter(|name| name.ends_with(suffix)).map(|name| bench.path().join(name));
    found.map(|path| (path.clone(), read_file(disk.as_ref(), &path, u64::MAX).unwrap())).collect()
}

fn put(bench: &Bench, path: &std::path::Path, bytes: &[u8]) {
    let file = bench.host.env().disk().open(path, OpenMode::Truncate).unwrap();
    file.write_at(&mut [std::io::IoSlice::new(bytes)], 0).unwrap();
}

fn flipped(bytes: &[u8], at: usize, bit: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= bit;
    bytes
}

/// Where the batches of a log begin.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(header) = bytes.get(at..).and_then(BatchHeader::read) {
        found.push(at);
        at += header.total_bytes().unwrap() as usize;
    }
    found
}

/// Saves the directory, and puts it back.
fn saved(bench: &Bench) -> impl Fn() {
    let (disk, path, all) = (bench.host.env().disk().clone(), bench.path(), files(bench, ""));
    move || {
        disk.remove_dir_all(&path).unwrap();
        disk.create_dir_all(&path).unwrap();
        for (path, bytes) in &all {
            let file = disk.open(path, OpenMode::Create).unwrap();
            file.write_at(&mut [std::io::IoSlice::new(bytes)], 0).unwrap();
        }
    }
}

/// Recovery cuts the log before the batch with the flipped bit, wherever in the batch it is, and says which file and byte. Only the last
/// batch stays if nothing but its epoch changed: then there is the checkpoint alone to say so.
#[test]
fn recovery_finds_every_flipped_bit_of_a_batch() {
    let (bench, count) = written();
    let restore = saved(&bench);
    let logs = files(&bench, ".log");
    for (number, (path, bytes)) in logs.iter().enumerate() {
        let starts = starts(bytes);
        for at in 0..bytes.len() {
            let start = *starts.iter().rfind(|start| **start <= at).unwrap();
            let expected = BatchHeader::read(&bytes[start..]).unwrap().base_offset;
            for bit in BITS {
                restore();
                put(&bench, path, &flipped(bytes, at, bit));
                let (partition, report) = bench.open_with(OpenHint::default());
                let is_last = number + 1 == logs.len() && start == *starts.last().unwrap();
                let is_negative = (at, bit) == (start + EPOCH.start, 0x80);
                if is_last && EPOCH.contains(&(at - start)) && !is_negative {
                    assert_eq!(partition.offsets().log_end, count, "{report:?}");
                    let place = format!("{} at byte {start}, offset {expected}", path.display());
                    assert!(report.damage[0].contains(&place), "{report:?}");
                    continue;
                }
                let region = format!("{} byte {at} ({} of its batch) ^ {bit:#x}", path.display(), at - start);
                assert_eq!(partition.offsets().log_end, expected, "{region}: {report:?}");
                let place = format!("{} cut at byte {start}, offset {expected}", path.display());
                assert!(report.damage[0].starts_with(&place), "{region}: {report:?}");
                assert_eq!(records(&partition, ReadUpTo::LogEnd).len() as i64, expected, "{region}");
            }
        }
    }
}

/// In a segment that is trusted an embedded read finds damage under the checksum, names the file and the batch, and reads all others.
#[test]
fn reads_find_flipped_bits_under_the_checksum() {
    let (bench, count) = written();
    let restore = saved(&bench);
    let (path, bytes) = files(&bench, ".log").swap_remove(1);
    let starts = starts(&bytes);
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(bytes.len());
        let damaged = BatchHeader::read(&bytes[*start..]).unwrap().base_offset;
        // The checksum itself, and all that it covers.
        for at in start + MAGIC_AT + 1..end {
            restore();
            put(&bench, &path, &flipped(&bytes, at, 0x10));
            let (partition, report) = bench.open_with(Bench::clean());
            assert_eq!((partition.offsets().log_end, report.damage.len()), (count, 0));
            for offset in 0..count {
                match partition.for_each_record(offset, 1, ReadUpTo::LogEnd, |_| {}) {
                    Ok(next) => assert!(offset != damaged && next == offset + 1, "byte {at}: offset {offset} read"),
                    Err(ReadError::Storage(StorageError::Corrupt { position, .. })) => {
                        // A wrong last offset makes the batch claim those of others.
                        let claims_others = LAST_OFFSET_DELTA.contains(&(at - start));
                        assert!(offset == damaged || claims_others, "byte {at}: offset {offset}");
                        assert_eq!(position, *start as u64, "byte {at}");
                    }
                    Err(error) => panic!("byte {at}: offset {offset}: {error}"),
                }
            }
        }
    }
}

/// A length that is wrong hides what lies between it and the next index entry, in its own segment, and no more.
#[test]
fn a_broken_length_costs_up_to_the_next_index_entry() {
    let (bench, count) = written();
    let restore = saved(&bench);
    let (path, bytes) = files(&bench, ".log").swap_remove(1);
    let index = read_file(bench.host.env().disk().as_ref(), &path.with_extension("index"), 1000).unwrap();
    let indexed: Vec<usize> =
        index.chunks(8).map(|entry| u32::from_be_bytes(entry[4..].try_into().unwrap()) as usize).collect();
    assert!(!indexed.is_empty());
    let starts = starts(&bytes);
    let first = BatchHeader::read(&bytes).unwrap().base_offset;
    for (number, start) in starts.iter().enumerate() {
        for at in start + 8..start + 12 {
            restore();
            put(&bench, &path, &flipped(&bytes, at, 0x10));
            let partition = bench.open_with(Bench::clean()).0;
            let next_entry = indexed.iter().find(|position| *position > start).copied().unwrap_or(bytes.len());
            for offset in 0..count {
                let position = usize::try_from(offset - first).ok().and_then(|place| starts.get(place));
                let is_hidden = position.is_some_and(|position| (*start..next_entry).contains(position));
                if !is_hidden {
                    let read = partition.read(offset, 1, ReadUpTo::LogEnd, true);
                    let read =
                        read.unwrap_or_else(|error| panic!("batch {number}, byte {at}, offset {offset}: {error}"));
                    assert_eq!(read.first_offset, offset, "batch {number}, byte {at}");
                }
            }
        }
    }
}

/// No bit of a snapshot can change what is known of a producer.
#[test]
fn snapshots_notice_every_flipped_bit() {
    let (bench, count) = written();
    let restore = saved(&bench);
    for (path, bytes) in files(&bench, ".snapshot") {
        for at in 0..bytes.len() {
            for hint in [Bench::clean(), OpenHint::default(), OpenHint { recovery_point: 19, ..OpenHint::default() }] {
                restore();
                put(&bench, &path, &flipped(&bytes, at, 0x10));
                let partition = bench.open_with(hint).0;
                let last = send(&partition, batch(producer(1, 0, 19), &["some value"])).unwrap();
                assert_eq!((last.base_offset, last.duplicate), (count - 1, true), "{} byte {at}", path.display());
                let ahead = send(&partition, batch(producer(1, 0, 21), &["some value"]));
                assert!(
                    matches!(ahead, Err(AppendError::OutOfOrderSequence(_))),
                    "{} byte {at}: {ahead:?}",
                    path.display()
                );
            }
        }
    }
}

/// The epoch checkpoint has no checksum: what is wrong with it costs no record, and is put right where a batch tells.
#[test]
fn flipped_bits_of_the_epoch_checkpoint() {
    let (bench, count) = written();
    let restore = saved(&bench);
    let (path, bytes) = files(&bench, "leader-epoch-checkpoint").swap_remove(0);
    for at in 0..bytes.len() {
        for bit in BITS {
            for hint in [Bench::clean(), OpenHint::default()] {
                restore();
                put(&bench, &path, &flipped(&bytes, at, bit));
                let (partition, report) = bench.open_with(hint);
                let found = records(&partition, ReadUpTo::LogEnd);
                assert_eq!(found.len() as i64, count, "byte {at} ^ {bit:#x}: {report:?}");
                assert_eq!(send_values(&partition, &["on"]).base_offset, count);
                // A wrong start says nothing of the batches before it.
                let known = partition.state.read().epochs.entries().to_vec();
                assert!(matches!(known[..], [(2, 0..20)]), "byte {at} ^ {bit:#x}: {known:?}, {report:?}");
            }
        }
    }
}

/// A log start behind the end of a log that was closed cleanly is a wrong checkpoint: no record goes for it. After a crash it is what a
/// power cut leaves of a log whose records were deleted up to there.
#[test]
fn a_log_start_behind_the_end() {
    for clean in [true, false] {
        let bench = Bench::small();
        let partition = bench.open();
        for _ in 0..20 {
            send_values(&partition, &["one"]);
        }
        partition.close().unwrap();
        drop(partition);
        let hint = OpenHint { clean, recovery_point: 20, log_start: 80, cleaned: None };
        let (partition, report) = bench.open_with(hint);
        let offsets = partition.offsets();
        let expected = if clean { (0, 20) } else { (80, 80) };
        assert_eq!((offsets.log_start, offsets.log_end), expected, "{report:?}");
        assert_eq!(records(&partition, ReadUpTo::LogEnd).len(), if clean { 20 } else { 0 });
        assert_eq!(report.damage.len(), usize::from(clean), "{report:?}");
        assert_eq!(send_values(&partition, &["on"]).base_offset, expected.1);
    }
}

/// A message of the time before record batches, whole.
fn old_message(offset: i64, magic: u8) -> Vec<u8> {
    let mut rest = vec![magic, 0];
    if magic > 0 {
        rest.extend(T0.to_be_bytes());
    }
    rest.extend((-1i32).to_be_bytes());
    rest.extend(60i32.to_be_bytes());
    rest.extend([b'x'; 60]);
    let mut message = offset.to_be_bytes().to_vec();
    message.extend((rest.len() as i32 + 4).to_be_bytes());
    message.extend((crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &rest) as u32).to_be_bytes());
    message.extend(rest);
    message
}

/// Messages of formats 0 and 1 cannot be served, but nobody cuts them off, after whatever stop: the partition does not open. One that is
/// not whole is damage.
#[test]
fn messages_of_old_formats() {
    for (magic, bit, hint) in
        [(0, 0, OpenHint::default()), (1, 0, OpenHint::default()), (1, 0, Bench::clean()), (1, 1, OpenHint::default())]
    {
        let bench = Bench::small();
        let partition = bench.open();
        for _ in 0..3 {
            send_values(&partition, &["one"]);
        }
        partition.close().unwrap();
        drop(partition);
        let disk = bench.host.env().disk();
        let file = disk.open(&segment_names::file(&bench.path(), 0, segment_names::LOG), OpenMode::Write).unwrap();
        let length = file.length().unwrap();
        let mut message = old_message(3, magic);
        message[40] ^= bit;
        file.write_at(&mut [IoSlice::new(&message)], length).unwrap();
        let identity = Identity { topic: "t".into(), topic_id: [7; 16], partition: 0 };
        let config = Arc::new(bench.config.clone());
        let opened = Partition::open(&bench.host, bench.path(), identity, config, 0, hint);
        if bit == 0 {
            let error = opened.err().unwrap().to_string();
            assert!(error.contains(&format!("messages of format {magic}")), "{error}");
            assert_eq!(file.length().unwrap(), length + message.len() as u64);
        } else {
            assert_eq!(opened.unwrap().1.bytes_cut, message.len() as u64);
        }
    }
}

/// A segment that somebody named by the last offsets there are, and a log start there: what still fits is taken, the rest refused, and
/// nothing panics.
#[test]
fn names_at_the_end_of_all_offsets() {
    for far in [i64::MAX, i64::MAX - 1, i64::MAX - 5] {
        for clean in [false, true] {
            for is_segment in [false, true] {
                let bench = Bench::small();
                let disk = bench.host.env().disk();
                disk.create_dir_all(&bench.path()).unwrap();
                let mut hint = OpenHint { clean, ..OpenHint::default() };
                if is_segment {
                    disk.open(&segment_names::file(&bench.path(), far, segment_names::LOG), OpenMode::Create).unwrap();
                } else {
                    hint.log_start = far;
                }
                let (partition, _) = bench.open_with(hint);
                let taken = (0..4).filter(|_| send(&partition, batch(NOBODY, &["a", "b"])).is_ok()).count();
                assert_eq!(taken as i64, (i64::MAX - far) / 2);
                assert!(!Bench::status_is_offline(&partition));
                assert_eq!(records(&partition, ReadUpTo::LogEnd).len(), taken * 2);
                assert_eq!(partition.lookup_timestamp(T0).unwrap().is_some(), taken > 0);
                partition.close().unwrap();
                assert_eq!(bench.open_with(hint).0.offsets().log_end, far + 2 * taken as i64);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever an epoch checkpoint says, no record is lost for it; and if it contradicts a batch that is scanned, the epochs are those of the
    /// batches afterwards, and stay so.
    #[test]
    fn any_epoch_checkpoint(
        said in proptest::collection::btree_map(0..6i32, 0..24i64, 0..5),
        recovery_point in prop_oneof![Just(0i64), Just(20), 1..20i64],
        clean in any::<bool>(),
    ) {
        let mut bench = Bench::small();
        bench.config.segment_bytes = 500;
        let partition = bench.open();
        let mut truth = Vec::new();
        for number in 0..20 {
            if number % 6 == 0 {
                partition.set_leader_epoch(number / 6 + 1).unwrap();
                truth.push((number / 6 + 1, i64::from(number)));
            }
            send_values(&partition, &["some value"]);
        }
        partition.close().unwrap();
        let mut starts: Vec<i64> = said.values().copied().collect();
        starts.sort_unstable();
        let said: Vec<(i32, i64)> = said.keys().copied().zip(starts).collect();
        let path = bench.path().join("leader-epoch-checkpoint");
        crate::checkpoint::write_epochs(bench.host.env().disk().as_ref(), &path, &said).unwrap();
        bench.epoch = 4;
        let hint = OpenHint { clean, recovery_point, ..OpenHint::default() };
        let (partition, report) = bench.open_with(hint);
        prop_assert_eq!(partition.offsets().log_end, 20, "{:?}", report);
        prop_assert_eq!(records(&partition, ReadUpTo::LogEnd).len(), 20);
        let epoch_at = |epochs: &[(i32, i64)], offset: i64| {
            epochs.iter().rfind(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch)
        };
        let contradicts = |offset: &i64| {
            epoch_at(&said, *offset).is_some_and(|epoch| Some(epoch) != epoch_at(&truth, *offset))
        };
        if !clean && (recovery_point..20).any(|offset| contradicts(&offset)) {
            let found = partition.state.read().epochs.entries().to_vec();
            prop_assert_eq!(&found, &truth, "{:?}", report);
            drop(partition);
            let (partition, report) = bench.open_with(hint);
            prop_assert_eq!(report.damage, Vec::<String>::new());
            let found = partition.state.read().epochs.entries().to_vec();
            prop_assert_eq!(&found, &truth);
        }
    }
}
