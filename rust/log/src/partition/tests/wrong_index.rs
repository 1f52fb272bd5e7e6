//! Indexes that are of a possible length and wrong: every answer is what it was before, with no restart, and the file is right afterwards.

use super::compact::{MAP, compact, compacted, contents, put as put_keyed, put_in};
use super::*;
use crate::batch::Marker;
use crate::compaction::Unhurried;
use crate::env::{OpenMode, read_file};
use crate::partition::AbortedTransaction;

/// Four segments of plain and transactional batches, timestamps now and then going back, closed cleanly.
fn written() -> Bench {
    let mut bench = Bench::small();
    bench.config.segment_bytes = 1500;
    bench.config.retention_ms = Some(1000);
    let partition = bench.open();
    for index in 0..40i32 {
        let timestamp_ms = T0 + i64::from(index) * 10 - if index % 7 == 3 { 35 } else { 0 };
        send(&partition, batch_at(NOBODY, Compression::None, timestamp_ms, &["first", "second"])).unwrap();
        if index % 5 == 0 {
            let sequence = index / 5;
            let guard = partition.start_verification(2, 0, sequence);
            let options = AppendOptions { guard, ..AppendOptions::default() };
            partition.append(&mut batch(transaction(2, 0, sequence), &["x"]), Origin::Client, options).unwrap();
        }
        if index % 5 == 3 {
            partition.append_marker(2, 0, if index % 2 == 0 { Marker::Commit } else { Marker::Abort }, 0, 0).unwrap();
        }
    }
    partition.close().unwrap();
    bench
}

/// Everything a client can be told.
#[derive(Debug, PartialEq)]
struct Answers {
    records: Vec<(i64, String)>,
    by_offset: Vec<(i64, i64, u32)>,
    by_time: Vec<Option<i64>>,
    youngest: Option<i64>,
    aborted: Vec<Vec<(i64, i64)>>,
    /// How many segments retention takes, by time.
    expired: Vec<usize>,
}

impl Answers {
    /// The same answers; aborted transactions may be named that begin behind what was read, where an index is sparser than it was.
    fn check(self, right: &Answers, what: &str) {
        let all: std::collections::BTreeSet<_> = right.aborted.iter().flatten().collect();
        for (found, right) in self.aborted.iter().zip(&right.aborted) {
            assert!(
                found.starts_with(right) && found.iter().all(|one| all.contains(one)),
                "{what}: {found:?}, not {right:?}"
            );
        }
        let found = Answers { aborted: right.aborted.clone(), ..self };
        assert!(found == *right, "{what}: {found:?}");
    }
}

fn ask(bench: &Bench) -> Answers {
    let partition = bench.open_with(Bench::clean()).0;
    let end = partition.offsets().log_end;
    let aborted = |from| {
        let read = partition.read(from, 400, ReadUpTo::LastStable, true).unwrap();
        read.aborted
            .iter()
            .map(|AbortedTransaction { producer_id, first_offset }| (*producer_id, *first_offset))
            .collect()
    };
    // First what is not looked up again: each look-up may mend what the next one needs.
    let aborted = (0..end).map(aborted).collect();
    let times = (-5..45).map(|step| T0 + step * 10);
    let by_time = times.map(|at| partition.lookup_timestamp(at).unwrap().map(|found| found.offset)).collect();
    let slice = |from| {
        let read = partition.read(from, 1, ReadUpTo::LogEnd, true).unwrap();
        (read.first_offset, read.slice.unwrap().position as i64, read.first_batch_bytes)
    };
    let answers = Answers {
        by_time,
        aborted,
        by_offset: (0..end).rev().map(slice).collect(),
        records: records(&partition, ReadUpTo::LogEnd),
        youngest: partition.max_timestamp().unwrap().map(|found| found.offset),
        expired: [50, 150, 250, 300].map(|at| partition.enforce_retention(T0 + 1000 + at).unwrap()).to_vec(),
    };
    drop(partition);
    answers
}

type Files = Vec<(String, Vec<u8>)>;

fn save(bench: &Bench) -> Files {
    let read = |name: String| {
        let bytes = read_file(bench.host.env().disk().as_ref(), &bench.path().join(&name), u64::MAX).unwrap();
        (name, bytes)
    };
    names(bench).into_iter().map(read).collect()
}

fn restore(bench: &Bench, files: &Files) {
    let disk = bench.host.env().disk();
    disk.remove_dir_all(&bench.path()).unwrap();
    disk.create_dir_all(&bench.path()).unwrap();
    files.iter().for_each(|(name, bytes)| put(bench, name, bytes));
}

fn put(bench: &Bench, name: &str, bytes: &[u8]) {
    let file = bench.host.env().disk().open(&bench.path().join(name), OpenMode::Truncate).unwrap();
    file.write_at(&mut [std::io::IoSlice::new(bytes)], 0).unwrap();
}

fn indexes<'f>(files: &'f Files, suffix: &str) -> Vec<&'f (String, Vec<u8>)> {
    files.iter().filter(|(name, _)| name.ends_with(suffix)).collect()
}

/// Any byte of any index flipped.
#[test]
fn flipped() {
    let bench = written();
    let files = save(&bench);
    let right = ask(&bench);
    assert!(right.aborted.iter().flatten().count() > 4 && right.expired.iter().sum::<usize>() > 1, "{right:?}");
    for suffix in [".index", ".timeindex", ".txnindex"] {
        for (name, bytes) in indexes(&files, suffix) {
            for (at, byte) in bytes.iter().enumerate() {
                // Where a transaction that another one overlaps became stable is told by nothing else.
                if suffix == ".txnindex" && at % 34 >= 26 {
                    continue;
                }
                for bit in [0x01, 0x10, 0x80, 0xff] {
                    let mut wrong = bytes.clone();
                    wrong[at] = byte ^ bit;
                    restore(&bench, &files);
                    put(&bench, name, &wrong);
                    ask(&bench).check(&right, &format!("{name}, byte {at} ^ {bit:#x}"));
                }
            }
        }
    }
}

/// Entries lost, zeroes in their place (as a preallocated file of Kafka's after a crash), or another segment's index.
#[test]
fn short_empty_or_foreign() {
    let bench = written();
    let files = save(&bench);
    let right = ask(&bench);
    for (suffix, entry) in [(".index", 8), (".timeindex", 12)] {
        let all = indexes(&files, suffix);
        for (place, (name, bytes)) in all.iter().enumerate() {
            let mut wrong: Vec<Vec<u8>> = (0..bytes.len() / entry).map(|keep| bytes[..keep * entry].to_vec()).collect();
            wrong.push(vec![0; bytes.len()]);
            wrong.push([bytes.as_slice(), &vec![0; 10 * entry]].concat());
            wrong.push(all[(place + 1) % all.len()].1.clone());
            for (kind, wrong) in wrong.iter().enumerate() {
                restore(&bench, &files);
                put(&bench, name, wrong);
                ask(&bench).check(&right, &format!("{name}, kind {kind}"));
            }
        }
    }
}

/// What was made anew is on disk: the next start finds nothing wrong.
#[test]
fn made_anew_for_good() {
    let mut bench = written();
    bench.config.retention_ms = None;
    let files = save(&bench);
    ask(&bench);
    for suffix in [".index", ".timeindex"] {
        let (name, bytes) = indexes(&files, suffix)[0];
        restore(&bench, &files);
        put(&bench, name, &vec![0xee; bytes.len()]);
        ask(&bench);
        let disk = bench.host.env().disk();
        let mended = read_file(disk.as_ref(), &bench.path().join(name), u64::MAX).unwrap();
        assert!(!mended.contains(&0xee), "{name}: {mended:?}");
    }
}

/// When the log is damaged where an index entry points, the error names file and position, and what lies behind the damage is served.
#[test]
fn damaged_log_below_the_recovery_point() {
    let bench = written();
    let files = save(&bench);
    let (name, index) = indexes(&files, ".index")[0];
    let log = name.replace(".index", ".log");
    let (offset, position) = {
        let entry: [u8; 8] = index[8..16].try_into().unwrap();
        let half = |at: usize| u32::from_be_bytes(entry[at..at + 4].try_into().unwrap());
        (i64::from(half(0)), half(4) as usize)
    };
    let (_, bytes) = files.iter().find(|(name, _)| *name == log).unwrap();
    let mut wrong = bytes.clone();
    wrong[position + 8] ^= 0x7f; // its length
    put(&bench, &log, &wrong);
    let partition = bench.open_with(Bench::clean()).0;
    let read = |from| partition.read(from, 1, ReadUpTo::LogEnd, true).map(|read| read.first_offset);
    let error = read(offset).unwrap_err().to_string();
    assert!(error.contains(&log) && error.contains(&position.to_string()), "{error}");
    assert!(read(offset - 2).unwrap() < offset - 1);
    let behind: Vec<i64> = (offset + 4..offset + 8).map(|from| read(from).unwrap()).collect();
    assert!(behind.iter().zip(offset + 4..).all(|(first, from)| (from - 1..=from).contains(first)), "{behind:?}");
}

/// A pass notices that an index of aborted transactions is gone, and makes it anew: what was aborted does not take the place of what was
/// committed. The abort lies in another segment than what it ends.
#[test]
fn a_lost_index_of_aborted_transactions() {
    let lived = |is_lost: bool| {
        let bench = compacted();
        let partition = bench.open();
        put_keyed(&partition, &[("a", "committed")]);
        put_in(&partition, transaction(1, 0, 0), &[("a", "aborted")]);
        put_keyed(&partition, &[("b", "1")]);
        partition.roll().unwrap();
        partition.append_marker(1, 0, Marker::Abort, 0, 0).unwrap();
        partition.roll().unwrap();
        put_keyed(&partition, &[("c", "1")]);
        partition.close().unwrap();
        drop(partition);
        if is_lost {
            bench.host.env().disk().remove_file(&bench.path().join("00000000000000000003.txnindex")).unwrap();
        }
        let partition = bench.open_with(Bench::clean()).0;
        if is_lost {
            assert!(partition.compact(MAP, &mut Unhurried).unwrap().is_none(), "nothing is decided by a wrong index");
        }
        compact(&partition);
        let read = partition.read(0, 1000, ReadUpTo::LastStable, true).unwrap();
        (contents(&partition), read.aborted)
    };
    let (kept, aborted) = lived(true);
    assert!(kept.contains(&(0, "a".to_owned(), "committed".to_owned())), "{kept:?}");
    assert_eq!((kept, aborted), lived(false));
}
