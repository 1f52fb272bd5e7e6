//! Transactions as the log sees them: verification, last stable offset, markers, the aborted list.

use super::*;
use crate::batch::Marker;
use crate::error::code;
use crate::partition::AbortedTransaction;

/// Sends a transactional batch, verified first where that is needed.
fn send_in(partition: &Partition, who: Who, values: &[&str]) -> Appended {
    let guard = partition.start_verification(who.id, who.epoch, who.sequence);
    let options = AppendOptions { guard, ..AppendOptions::default() };
    partition.append(&mut batch(who, values), Origin::Client, options).unwrap()
}

fn stable(partition: &Partition) -> (i64, i64) {
    let offsets = partition.offsets();
    (offsets.last_stable, offsets.high_watermark)
}

fn aborted(partition: &Partition, from: i64) -> Vec<(i64, i64)> {
    let read = partition.read(from, 100_000, ReadUpTo::LastStable, true).unwrap();
    read.aborted.iter().map(|AbortedTransaction { producer_id, first_offset }| (*producer_id, *first_offset)).collect()
}

/// The first batch of a transaction needs a verification, later ones do not, and it is void once the transaction ended.
#[test]
fn verification() {
    let bench = Bench::new();
    let partition = bench.open();
    assert!(partition.needs_verification(1, 0));
    let refused = send(&partition, batch(transaction(1, 0, 0), &["a"])).unwrap_err();
    assert_eq!(refused.code(), code::INVALID_TXN_STATE);
    let guard = partition.start_verification(1, 0, 0);
    assert!(guard.is_some());
    let options = AppendOptions { guard, ..AppendOptions::default() };
    partition.append(&mut batch(transaction(1, 0, 0), &["a"]), Origin::Client, options).unwrap();
    assert!(!partition.needs_verification(1, 0));
    assert_eq!(partition.start_verification(1, 0, 1), None);
    send(&partition, batch(transaction(1, 0, 1), &["b"])).unwrap();
    partition.append_marker(1, 0, Marker::Commit, 0, 0).unwrap();
    let stale = partition.append(&mut batch(transaction(1, 0, 2), &["c"]), Origin::Client, options).unwrap_err();
    assert_eq!(stale.code(), code::INVALID_TXN_STATE);
}

/// The last stable offset stands at the first open transaction; read_committed ends there.
#[test]
fn last_stable_offset() {
    let bench = Bench::new();
    let partition = bench.open();
    send_values(&partition, &["plain"]);
    send_in(&partition, transaction(1, 0, 0), &["one"]);
    send_in(&partition, transaction(2, 0, 0), &["two"]);
    send_values(&partition, &["plain again"]);
    assert_eq!(stable(&partition), (1, 4));
    assert_eq!(records(&partition, ReadUpTo::LastStable), [(0, "plain".to_owned())]);
    partition.append_marker(1, 0, Marker::Commit, 0, 0).unwrap();
    assert_eq!(stable(&partition), (2, 5));
    assert_eq!(records(&partition, ReadUpTo::LastStable).len(), 2);
    partition.append_marker(2, 0, Marker::Abort, 0, 0).unwrap();
    assert_eq!(stable(&partition), (6, 6));
}

/// An aborted transaction is named to every read that overlaps it, and to no other; so it is after any restart.
#[test]
fn aborted_list() {
    let bench = Bench::small();
    let mut partition = bench.open();
    for round in 0..6 {
        send_in(&partition, transaction(1, 0, round), &["kept or not"]);
        send_in(&partition, transaction(2, 0, round), &["never kept"]);
        for _ in 0..5 {
            send_values(&partition, &["plain"]);
        }
        let marker = if round % 2 == 0 { Marker::Abort } else { Marker::Commit };
        partition.append_marker(1, 0, marker, 0, 0).unwrap();
        partition.append_marker(2, 0, Marker::Abort, 0, 0).unwrap();
    }
    assert!(partition.status().segments > 4);
    // Nine offsets a round: both first batches, five plain ones, two markers.
    let mut expected = Vec::new();
    for round in 0..6 {
        if round % 2 == 0 {
            expected.push((1, round * 9, round * 9 + 7));
        }
        expected.push((2, round * 9 + 1, round * 9 + 8));
    }
    for reopened in 0..3 {
        for from in 0..54 {
            let found = aborted(&partition, from);
            let overlapping: Vec<(i64, i64)> =
                expected.iter().filter(|(_, _, last)| *last >= from).map(|(id, first, _)| (*id, *first)).collect();
            // A read ends with its segment: it need not name what begins behind.
            assert!(overlapping.starts_with(&found), "from {from}: {found:?} of {overlapping:?}");
            assert_eq!(found.first(), overlapping.first(), "from {from}");
        }
        match reopened {
            0 => partition.close().unwrap(),
            _ => drop(partition),
        }
        partition = bench.open_with(if reopened == 0 { Bench::clean() } else { OpenHint::default() }).0;
        assert_eq!(stable(&partition), (54, 54));
    }
}

/// An open transaction is still open after a restart, clean or not.
#[test]
fn open_over_restart() {
    let bench = Bench::small();
    let mut partition = bench.open();
    send_values(&partition, &["plain"]);
    send_in(&partition, transaction(1, 0, 0), &["open"]);
    for _ in 0..20 {
        send_values(&partition, &["plain"]);
    }
    for clean in [true, false] {
        if clean {
            partition.close().unwrap();
        }
        drop(partition);
        partition = bench.open_with(if clean { Bench::clean() } else { OpenHint::default() }).0;
        assert_eq!(stable(&partition), (1, 22));
        assert_eq!(records(&partition, ReadUpTo::LastStable).len(), 1);
        assert!(!partition.needs_verification(1, 0));
    }
    partition.append_marker(1, 0, Marker::Abort, 0, 0).unwrap();
    assert_eq!(stable(&partition), (23, 23));
    assert_eq!(aborted(&partition, 1), [(1, 1)]);
}

/// Markers of an older coordinator and of an older producer epoch are fenced; from version 2 on the epoch must grow (KIP-890).
#[test]
fn fencing() {
    let bench = Bench::new();
    let partition = bench.open();
    send_in(&partition, transaction(1, 5, 0), &["a"]);
    let code = |epoch, coordinator, version| {
        partition.append_marker(1, epoch, Marker::Commit, coordinator, version).map_or_else(|error| error.code(), |_| 0)
    };
    assert_eq!(code(4, 7, 0), code::INVALID_PRODUCER_EPOCH);
    assert_eq!(code(5, 7, 2), code::INVALID_PRODUCER_EPOCH);
    assert_eq!(code(6, 7, 2), 0);
    assert_eq!(code(6, 7, 2), 0, "the same marker again");
    assert_eq!(code(6, 6, 0), code::TRANSACTION_COORDINATOR_FENCED);
    let plain_in_transaction = {
        send_in(&partition, transaction(1, 6, 0), &["b"]);
        send(&partition, batch(producer(1, 6, 1), &["c"])).unwrap_err()
    };
    assert_eq!(plain_in_transaction.code(), code::INVALID_TXN_STATE);
}

/// The marker of a client that gets a new epoch with every transaction carries the next one's: what is being asked for that stays.
#[test]
fn a_marker_leaves_the_next_verification() {
    let bench = Bench::new();
    let partition = bench.open();
    for (bumps_epoch, expected) in [(true, 0), (false, code::INVALID_TXN_STATE)] {
        let id = i64::from(bumps_epoch);
        send_in(&partition, transaction(id, 5, 0), &["a"]);
        let next = transaction(id, 6, 0);
        let guard = if bumps_epoch {
            partition.start_verification_v2(id, next.epoch, next.sequence)
        } else {
            partition.start_verification(id, next.epoch, next.sequence)
        };
        partition.append_marker(id, next.epoch, Marker::Commit, 0, 2).unwrap();
        let options = AppendOptions { guard, ..AppendOptions::default() };
        let appended = partition.append(&mut batch(next, &["b"]), Origin::Client, options);
        assert_eq!(appended.map_or_else(|error| error.code(), |_| 0), expected);
    }
}

/// There is no epoch above the last one: its marker has the epoch of its batches.
#[test]
fn marker_of_the_last_epoch() {
    let bench = Bench::new();
    let partition = bench.open();
    send_in(&partition, transaction(1, i16::MAX, 0), &["a"]);
    partition.append_marker(1, i16::MAX, Marker::Abort, 0, 2).unwrap();
    assert_eq!(stable(&partition), (2, 2));
}

/// A zombie is told that it is one, and its coordinator is not asked.
#[test]
fn zombie() {
    let bench = Bench::new();
    let partition = bench.open();
    send_in(&partition, transaction(1, 5, 0), &["a"]);
    assert_eq!(partition.start_verification(1, 4, 0), None);
    assert_eq!(partition.start_verification_v2(1, 4, 0), None);
    let refused = send(&partition, batch(transaction(1, 4, 0), &["b"])).unwrap_err();
    assert_eq!(refused.code(), code::INVALID_PRODUCER_EPOCH);
}

/// Clients cannot write markers.
#[test]
fn clients_write_no_markers() {
    let bench = Bench::new();
    let partition = bench.open();
    let mut marker = batch(transaction(1, 0, 0), &["x"]);
    marker[22] |= header::CONTROL_BIT as u8;
    header::seal(&mut marker);
    assert_eq!(send(&partition, marker).unwrap_err().code(), code::INVALID_RECORD);
}

/// A zombie that asks for a verification does not take away the one its successor has under way (Kafka's `VerificationStateEntry` only
/// goes up).
#[test]
fn verification_survives_a_zombie() {
    let bench = Bench::new();
    let partition = bench.open();
    let guard = partition.start_verification(1, 5, 0);
    partition.start_verification(1, 4, 17);
    let options = AppendOptions { guard, ..AppendOptions::default() };
    partition.append(&mut batch(transaction(1, 5, 0), &["a"]), Origin::Client, options).unwrap();
}

/// From transaction version 2 on the first batch of a producer nothing is known of has sequence 0: a higher one means that an earlier
/// batch was lost on the way. Before, any sequence was taken.
#[test]
fn first_sequence_of_a_bumped_epoch() {
    let bench = Bench::new();
    let partition = bench.open();
    let first = |who: Who, v2: bool| {
        let start = if v2 { Partition::start_verification_v2 } else { Partition::start_verification };
        let options =
            AppendOptions { guard: start(&partition, who.id, who.epoch, who.sequence), ..AppendOptions::default() };
        let result = partition.append(&mut batch(who, &["a"]), Origin::Client, options);
        result.map_or_else(|error| error.code(), |_| 0)
    };
    assert_eq!(first(transaction(1, 0, 3), false), 0);
    assert_eq!(first(transaction(2, 0, 3), true), code::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(first(transaction(2, 0, 0), true), 0);
    partition.append_marker(2, 1, Marker::Commit, 0, 2).unwrap();
    assert_eq!(first(transaction(2, 1, 1), true), code::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(first(transaction(2, 1, 0), true), 0);
}

/// Cutting the log's end keeps the last stable offset below a transaction whose marker no replica has confirmed yet.
#[test]
fn unconfirmed_marker_over_truncation() {
    let bench = Bench::new();
    let partition = bench.open();
    send_in(&partition, transaction(1, 0, 0), &["a"]);
    send_in(&partition, transaction(1, 0, 1), &["b"]);
    let confirmed = partition.state.read().log_end;
    partition.append_marker(1, 0, Marker::Abort, 0, 0).unwrap();
    send_values(&partition, &["plain", "cut"]);
    {
        // As a leader whose followers have not fetched the marker.
        let mut state = partition.state.write();
        state.high_watermark = confirmed;
    }
    partition.truncate_to(4).unwrap();
    assert_eq!(stable(&partition), (0, 2));
    let end = partition.state.read().log_end;
    partition.state.write().advance_high_watermark(end);
    assert_eq!(stable(&partition), (3, 3));
}

/// A clean stop syncs the index of aborted transactions too: after a power cut the next start would believe what is left of it.
#[test]
fn stop_syncs_the_transaction_index() {
    let (bench, faults) = brittle(Durability::Os, 0);
    let partition = bench.open();
    send_in(&partition, transaction(1, 0, 0), &["a"]);
    partition.append_marker(1, 0, Marker::Abort, 0, 0).unwrap();
    assert!(names(&bench).iter().any(|name| name.ends_with(".txnindex")));
    partition.close().unwrap();
    let left: Vec<PathBuf> = faults.unsynced().into_iter().filter(|path| path.starts_with(bench.path())).collect();
    assert_eq!(left, [] as [PathBuf; 0]);
}

/// The aborted transactions of closed segments leave memory when nobody asks for them; who asks again is told the same, and what is written
/// on stays.
#[test]
fn idle_segments_hold_no_aborted_transactions() {
    let bench = Bench::small();
    let partition = bench.open();
    let abort = |sequence| {
        send_in(&partition, transaction(1, 0, sequence), &["gone"]);
        partition.append_marker(1, 0, Marker::Abort, 0, 0).unwrap();
    };
    (0..20).for_each(abort);
    assert!(partition.status().segments > 2);
    partition.flush().unwrap();
    let held = || -> Vec<usize> {
        partition.state.read().segments.iter().map(|segment| segment.aborted_in_memory()).collect()
    };
    let (before, told) = (held(), (0..40).map(|from| aborted(&partition, from)).collect::<Vec<_>>());
    assert_eq!(before.iter().sum::<usize>(), 20);
    for _ in 0..2 {
        partition.release_idle_files();
    }
    let idle = held();
    assert_eq!(idle[..idle.len() - 1], vec![0; idle.len() - 1]);
    assert_eq!(idle.last(), before.last());
    assert_eq!((0..40).map(|from| aborted(&partition, from)).collect::<Vec<_>>(), told);
    abort(20);
    partition.truncate_to(3).unwrap();
    assert_eq!(held(), [1]);
    partition.append_marker(1, 0, Marker::Abort, 0, 0).unwrap();
    assert_eq!(aborted(&partition, 0), [(1, 0), (1, 2)]);
}

/// However many transactions end behind one that stays open: what is kept of them, and looked at with every append, does not grow. Neither
/// does it when a transaction goes on in another epoch.
#[test]
fn ended_transactions_behind_an_open_one_are_forgotten() {
    let bench = Bench::new();
    let partition = bench.open();
    send_in(&partition, transaction(1, 0, 0), &["open"]);
    for sequence in 0..50 {
        send_in(&partition, transaction(2, 0, sequence), &["ends"]);
        partition.append_marker(2, 0, Marker::Commit, 0, 0).unwrap();
    }
    let held = || partition.state.read().unstable.len();
    assert_eq!((held(), stable(&partition)), (1, (0, 101)));
    send_in(&partition, transaction(1, 1, 0), &["goes on"]);
    send_in(&partition, transaction(2, 0, 50), &["open too"]);
    assert_eq!((held(), stable(&partition)), (2, (0, 103)));
    partition.append_marker(1, 1, Marker::Abort, 0, 0).unwrap();
    assert_eq!((held(), stable(&partition)), (1, (102, 104)));
    partition.append_marker(2, 0, Marker::Commit, 0, 0).unwrap();
    assert_eq!((held(), stable(&partition)), (0, (105, 105)));
}

/// A reader is shown what ended at or behind its offset, not all that was ever aborted: appends wait for it.
#[test]
fn aborted_at_the_tail() {
    let bench = Bench::new();
    let partition = bench.open();
    for sequence in 0..100 {
        send_in(&partition, transaction(1, 0, sequence), &["gone"]);
        partition.append_marker(1, 0, Marker::Abort, 0, 0).unwrap();
    }
    let segment = partition.state.read().active().unwrap().clone();
    let shown = |from| {
        let mut count = 0;
        segment
            .aborted(partition.disk(), from, |_| {
                count += 1;
                true
            })
            .unwrap();
        count
    };
    assert_eq!([0, 1, 2, 198, 199, 200].map(shown), [100, 100, 99, 1, 1, 0]);
    assert_eq!([0, 1, 2, 199].map(|from| aborted(&partition, from).len()), [100, 100, 99, 1]);
}
