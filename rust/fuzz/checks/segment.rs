//! Any bytes as the log of a partition that is opened, after a crash and as if after a clean stop.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use ottla_log::commit::Host;
use ottla_log::env::{Disk, Env, OpenMode, VirtualClock, memory::MemoryDisk};
use ottla_log::partition::{OpenHint, Partition, ReadUpTo};
use ottla_log::{CleanupPolicy, Identity, PartitionConfig};

/// It opens at some prefix; every offset of that can be asked for, and a batch goes behind it. After a crash all of it can be read.
pub fn check(data: &[u8]) {
    for clean in [false, true] {
        for compact in [false, true] {
            let disk = Arc::new(MemoryDisk::new());
            let path = Path::new("/data/t-0");
            disk.create_dir_all(path).expect("memory has room");
            let log = disk.open(&path.join(format!("{:020}.log", 0)), OpenMode::Create).expect("memory has room");
            log.write_at(&mut [IoSlice::new(data)], 0).expect("memory has room");
            let host = Host::new(Env::new(disk, Arc::new(VirtualClock::new(1_700_000_000_000))), 0);
            let identity = Identity { topic: "t".into(), topic_id: [1; 16], partition: 0 };
            let config = PartitionConfig {
                cleanup_policy: CleanupPolicy { compact, delete: !compact },
                decompressed_bytes_max: 1 << 20,
                ..PartitionConfig::default()
            };
            let hint = OpenHint { clean, ..OpenHint::default() };
            let opened = Partition::open(&host, path.into(), identity, Arc::new(config), 0, hint);
            let (partition, report) = opened.expect("a torn log opens");
            let end = partition.offsets().log_end;
            assert!(report.bytes_cut <= data.len() as u64);
            assert!(end > 0 || partition.size_bytes() == 0);
            let mut at = partition.offsets().log_start;
            // A checksum may be right over records that are not.
            while let Ok(next) = partition.for_each_record(at, 1 << 16, ReadUpTo::LogEnd, |_| {}) {
                assert!(next >= at && next <= end);
                if next == at {
                    break;
                }
                at = next;
            }
            let _ = partition.lookup_timestamp(0);
            let _ = partition.read(end / 2, 100, ReadUpTo::LastStable, true);
            let marker = ottla_log::batch::control::ControlType::LeaderChange;
            if end < i64::MAX - 1
                && let Ok(appended) = partition.append_control(marker, b"", 0)
            {
                assert_eq!(appended.base_offset, end);
            }
        }
    }
}
