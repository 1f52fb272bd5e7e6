//! Names of the files of a partition, all Kafka's: the offset in 20 digits, then what it is.

use std::io;
use std::path::{Path, PathBuf};

use crate::Offset;
use crate::env::Disk;

pub const LOG: &str = "log";
pub const OFFSET_INDEX: &str = "index";
pub const TIME_INDEX: &str = "timeindex";
pub const TXN_INDEX: &str = "txnindex";
pub const PRODUCER_SNAPSHOT: &str = "snapshot";
/// Put behind a file's name before it is removed for good.
pub const DELETED_SUFFIX: &str = ".deleted";
/// Put behind the names of a replacement's files while compaction writes them, and once they are whole.
pub const CLEANED_SUFFIX: &str = ".cleaned";
pub const SWAP_SUFFIX: &str = ".swap";
/// The files of a segment, as named by it.
pub const SEGMENT_FILES: [&str; 4] = [LOG, OFFSET_INDEX, TIME_INDEX, TXN_INDEX];
/// Put behind the name of a partition's directory, after a unique part, before it is removed for good.
pub const DELETE_DIR_SUFFIX: &str = "-delete";
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// How far the partition was on the disk when its disk failed.
pub const DURABLE_OFFSET: &str = "ottla-durable-offset";
pub const PARTITION_METADATA: &str = "partition.metadata";

const OFFSET_DIGITS: usize = 20;

pub fn file(directory: &Path, offset: Offset, suffix: &str) -> PathBuf {
    directory.join(format!("{offset:0OFFSET_DIGITS$}.{suffix}"))
}

/// The offset in a name with this suffix; None for every other name.
pub fn offset_of(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?.strip_suffix('.')?;
    (digits.len() == OFFSET_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Bytes of the segments in a partition's directory; 0 if nothing was ever written.
pub fn segment_bytes_in(disk: &dyn Disk, directory: &Path) -> io::Result<u64> {
    match disk.list(directory) {
        Ok(entries) => {
            Ok(entries.iter().filter(|entry| offset_of(&entry.name, LOG).is_some()).map(|entry| entry.length).sum())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// `topic-partition`.
pub fn partition_directory(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// Topic and partition of a directory's name; None when it is no partition's (or a deleted one's).
pub fn parse_partition_directory(name: &str) -> Option<(&str, i32)> {
    if name.ends_with(DELETE_DIR_SUFFIX) {
        return None;
    }
    let (topic, partition) = name.rsplit_once('-')?;
    let valid = !topic.is_empty() && !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| partition.parse().ok().map(|partition| (topic, partition)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment file is named by its base offset, and only such names are taken for one.
    #[test]
    fn names() {
        assert_eq!(file(Path::new("/d"), 42, LOG), Path::new("/d/00000000000000000042.log"));
        assert_eq!(offset_of("00000000000000000042.log", LOG), Some(42));
        assert_eq!(offset_of("42.log", LOG), None);
        assert_eq!(offset_of("00000000000000000042.log.deleted", LOG), None);
        assert_eq!(offset_of("00000000000000000042.timeindex", OFFSET_INDEX), None);
        assert_eq!(offset_of("99999999999999999999.log", LOG), None);
        assert_eq!(parse_partition_directory("a-b-12"), Some(("a-b", 12)));
        for name in ["topic", "-1", "t-", "t-x", "t-1.0123-delete", ".lock"] {
            assert_eq!(parse_partition_directory(name), None, "{name}");
        }
    }
}
