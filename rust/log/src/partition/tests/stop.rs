//! What a stop costs: nothing, where a clean one left everything as it was found.

use super::*;
use crate::env::OpenMode;
use crate::env::faulty::Call;
use crate::segment::names;

/// The last segment's index was cut short by hand.
fn cut_the_index(bench: &Bench) {
    let name = super::names(bench).into_iter().filter(|name| name.ends_with(names::OFFSET_INDEX)).max().unwrap();
    let file = bench.host.env().disk().open(&bench.path().join(name), OpenMode::Write).unwrap();
    file.set_len(file.length().unwrap() - 1).unwrap();
}

/// A partition that was closed cleanly is opened and closed again: that syncs something if, and only if, it is no longer what the clean stop
/// left. In either case the next start finds what a clean stop leaves.
#[test]
fn only_what_has_changed_is_synced() {
    type Cause = (&'static str, fn(&Bench), fn(&Partition), bool);
    let causes: [Cause; 6] = [
        ("nothing", |_| {}, |_| {}, false),
        ("a read", |_| {}, |partition| assert_eq!(records(partition, ReadUpTo::LogEnd).len(), 20), false),
        ("an append", |_| {}, |partition| _ = send_values(partition, &["y"]), true),
        ("a new segment", |_| {}, |partition| partition.roll().unwrap(), true),
        ("a cut", |_| {}, |partition| partition.truncate_to(19).unwrap(), true),
        ("a mended index", cut_the_index, |_| {}, true),
    ];
    for (cause, prepare, act, is_synced) in causes {
        let (mut bench, faults) = brittle(Durability::Os, 0);
        bench.config.segment_bytes = 1000;
        bench.config.index_interval_bytes = 150;
        let partition = bench.open();
        (0..20).for_each(|_| _ = send_values(&partition, &["x"]));
        partition.close().unwrap();
        prepare(&bench);
        let partition = bench.open_with(Bench::clean()).0;
        act(&partition);
        let end = partition.offsets().log_end;
        faults.trace();
        partition.close().unwrap();
        let calls = faults.traced();
        assert_eq!(calls.iter().any(|(call, _)| matches!(call, Call::Sync | Call::SyncDir)), is_synced, "{cause}");
        let (partition, report) = bench.open_with(Bench::clean());
        assert_eq!(partition.offsets().log_end, end, "{cause}");
        let mended = (report.segments_scanned, report.bytes_cut, report.indexes_rebuilt, report.damage.len());
        assert_eq!(mended, (0, 0, 0, 0), "{cause}");
    }
}
