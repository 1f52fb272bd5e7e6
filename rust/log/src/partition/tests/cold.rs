//! Reads of what is not in memory, by those who may wait for the disk and by those who may not; and what an append does aside.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::Offsets;
use crate::batch::Marker;
use crate::env::OpenMode;
use crate::env::faulty::Call;
use crate::env::patience::without_waiting;
use crate::error::ReadError;
use crate::open_files::OpenFiles;
use crate::partition::Read;

/// Everything but the file itself, and what of it is on the disk.
fn told(read: &Read) -> impl PartialEq + std::fmt::Debug + use<> {
    let slice = read.slice.as_ref().map(|slice| (slice.position, slice.length, slice.end));
    let offsets = Offsets { durable: 0, ..read.offsets };
    (slice, read.first_offset, read.first_batch_bytes, offsets, read.aborted.clone())
}

fn at_once(partition: &Partition, offset: i64, up_to: ReadUpTo) -> Result<Read, ReadError> {
    partition.read_without_waiting(offset, 1000, up_to, true)
}

/// Some segments with aborted transactions in them, opened anew; and all of its files are on the disk only.
fn cold() -> (Bench, Arc<Faults>, Arc<Partition>) {
    let (mut bench, faults) = brittle(Durability::Os, 0);
    bench.config.segment_bytes = 1000;
    bench.config.index_interval_bytes = 150;
    let partition = bench.open();
    for sequence in 0..30 {
        send_values(&partition, &["plain"]);
        let guard = partition.start_verification(1, 0, sequence);
        let options = AppendOptions { guard, ..AppendOptions::default() };
        partition.append(&mut batch(transaction(1, 0, sequence), &["x"]), Origin::Client, options).unwrap();
        partition.append_marker(1, 0, if sequence % 3 == 0 { Marker::Abort } else { Marker::Commit }, 0, 0).unwrap();
    }
    partition.close().unwrap();
    let partition = bench.open_with(Bench::clean()).0;
    chill(&bench, &faults);
    (bench, faults, partition)
}

fn chill(bench: &Bench, faults: &Faults) {
    for name in names(bench) {
        let path = bench.path().join(name);
        faults.cold.chill(&path, bench.host.env().disk().open(&path, OpenMode::Read).unwrap().length().unwrap());
    }
}

/// Who may not wait is told so, at every offset, and nothing else comes of it. Once somebody has waited both get the same answer.
#[test]
fn the_same_answer_once_it_is_in_memory() {
    for up_to in [ReadUpTo::HighWatermark, ReadUpTo::LastStable] {
        let (bench, faults, partition) = cold();
        let end = partition.offsets().log_end;
        assert!(partition.status().segments > 5);
        for offset in 0..end {
            assert!(matches!(at_once(&partition, offset, up_to), Err(ReadError::WouldWait)), "{offset}");
        }
        assert_eq!(faults.cold.waits(), 0);
        let right: Vec<_> = (0..end).map(|offset| told(&partition.read(offset, 1000, up_to, true).unwrap())).collect();
        assert!(faults.cold.waits() > 0);
        for (offset, right) in (0..end).zip(right) {
            assert_eq!(told(&at_once(&partition, offset, up_to).unwrap()), right, "{offset}");
        }
        assert!(!Bench::status_is_offline(&partition));
        assert!(at_once(&partition, end, up_to).unwrap().slice.is_none(), "the end is known without a look");
        assert!(matches!(at_once(&partition, end + 1, up_to), Err(ReadError::OffsetOutOfRange { .. })));
        drop(bench);
    }
}

/// The same for look-ups by time.
#[test]
fn times_once_they_are_in_memory() {
    let (mut bench, faults) = brittle(Durability::Os, 0);
    bench.config.segment_bytes = 1000;
    bench.config.index_interval_bytes = 150;
    let partition = bench.open();
    for second in 0..60 {
        send(&partition, batch_at(NOBODY, Compression::None, T0 + 1000 * second, &["x"])).unwrap();
    }
    partition.close().unwrap();
    let partition = bench.open_with(Bench::clean()).0;
    assert!(partition.status().segments > 4);
    chill(&bench, &faults);
    let look = |second: i64| partition.lookup_timestamp(T0 + 1000 * second);
    for second in 0..60 {
        assert!(without_waiting(|| look(second)).is_err_and(|error| error.would_wait()), "{second}");
    }
    assert!(without_waiting(|| partition.max_timestamp()).is_err_and(|error| error.would_wait()));
    assert_eq!(faults.cold.waits(), 0);
    let youngest = partition.max_timestamp().unwrap();
    assert_eq!(youngest.map(|found| found.offset), Some(59));
    for second in 0..60 {
        assert_eq!(
            look(second).unwrap().map(|found| (found.offset, found.timestamp_ms)),
            Some((second, T0 + 1000 * second))
        );
    }
    assert!(faults.cold.waits() > 0);
    for second in 0..60 {
        assert_eq!(without_waiting(|| look(second)).unwrap(), look(second).unwrap());
    }
    assert_eq!(without_waiting(|| partition.max_timestamp()).unwrap(), youngest);
}

/// At the tail the place of the last batches is known: nobody waits, though nothing is in memory.
#[test]
fn the_tail_needs_no_look() {
    let (bench, faults) = brittle(Durability::Os, 0);
    let partition = bench.open();
    send_values(&partition, &["a"]);
    send_values(&partition, &["b"]);
    chill(&bench, &faults);
    let read = at_once(&partition, 1, ReadUpTo::HighWatermark).unwrap();
    let slice = read.slice.unwrap();
    assert_eq!(read.first_offset, 1);
    assert!(!slice.file.is_resident(slice.position, u64::from(slice.length)));
    assert_eq!(slice.end, slice.position + u64::from(slice.length));
}

/// Somebody who waits for the index of a segment holds up nobody who may not wait, whatever is known of the segment's times.
#[test]
fn the_wait_of_another_is_not_shared() {
    let (bench, faults, partition) = cold();
    let partition = &partition;
    for _ in 0..2 {
        faults.cold.hold(true);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| partition.read(0, 1000, ReadUpTo::HighWatermark, true).unwrap());
            faults.cold.await_waiting(1);
            let (tell, told) = std::sync::mpsc::channel();
            scope.spawn(move || {
                let reads = [(0, ReadUpTo::HighWatermark), (1, ReadUpTo::LastStable)]
                    .map(|(offset, up_to)| at_once(partition, offset, up_to).map(drop));
                let times = [
                    without_waiting(|| partition.lookup_timestamp(T0).map(drop)),
                    without_waiting(|| partition.max_timestamp().map(drop)),
                ];
                tell.send((reads, times)).unwrap();
            });
            let in_time = told.recv_timeout(std::time::Duration::from_secs(30));
            faults.cold.hold(false);
            let (reads, times) = in_time.unwrap();
            assert!(reads.iter().all(|read| matches!(read, Err(ReadError::WouldWait))));
            assert!(times.iter().all(|time| time.as_ref().is_err_and(|error| error.would_wait())));
            assert!(waits.join().unwrap().slice.is_some());
        });
        assert_eq!(partition.lookup_timestamp(T0).unwrap().map(|found| found.offset), Some(0));
        assert!(partition.max_timestamp().unwrap().is_some());
        chill(&bench, &faults);
    }
}

/// Nor is it by who must close files, so that there are not too many: everybody who reads or writes does.
#[test]
fn a_look_up_holds_up_nobody_who_closes_files() {
    let (_bench, faults, partition) = cold();
    let segments = partition.state.read().segments.to_vec();
    faults.cold.hold(true);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| segments[0].find(partition.disk(), 1, segments[0].size()));
        faults.cold.await_waiting(1);
        let (tell, told) = std::sync::mpsc::channel();
        let files = OpenFiles::new(2);
        let closes = segments[..5].to_vec();
        scope.spawn(move || {
            for segment in &closes {
                files.used(segment);
            }
            files.make_room();
            tell.send(()).unwrap();
        });
        let in_time = told.recv_timeout(std::time::Duration::from_secs(30));
        faults.cold.hold(false);
        in_time.unwrap();
        assert!(waits.join().unwrap().unwrap().is_some());
    });
}

/// An index that is wrong is made anew by who may wait, and only by them.
#[test]
fn repairs_wait() {
    let (mut bench, faults) = brittle(Durability::Os, 0);
    bench.config.index_interval_bytes = 150;
    let partition = bench.open();
    (0..50).for_each(|_| {
        send_values(&partition, &["plain"]);
    });
    partition.roll().unwrap();
    send_values(&partition, &["last"]);
    let right = told(&partition.read(10, 1000, ReadUpTo::HighWatermark, true).unwrap());
    partition.close().unwrap();
    let path = bench.path().join("00000000000000000000.index");
    let file = bench.host.env().disk().open(&path, OpenMode::Write).unwrap();
    let mut wrong = vec![0; file.length().unwrap() as usize];
    file.read_at(&mut wrong, 0).unwrap();
    assert!(wrong.len() >= 8);
    wrong.chunks_exact_mut(8).for_each(|entry| entry[7] ^= 1);
    file.write_at(&mut [std::io::IoSlice::new(&wrong)], 0).unwrap();

    let partition = bench.open_with(Bench::clean()).0;
    partition.read(50, 1000, ReadUpTo::HighWatermark, true).unwrap();
    // Everything is in memory and open but for what must be made.
    let _ = partition.read(0, 1000, ReadUpTo::HighWatermark, true).unwrap();
    faults.trace();
    let before = at_once(&partition, 48, ReadUpTo::HighWatermark);
    let changes = faults.traced().into_iter().filter(|(call, _)| Call::CHANGES.contains(call)).count();
    assert!(matches!(before, Err(ReadError::WouldWait)), "{before:?}");
    assert_eq!(changes, 0);
    partition.read(48, 1000, ReadUpTo::HighWatermark, true).unwrap();
    assert_eq!(told(&at_once(&partition, 10, ReadUpTo::HighWatermark).unwrap()), right);
}

/// What an append has to wait for, a new segment, is done aside, and the partition says meanwhile that it is slow; a plain append is not.
#[test]
fn a_new_segment_is_made_aside() {
    static DONE_ASIDE: AtomicUsize = AtomicUsize::new(0);
    fn aside(work: &mut dyn FnMut()) {
        DONE_ASIDE.fetch_add(1, Ordering::SeqCst);
        work();
        // Once is all it takes.
        work();
    }
    let bench = Bench::small();
    bench.host.do_slow_work_by(aside);
    let partition = bench.open();
    let mut segments = 0;
    for _ in 0..40 {
        let before = DONE_ASIDE.load(Ordering::SeqCst);
        send_values(&partition, &["x"]);
        let now = partition.status().segments;
        assert_eq!(DONE_ASIDE.load(Ordering::SeqCst) - before, now - segments);
        segments = now;
        assert!(!partition.is_slow());
    }
    assert!(segments > 2);
    assert_eq!(records(&partition, ReadUpTo::LogEnd).len(), 40);
}

/// While a segment is being made the partition is slow, and whoever waits for that goes on afterwards.
#[test]
fn slow_as_long_as_it_takes() {
    let (bench, faults) = brittle(Durability::Os, 0);
    let partition = bench.open();
    send_values(&partition, &["x"]);
    let (tell, told) = std::sync::mpsc::channel();
    let seen = partition.clone();
    faults.when_opened(".log", move || tell.send(seen.is_slow()).unwrap());
    let mut config = bench.config.clone();
    config.segment_bytes = 100;
    partition.set_config(Arc::new(config));
    send_values(&partition, &["y"]);
    assert!(told.recv().unwrap());
    partition.wait_until_quick();
    assert!(!partition.is_slow());
    assert_eq!(partition.status().segments, 2);
}
