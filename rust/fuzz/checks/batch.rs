//! Any bytes as the records of a Produce request, and as a batch of a coordinator's.

use std::path::PathBuf;
use std::sync::Arc;

use ottla_log::commit::Host;
use ottla_log::env::{Disk, Env, VirtualClock, memory::MemoryDisk};
use ottla_log::partition::{AppendOptions, OpenHint, Origin, ReadUpTo};
use ottla_log::{Identity, Partition, PartitionConfig};

/// Refused or appended; what was appended is read back, whole and with as many records as it said, also after a crash.
pub fn check(data: &[u8]) {
    for origin in [Origin::Client, Origin::Coordinator] {
        let disk = Arc::new(MemoryDisk::new());
        disk.create_dir_all("/data".as_ref()).expect("memory has room");
        let host = Host::new(Env::new(disk, Arc::new(VirtualClock::new(1_700_000_000_000))), 0);
        let open = || {
            let identity = Identity { topic: "t".into(), topic_id: [1; 16], partition: 0 };
            let config = PartitionConfig { decompressed_bytes_max: 1 << 20, ..PartitionConfig::default() };
            let path = PathBuf::from("/data/t-0");
            Partition::open(&host, path, identity, Arc::new(config), 0, OpenHint::default()).expect("it opens").0
        };
        let partition = open();
        let mut frame = data.to_vec();
        let Ok(appended) = partition.append(&mut frame, origin, AppendOptions::default()) else {
            assert_eq!(partition.offsets().log_end, 0, "what is refused leaves nothing");
            continue;
        };
        let next = appended.last_offset + 1;
        for partition in [partition, open()] {
            assert_eq!(partition.offsets().log_end, next);
            let mut count = 0;
            let read = partition.for_each_record(0, 1 << 20, ReadUpTo::LogEnd, |record| {
                assert!((0..next).contains(&record.offset));
                count += 1;
            });
            assert_eq!(read.expect("what was taken is read"), next);
            assert!(count > 0 && count <= next);
        }
    }
}
