//! A log that is cut where it was compacted.

use super::compact::{compact, compacted, offsets, put};
use super::*;
use crate::compaction::plan::Verdict;

/// What was cut away and written anew is dirty again.
#[test]
fn truncation_takes_the_clean_part() {
    let bench = compacted();
    let partition = bench.open();
    for round in 0..30 {
        put(&partition, &[("a", &round.to_string())]);
    }
    partition.roll().unwrap();
    assert_eq!(compact(&partition).cleaned, 30);
    partition.truncate_to(10).unwrap();
    for round in 0..5 {
        put(&partition, &[("b", &round.to_string())]);
    }
    partition.roll().unwrap();
    let plan = partition.compaction_plan().unwrap().unwrap();
    assert!(plan.first_dirty <= 10 && plan.verdict == Verdict::DirtyEnough, "{plan:?}");
}

/// Cut where compaction has left nothing, the log ends where an opening finds its end.
#[test]
fn truncation_into_a_gap() {
    let bench = compacted();
    for clean in [false, true] {
        let _ = bench.host.env().disk().remove_dir_all(&bench.path());
        let partition = bench.open();
        for key in ["a", "b", "c", "b", "b", "b", "a", "c"] {
            put(&partition, &[(key, "v")]);
        }
        partition.roll().unwrap();
        compact(&partition);
        assert_eq!(offsets(&partition), [5, 6, 7]);
        put(&partition, &[("d", "v")]);
        partition.truncate_to(6).unwrap();
        assert_eq!(partition.offsets().log_end, 6);
        put(&partition, &[("e", "v")]);
        partition.truncate_to(5).unwrap();
        let end = partition.offsets().log_end;
        assert!(end < 5, "nothing is left before {end}");
        if clean {
            partition.close().unwrap();
        }
        drop(partition);
        let (partition, report) = bench.open_with(OpenHint { clean, recovery_point: 0, ..OpenHint::default() });
        assert_eq!((partition.offsets().log_end, report.damage), (end, vec![]), "clean: {clean}");
    }
}
