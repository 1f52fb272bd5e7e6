//! A process without descriptors to open files with has a healthy disk: nothing goes offline, nothing is cut at the next start.

use super::compact::{MAP, compacted, contents, put};
use super::*;
use crate::compaction::Unhurried;
use crate::env::faulty::{Call, EMFILE, Fault};

/// Every call that needs a descriptor finds none.
fn none() -> Fault {
    Fault::new(EMFILE).of(&[Call::Open, Call::Create, Call::SyncDir, Call::List])
}

fn values(partition: &Partition) -> Vec<String> {
    records(partition, ReadUpTo::LogEnd).into_iter().map(|(_, value)| value).collect()
}

/// A batch that needs another segment is refused, and taken as soon as there is a descriptor. Those before it, acknowledged from memory,
/// outlive the process.
#[test]
fn an_append_that_rolls() {
    for fault in [none(), none().once()] {
        let (mut bench, faults) = brittle(Durability::Os, 0);
        bench.config.segment_bytes = 200;
        let partition = bench.open();
        send_values(&partition, &["a"]);
        send_values(&partition, &["b"]);
        faults.fail(fault.clone());
        let sent = send(&partition, batch(NOBODY, &["c"]));
        assert!(!Bench::status_is_offline(&partition), "{sent:?}");
        faults.heal();
        if sent.is_err() {
            send_values(&partition, &["c"]);
        }
        assert!(partition.status().segments > 1);
        drop(partition);
        let (partition, report) = bench.open_with(OpenHint::default());
        assert_eq!(values(&partition), ["a", "b", "c"], "{fault:?} {report:?}");
        assert_eq!(report.bytes_cut, 0);
    }
}

/// A commit that cannot open the directory is not one that failed: it is made up for, without another append.
#[test]
fn a_commit() {
    let (bench, faults) = brittle(Durability::Fsync, 0);
    let partition = bench.open();
    send_values(&partition, &["first"]);
    partition.roll().unwrap();
    faults.fail(Fault::new(EMFILE).of(&[Call::SyncDir]));
    send_values(&partition, &["a"]);
    assert!(!Bench::status_is_offline(&partition));
    assert_eq!(partition.offsets().high_watermark, 1);
    assert!(partition.flush_is_due());
    assert!(partition.flush().is_err());
    faults.heal();
    partition.flush().unwrap();
    assert_eq!((partition.offsets().high_watermark, partition.flush_is_due()), (2, false));
    send_values(&partition, &["b"]);
    assert_eq!(partition.offsets().high_watermark, 3);
}

/// Wherever a pass of compaction finds no descriptor, and finds one at the second try or not, no record is lost, and a later pass is none
/// the worse.
#[test]
fn a_pass() {
    for times in [1, 2] {
        for skip in 0.. {
            let (mut bench, faults) = brittle(Durability::Os, 0);
            bench.config = PartitionConfig { ..compacted().config };
            let partition = bench.open();
            for round in 0..12 {
                put(&partition, &[("a", &format!("{round:050}")), (&format!("only-{round}"), "x")]);
            }
            partition.roll().unwrap();
            let tripped = faults.tripped();
            for _ in 0..times {
                faults.fail(none().after(skip).once());
            }
            let first = partition.compact(MAP, &mut Unhurried);
            let missed = faults.tripped() == tripped;
            faults.heal();
            let what = format!("call {skip}, {times} times: {first:?}");
            // What is half replaced cannot wait; what is not, can.
            let offline = Bench::status_is_offline(&partition);
            assert!(times == 2 || !offline, "{what}");
            let partition = if offline {
                drop(partition);
                bench.open()
            } else {
                partition
            };
            if let Err(error) = partition.compact(MAP, &mut Unhurried) {
                panic!("{what}: {error}");
            }
            let found: Vec<(String, String)> =
                contents(&partition).into_iter().map(|(_, key, value)| (key, value)).collect();
            let mut expected: Vec<(String, String)> =
                (0..12).map(|round| (format!("only-{round}"), "x".into())).collect();
            expected.insert(11, ("a".into(), format!("{:050}", 11)));
            assert_eq!(found, expected, "{what}");
            if missed {
                assert!(skip > 10, "{skip} calls");
                break;
            }
        }
    }
}
