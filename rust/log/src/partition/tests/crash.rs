//! Files cut anywhere: a reopened log is always a prefix of what was written, never an error.

use super::*;
use crate::batch::Marker;
use crate::env::OpenMode;

/// A log of three segments with idempotent, transactional and packed batches, closed cleanly. Its records and its files.
fn written() -> (Bench, Vec<(i64, String)>) {
    let mut bench = Bench::small();
    bench.config.segment_bytes = 600;
    let partition = bench.open();
    partition.set_leader_epoch(1).unwrap();
    for index in 0..12 {
        let compression = if index % 3 == 0 { Compression::Lz4 } else { Compression::None };
        send(&partition, batch_at(producer(1, 0, index * 2), compression, T0 + i64::from(index), &["first", "second"]))
            .unwrap();
        if index == 4 {
            let guard = partition.start_verification(2, 0, 0);
            let options = AppendOptions { guard, ..AppendOptions::default() };
            partition.append(&mut batch(transaction(2, 0, 0), &["aborted"]), Origin::Client, options).unwrap();
            partition.append_marker(2, 0, Marker::Abort, 0, 0).unwrap();
        }
    }
    assert_eq!(partition.status().segments, 3);
    let all = records(&partition, ReadUpTo::LogEnd);
    partition.close().unwrap();
    (bench, all)
}

/// Everything in the directory, to be put back.
fn save(bench: &Bench) -> Vec<(String, Vec<u8>)> {
    let disk = bench.host.env().disk();
    names(bench)
        .into_iter()
        .map(|name| {
            let bytes = crate::env::read_file(disk.as_ref(), &bench.path().join(&name), u64::MAX).unwrap();
            (name, bytes)
        })
        .collect()
}

fn restore(bench: &Bench, files: &[(String, Vec<u8>)]) {
    let disk = bench.host.env().disk();
    disk.remove_dir_all(&bench.path()).unwrap();
    disk.create_dir_all(&bench.path()).unwrap();
    for (name, bytes) in files {
        let file = disk.open(&bench.path().join(name), OpenMode::Create).unwrap();
        file.write_at(&mut [std::io::IoSlice::new(bytes)], 0).unwrap();
    }
}

/// Opens and checks: a prefix is there, every offset of it can be read, and writing goes on behind it.
fn check(bench: &Bench, hint: OpenHint, all: &[(i64, String)], what: &str) -> usize {
    let (partition, report) = bench.open_with(hint);
    let found = records(&partition, ReadUpTo::LogEnd);
    assert!(all.starts_with(&found), "{what}: not a prefix, {} records, {report:?}", found.len());
    let end = partition.offsets().log_end;
    assert_eq!(send_values(&partition, &["on"]).base_offset, end, "{what}");
    let again = records(&partition, ReadUpTo::LogEnd);
    assert_eq!(again.last(), Some(&(end, "on".to_owned())), "{what}");
    found.len()
}

/// Each file of the directory, cut at each byte, opened as after a clean stop and as after a crash.
#[test]
fn cut_at_every_byte() {
    let (bench, all) = written();
    let files = save(&bench);
    let last_log = files.iter().rfind(|(name, _)| name.ends_with(".log")).unwrap().0.clone();
    for (name, bytes) in &files {
        for length in 0..bytes.len() {
            for hint in [Bench::clean(), OpenHint::default(), OpenHint { recovery_point: 20, ..OpenHint::default() }] {
                // A closed segment below the recovery point is trusted: cutting it is damage, not a torn tail.
                if name.ends_with(".log") && (hint.clean || hint.recovery_point > 0) && *name != last_log {
                    continue;
                }
                restore(&bench, &files);
                bench
                    .host
                    .env()
                    .disk()
                    .open(&bench.path().join(name), OpenMode::Write)
                    .unwrap()
                    .set_len(length as u64)
                    .unwrap();
                let kept = check(&bench, hint, &all, &format!("{name} cut at {length}, {hint:?}"));
                if !name.ends_with(".log") {
                    assert_eq!(kept, all.len(), "{name} cut at {length} took records along, {hint:?}");
                }
            }
        }
    }
}

/// Each file of the directory missing altogether.
#[test]
fn any_file_missing() {
    let (bench, all) = written();
    let files = save(&bench);
    for (name, _) in files.iter().filter(|(name, _)| !name.ends_with(".log")) {
        for hint in [Bench::clean(), OpenHint::default()] {
            restore(&bench, &files);
            bench.host.env().disk().remove_file(&bench.path().join(name)).unwrap();
            assert_eq!(check(&bench, hint, &all, name), all.len(), "{name}, {hint:?}");
        }
    }
}

/// After a clean stop the tail behind the last index entry is looked at: a flipped bit there costs that tail at most, never the
/// segments before it, and no offset far from all others is ever given out.
#[test]
fn flipped_bits_after_a_clean_stop() {
    let (mut bench, all) = written();
    // One index entry, so that most of the last segment is tail.
    bench.config.index_interval_bytes = 150;
    let files = save(&bench);
    let (last, bytes) = files.iter().rfind(|(name, _)| name.ends_with(".log")).unwrap();
    let base: i64 = last[..20].parse().unwrap();
    let end = all.last().unwrap().0 + 1;
    let indexed = {
        let (_, index) = files.iter().rfind(|(name, _)| name.ends_with(".index")).unwrap();
        index.chunks(8).next_back().map_or(0, |entry| u32::from_be_bytes(entry[4..].try_into().unwrap()))
    };
    for (at, byte) in bytes.iter().enumerate().skip(indexed as usize) {
        for bit in [0x01, 0x40, 0x80, 0xff] {
            restore(&bench, &files);
            let file = bench.host.env().disk().open(&bench.path().join(last), OpenMode::Write).unwrap();
            file.write_at(&mut [std::io::IoSlice::new(&[byte ^ bit])], at as u64).unwrap();
            let (partition, report) = bench.open_with(OpenHint { log_start: 5, ..Bench::clean() });
            let log_end = partition.offsets().log_end;
            // Against the epoch of the last batch there is the checkpoint alone.
            let is_epoch = report.damage.iter().any(|what| what.contains("does not fit the batches"));
            let ends = if is_epoch { end..=end } else { base..=end - 1 };
            assert!(ends.contains(&log_end), "byte {at} ^ {bit:#x}: the log ends at {log_end}, {report:?}");
            let found = records(&partition, ReadUpTo::LogEnd);
            assert!(all[5..].starts_with(&found), "byte {at} ^ {bit:#x}: {report:?}");
        }
    }
}

/// Copies the log of the segment without some of its batches, as compaction would, and drops its indexes.
fn compact(bench: &Bench, name: &str, keep: impl Fn(usize) -> bool) -> usize {
    let disk = bench.host.env().disk();
    let path = bench.path().join(name);
    let bytes = crate::env::read_file(disk.as_ref(), &path, u64::MAX).unwrap();
    let (mut kept, mut at, mut index, mut records) = (Vec::new(), 0, 0, 0);
    while let Some(header) = crate::batch::BatchHeader::read(&bytes[at..]) {
        let total = header.total_bytes().unwrap() as usize;
        if keep(index) {
            kept.extend_from_slice(&bytes[at..at + total]);
            records += header.record_count as usize;
        }
        at += total;
        index += 1;
    }
    let file = disk.open(&path, OpenMode::Truncate).unwrap();
    file.write_at(&mut [std::io::IoSlice::new(&kept)], 0).unwrap();
    for suffix in ["index", "timeindex"] {
        disk.remove_file(&path.with_extension(suffix)).unwrap();
    }
    records
}

/// A topic that was compacted once and is not any more keeps everything behind the gaps, also after a crash; Kafka's
/// `LogSegment.recover` knows no gaps at all.
#[test]
fn gaps_of_a_topic_that_was_compacted() {
    for clean in [true, false] {
        let bench = Bench::small();
        let partition = bench.open();
        for index in 0..30 {
            send_values(&partition, &[&index.to_string()]);
        }
        assert_eq!(partition.status().segments, 3);
        partition.close().unwrap();
        let logs: Vec<String> = names(&bench).into_iter().filter(|name| name.ends_with(".log")).collect();
        // Its begin, something inside, and its end are gone.
        let first = compact(&bench, &logs[0], |index| ![0, 4, 5, 11].contains(&index));
        assert_eq!(first, 8);
        let (partition, report) = bench.open_with(OpenHint { clean, ..OpenHint::default() });
        let found: Vec<i64> = records(&partition, ReadUpTo::LogEnd).into_iter().map(|(offset, _)| offset).collect();
        let expected: Vec<i64> = (0..30).filter(|offset| ![0, 4, 5, 11].contains(offset)).collect();
        assert_eq!((found, report.bytes_cut), (expected, 0), "{report:?}");
    }
}

/// A gap at the very end of a segment, with none above it, looks like a torn tail, in a topic that is compacted too. Where compaction is
/// known to have come that far (in a directory of Kafka's, whose segments end so) nothing is cut.
#[test]
fn gap_at_the_end_of_a_segment() {
    let cleaned = [(None, 11), (Some(11), 11), (Some(12), 29), (Some(100), 29)];
    for (compact_now, (cleaned, found)) in [false, true].into_iter().flat_map(|now| cleaned.map(|case| (now, case))) {
        let mut bench = Bench::small();
        bench.config.cleanup_policy.compact = compact_now;
        let partition = bench.open();
        for index in 0..30 {
            send_values(&partition, &[&index.to_string()]);
        }
        partition.close().unwrap();
        let logs: Vec<String> = names(&bench).into_iter().filter(|name| name.ends_with(".log")).collect();
        assert_eq!(logs[1], format!("{:020}.log", 12));
        assert_eq!(compact(&bench, &logs[0], |index| index != 11), 11);
        let (partition, report) = bench.open_with(OpenHint { cleaned, ..OpenHint::default() });
        assert_eq!(records(&partition, ReadUpTo::LogEnd).len(), found, "{cleaned:?} {report:?}");
    }
}

/// The same gap is no torn tail when a later segment was compacted: what is compacted was synced before, with all in front of it.
#[test]
fn gap_before_a_compacted_segment() {
    for (second, found) in [(vec![], 11), (vec![4], 28)] {
        let bench = Bench::small();
        let partition = bench.open();
        for index in 0..30 {
            send_values(&partition, &[&index.to_string()]);
        }
        partition.close().unwrap();
        let logs: Vec<String> = names(&bench).into_iter().filter(|name| name.ends_with(".log")).collect();
        assert_eq!(compact(&bench, &logs[0], |index| index != 11), 11);
        compact(&bench, &logs[1], |index| !second.contains(&index));
        let (partition, report) = bench.open_with(OpenHint::default());
        assert_eq!(records(&partition, ReadUpTo::LogEnd).len(), found, "without {second:?}: {report:?}");
    }
}

/// After a crash only what reaches up to the recovery point or past it is scanned.
#[test]
fn recovery_point_bounds_the_scan() {
    let (bench, all) = written();
    let files = save(&bench);
    for (recovery_point, scanned) in [(0, 3), (10, 3), (11, 2), (25, 1), (1000, 1)] {
        restore(&bench, &files);
        let (partition, report) = bench.open_with(OpenHint { recovery_point, ..OpenHint::default() });
        assert_eq!(report.segments_scanned, scanned, "recovery point {recovery_point}");
        assert_eq!((report.bytes_cut, records(&partition, ReadUpTo::LogEnd).len()), (0, all.len()));
    }
    restore(&bench, &files);
    assert_eq!(bench.open_with(Bench::clean()).1, RecoveryReport::default());
}

/// When what was cut reached past the log start, offsets go on from the log start: none is given out twice.
#[test]
fn log_start_behind_the_tail() {
    let (bench, _) = written();
    let last = names(&bench).into_iter().rfind(|name| name.ends_with(".log")).unwrap();
    bench.host.env().disk().open(&bench.path().join(last), OpenMode::Write).unwrap().set_len(0).unwrap();
    let partition = bench.open_with(OpenHint { log_start: 26, ..OpenHint::default() }).0;
    let offsets = partition.offsets();
    assert_eq!((offsets.log_start, offsets.log_end), (26, 26));
    assert_eq!(send_values(&partition, &["on"]).base_offset, 26);
}

/// Each stop writes a snapshot; the next start keeps those segments begin with and the newest, no more.
#[test]
fn snapshots_do_not_pile_up() {
    let (bench, _) = written();
    for clean in [true, true, false, true, true] {
        let partition = bench.open_with(OpenHint { clean, ..OpenHint::default() }).0;
        send_values(&partition, &["more"]);
        partition.close().unwrap();
    }
    let count = |suffix: &str| names(&bench).iter().filter(|name| name.ends_with(suffix)).count();
    // Segments but the first begin with one; beside them the one of this stop and the one of the stop before.
    assert!(count(".snapshot") <= count(".log") + 1, "{:?}", names(&bench));
}
