//! The file, the headers, and how many wait for a sync.

use std::path::PathBuf;

use super::file::parse;
use super::*;
use crate::batch::{Compression, NewRecord};
use crate::commit::HostSettings;

use crate::env::faulty::FaultyDisk;
use crate::env::{Env, VirtualClock};
use crate::local::LocalDirectory;
use crate::partition::OpenHint;
use crate::{Durability, Identity, PartitionConfig};

fn rendered() -> String {
    let cursors =
        Cursors { topic_id: [7; 16], writing: Mutex::new(()), known: Mutex::default(), appending: Mutex::new(()) };
    let settled = BTreeMap::from([("audit".to_owned(), 0), ("billing".to_owned(), i64::MAX)]);
    let others = [format!("log: {} 5", format_id(&[8; 16])), format!("cursor: {} x 3", format_id(&[8; 16]))];
    cursors.render(&settled, &others, 1042)
}

/// What was written is read, and the lines of other topics are kept.
#[test]
fn round_trip() {
    let text = rendered();
    let (known, looked_through) = parse(&text, &[7; 16]).unwrap();
    assert_eq!(looked_through, Some(1042));
    assert_eq!(known.settled(), &BTreeMap::from([("audit".to_owned(), 0), ("billing".to_owned(), i64::MAX)]));
    assert_eq!(known.others.len(), 2);
    let (known, looked_through) = parse(&text, &[8; 16]).unwrap();
    assert_eq!((looked_through, known.settled()), (Some(5), &BTreeMap::from([("x".to_owned(), 3)])));
}

/// Cut at any byte, or with any bit flipped, it is damaged: never other positions.
#[test]
fn whole_or_damaged() {
    let text = rendered();
    for length in 0..text.len() {
        assert!(parse(&text[..length], &[7; 16]).is_none(), "cut at {length}");
    }
    for at in 0..text.len() {
        for bit in 0..7 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let flipped = String::from_utf8(bytes).unwrap();
            assert!(parse(&flipped, &[7; 16]).is_none(), "bit {bit} of byte {at}");
        }
    }
}

/// Only what a log would write itself is taken from a header.
#[test]
fn headers() {
    assert_eq!(parse_header(b"a.b-c_D=17"), Some(("a.b-c_D".to_owned(), 17)));
    for wrong in [&b"a"[..], b"=1", b"a=", b"a=-1", b"a=x", b"a b=1", b"\xff=1", b"a=99999999999999999999"] {
        assert_eq!(parse_header(wrong), None);
    }
}

fn append(cursors: &Cursors, partition: &Partition, position: Offset) {
    let record = NewRecord { timestamp_ms: 0, key: None, value: Some(b"v"), headers: &[] };
    let append = || partition.append_records(&[record], Compression::None);
    cursors.append_with(partition, &[("c".to_owned(), position)], append).unwrap();
}

/// Of cursors that wait for a sync there are never more than their bound, also while the disk does not answer; then who appends waits.
#[test]
fn pending_ones_are_bounded() {
    let disk = FaultyDisk::scratch();
    let faults = disk.faults();
    let env = Env::new(Arc::new(disk), Arc::new(VirtualClock::new(0)));
    let settings = HostSettings { commit_threads: 1, ..HostSettings::default() };
    let directory = LocalDirectory::open(env, Path::new("/d"), settings, &mut || [7; 16]).unwrap();
    let identity = Identity { topic: "t".into(), topic_id: [7; 16], partition: 0 };
    let config = Arc::new(PartitionConfig { durability: Durability::Os, ..PartitionConfig::default() });
    let (path, hint) = (PathBuf::from("/d/t-0"), OpenHint::default());
    let (partition, _) = Partition::open(&directory.host, path, identity, config, 0, hint).unwrap();
    let cursors = Cursors::load(&directory.directory, &partition).unwrap();
    let pending = || cursors.known.lock().pending();
    faults.hold_below(Path::new("/d/t-0"));
    let count = 2 * PENDING_MAX as Offset;
    std::thread::scope(|scope| {
        let appender = scope.spawn(|| {
            let mut most = 0;
            for position in 0..count {
                append(&cursors, &partition, position);
                most = most.max(pending());
            }
            most
        });
        // It was asked for when half of them were pending.
        faults.wait_until_held();
        while pending() < PENDING_MAX && !appender.is_finished() {
            std::thread::yield_now();
        }
        faults.hold(false);
        assert_eq!(appender.join().unwrap(), PENDING_MAX);
    });
    assert_eq!(cursors.get("c").map(|cursor| cursor.position), Some(count - 1));
    directory.host.stop();
}
