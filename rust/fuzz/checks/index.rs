//! Any bytes as one of the files beside a log: the first byte says which.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use ottla_log::batch::{Compression, Marker, NewRecord};
use ottla_log::commit::Host;
use ottla_log::env::{Disk, Env, OpenMode, VirtualClock, memory::MemoryDisk};
use ottla_log::partition::{OpenHint, Partition, ReadUpTo};
use ottla_log::{Identity, PartitionConfig};

const RECORDS: i64 = 30;
const NAMES: [&str; 7] = [
    "00000000000000000000.index",
    "00000000000000000000.timeindex",
    "00000000000000000000.txnindex",
    "00000000000000000031.snapshot",
    "leader-epoch-checkpoint",
    "00000000000000000000.index.cleaned",
    "ottla-durable-offset",
];

fn open(host: &Arc<Host>, clean: bool) -> Option<Arc<Partition>> {
    let identity = Identity { topic: "t".into(), topic_id: [1; 16], partition: 0 };
    let config = PartitionConfig { index_interval_bytes: 100, segment_bytes: 1500, ..PartitionConfig::default() };
    let hint = OpenHint { clean, ..OpenHint::default() };
    Partition::open(host, "/data/t-0".into(), identity, Arc::new(config), 0, hint).ok().map(|opened| opened.0)
}

/// After a clean stop it may make reads fail, never answer with what is not asked for; after a crash all records are there, unless it
/// is the epoch checkpoint, whose word counts.
pub fn check(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    let name = NAMES[usize::from(*which) % NAMES.len()];
    for clean in [false, true] {
        let disk = Arc::new(MemoryDisk::new());
        disk.create_dir_all("/data".as_ref()).expect("memory has room");
        let host = Host::new(Env::new(disk.clone(), Arc::new(VirtualClock::new(1_700_000_000_000))), 0);
        let partition = open(&host, true).expect("an empty log opens");
        for number in 0..RECORDS {
            let record = NewRecord { timestamp_ms: number, key: None, value: Some(b"value"), headers: &[] };
            partition.append_records(&[record], Compression::None).expect("it is appended");
        }
        partition.append_marker(7, 0, Marker::Abort, 0, 0).expect("it is appended");
        partition.close().expect("it closes");
        drop(partition);
        let file = disk.open(&Path::new("/data/t-0").join(name), OpenMode::Truncate).expect("memory has room");
        file.write_at(&mut [IoSlice::new(bytes)], 0).expect("memory has room");
        let Some(partition) = open(&host, clean) else { continue };
        let end = partition.offsets().log_end;
        let is_word = name == "leader-epoch-checkpoint" || name == "ottla-durable-offset";
        assert!(end == RECORDS + 1 || is_word, "{name} cut the log at {end}");
        for offset in 0..end {
            if let Ok(read) = partition.read(offset, 1, ReadUpTo::LastStable, true) {
                assert!(
                    read.slice.is_none() || read.first_offset == offset,
                    "{name}: {} for {offset}",
                    read.first_offset
                );
            }
            let found = partition.lookup_timestamp(offset).ok().flatten();
            assert!(found.is_none_or(|found| found.timestamp_ms >= offset), "{name}: {found:?} for {offset}");
        }
    }
}
