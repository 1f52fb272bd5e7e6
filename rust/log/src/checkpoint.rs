//! Small text files that are replaced as a whole: Kafka's checkpoints, and the topic id of a partition.
//!
//! ```text
//! recovery-point-offset-checkpoint, log-start-offset-checkpoint    leader-epoch-checkpoint    partition.metadata
//!   0                     version                                    0                          version: 0
//!   2                     lines that follow                          2                          topic_id: <22 characters>
//!   orders 0 1042         topic partition offset                     0 0     epoch start
//!   orders 1 980                                                     3 512
//! ```
//!
//! A checkpoint is a hint: one that cannot be read is as good as none, and costs a longer scan.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::Offset;
use crate::TopicId;
use crate::env::{Disk, read_file, replace_content, replace_file};
use crate::error::{IoContext, StorageError};
use crate::segment::names;

pub const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
pub const LOG_STARTS: &str = "log-start-offset-checkpoint";
pub const CLEANED: &str = "cleaner-offset-checkpoint";

const VERSION: &str = "0";
/// A million partitions fit.
const BYTES_MAX: u64 = 512 << 20;

pub type Offsets = BTreeMap<(String, i32), Offset>;

/// Lines after version and count; None when the file is not of this form to the last line.
fn lines(text: &str) -> Option<Vec<&str>> {
    let mut lines = text.lines();
    if lines.next()?.trim() != VERSION {
        return None;
    }
    let count: usize = lines.next()?.trim().parse().ok()?;
    // A cut last line could read as a smaller number: every line must have been ended.
    let rest: Vec<&str> = lines.collect();
    (rest.len() == count && text.ends_with('\n')).then_some(rest)
}

fn render(lines: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = format!("{VERSION}\n{}\n", lines.len());
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn read_text(disk: &dyn Disk, path: &Path) -> Result<Option<String>, StorageError> {
    match read_file(disk, path, BYTES_MAX) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("read", path, error)),
    }
}

/// Offsets by topic and partition; empty when the file is missing or damaged.
pub fn read_offsets(disk: &dyn Disk, path: &Path) -> Result<Offsets, StorageError> {
    let Some(text) = read_text(disk, path)? else { return Ok(Offsets::new()) };
    Ok(parse_offsets(&text).unwrap_or_else(|| {
        tracing::warn!(path = %path.display(), "checkpoint is damaged and ignored");
        Offsets::new()
    }))
}

fn parse_offsets(text: &str) -> Option<Offsets> {
    lines(text)?
        .into_iter()
        .map(|line| {
            let mut words = line.split(' ');
            let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
            (words.next().is_none()).then_some(((topic.to_owned(), partition.parse().ok()?), offset.parse().ok()?))
        })
        .collect()
}

pub fn write_offsets(disk: &dyn Disk, path: &Path, offsets: &Offsets) -> Result<(), StorageError> {
    let text = render(offsets.iter().map(|((topic, partition), offset)| format!("{topic} {partition} {offset}")));
    replace_file(disk, path, text.as_bytes()).at("write", path)
}

/// The same, but no file for nothing, unless there is one.
pub fn write_offsets_if_any(disk: &dyn Disk, path: &Path, offsets: &Offsets) -> Result<(), StorageError> {
    if offsets.is_empty() && !disk.exists(path).at("look for", path)? {
        return Ok(());
    }
    write_offsets(disk, path, offsets)
}

/// (epoch, start offset) in ascending order; None when the file is missing or damaged.
pub fn read_epochs(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<(i32, Offset)>>, StorageError> {
    let Some(text) = read_text(disk, path)? else { return Ok(None) };
    let epochs: Option<Vec<(i32, Offset)>> = lines(&text).and_then(|lines| {
        lines
            .into_iter()
            .map(|line| {
                let (epoch, start) = line.split_once(' ')?;
                Some((epoch.parse().ok()?, start.parse().ok()?))
            })
            .collect()
    });
    let ascending =
        |epochs: &Vec<(i32, Offset)>| epochs.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
    Ok(epochs.filter(ascending))
}

pub fn write_epochs(disk: &dyn Disk, path: &Path, epochs: &[(i32, Offset)]) -> Result<(), StorageError> {
    replace_file(disk, path, epochs_text(epochs).as_bytes()).at("write", path)
}

fn epochs_text(epochs: &[(i32, Offset)]) -> String {
    render(epochs.iter().map(|(epoch, start)| format!("{epoch} {start}")))
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// 128 bits in 6-bit digits.
const ID_CHARACTERS: usize = 22;

/// An id as Kafka writes it: URL-safe base64 without padding.
pub fn format_id(id: &TopicId) -> String {
    let value = u128::from_be_bytes(*id);
    // 22 digits hold 132 bits: the last digit ends in four zero bits.
    (0..ID_CHARACTERS)
        .map(|digit| {
            let shift = 122 - 6 * digit as i32;
            let bits = if shift >= 0 { value >> shift } else { value << -shift };
            char::from(BASE64[(bits & 63) as usize])
        })
        .collect()
}

pub fn parse_id(text: &str) -> Option<TopicId> {
    if text.len() != ID_CHARACTERS {
        return None;
    }
    let mut value = 0u128;
    for (at, character) in text.bytes().enumerate() {
        let bits = BASE64.iter().position(|known| *known == character)? as u128;
        value = if at == ID_CHARACTERS - 1 { (value << 2) | (bits >> 4) } else { (value << 6) | bits };
    }
    Some(value.to_be_bytes())
}

/// The topic id in `partition.metadata`; None when the file is missing or damaged.
pub fn read_topic_id(disk: &dyn Disk, path: &Path) -> Result<Option<TopicId>, StorageError> {
    let Some(text) = read_text(disk, path)? else { return Ok(None) };
    let id = text.lines().find_map(|line| line.strip_prefix("topic_id:")).and_then(|id| parse_id(id.trim()));
    Ok(id)
}

pub fn write_topic_id(disk: &dyn Disk, path: &Path, id: &TopicId) -> Result<(), StorageError> {
    replace_file(disk, path, topic_id_text(id).as_bytes()).at("write", path)
}

fn topic_id_text(id: &TopicId) -> String {
    format!("version: 0\ntopic_id: {}", format_id(id))
}

/// What a partition's directory has from its first day on: whose it is, and the epochs if there are any. One sync of the directory for both.
pub fn write_first(
    disk: &dyn Disk,
    directory: &Path,
    id: &TopicId,
    epochs: &[(i32, Offset)],
) -> Result<(), StorageError> {
    let path = directory.join(names::PARTITION_METADATA);
    replace_content(disk, &path, topic_id_text(id).as_bytes()).at("write", &path)?;
    if !epochs.is_empty() {
        let path = directory.join(names::LEADER_EPOCHS);
        replace_content(disk, &path, epochs_text(epochs).as_bytes()).at("write", &path)?;
    }
    disk.sync_dir(directory).at("sync", directory)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::env::OpenMode;
    use crate::env::scratch::scratch_disk;

    proptest! {
        /// Ids survive their text form.
        #[test]
        fn ids(id in any::<[u8; 16]>()) {
            prop_assert_eq!(parse_id(&format_id(&id)), Some(id));
        }
    }

    /// The text form is Kafka's (`Uuid.toString`): URL-safe base64 of the bytes.
    #[test]
    fn ids_as_kafka_writes_them() {
        assert_eq!(format_id(&[0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(format_id(&[0xff; 16]), "_____________________w");
        assert_eq!(format_id(&1u128.to_be_bytes()), "AAAAAAAAAAAAAAAAAAAAAQ");
    }

    /// A checkpoint cut at any byte reads as whole or as nothing, and never as an error.
    #[test]
    fn cut_anywhere() {
        let disk = scratch_disk();
        disk.create_dir_all(Path::new("/d")).unwrap();
        let path = Path::new("/d/points");
        let offsets: Offsets = [(("a".to_owned(), 0), 123), (("b-c".to_owned(), 11), 4567)].into();
        write_offsets(disk.as_ref(), path, &offsets).unwrap();
        assert_eq!(read_offsets(disk.as_ref(), path).unwrap(), offsets);
        let whole = disk.open(path, OpenMode::Read).unwrap().length().unwrap();
        for length in 0..whole {
            disk.open(path, OpenMode::Write).unwrap().set_len(length).unwrap();
            assert!(read_offsets(disk.as_ref(), path).unwrap().is_empty(), "{length} bytes");
            assert!(read_epochs(disk.as_ref(), path).unwrap().is_none());
            write_offsets(disk.as_ref(), path, &offsets).unwrap();
        }
    }
}
