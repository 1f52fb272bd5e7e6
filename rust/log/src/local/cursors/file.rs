//! The file of cursors: see the module above.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::known::Known;
use crate::checkpoint::parse_id;
use crate::directory::DataDirectory;
use crate::env::{Disk, read_file, replace_file};
use crate::error::{IoContext, StorageError};
use crate::{Offset, TopicId};

const FILE: &str = ".ottla_cursors";
const VERSION: i32 = 0;
/// Records that a broker's clients have written may bring more cursors than are committed here.
const READ_BYTES_MAX: u64 = 1 << 30;

pub(super) fn write(directory: &DataDirectory, text: &str) -> Result<(), StorageError> {
    let (path, disk) = (directory.path().join(FILE), directory.disk());
    directory.health().with_reserve(|| replace_file(disk, &path, text.as_bytes()).at("write", &path))
}

/// What the file knows of the topic, and the offset to go on from. Where it says nothing of the topic everything in the log is looked
/// through; a damaged one is an error, since positions that were committed alone stand nowhere else.
pub(super) fn read(
    disk: &dyn Disk,
    directory: &Path,
    topic_id: &TopicId,
    log_start: Offset,
) -> Result<(Known, Offset), StorageError> {
    let path = directory.join(FILE);
    let bytes = match read_file(disk, &path, READ_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Known::default(), log_start)),
        Err(error) => return Err(StorageError::io("read", &path, error)),
    };
    let damaged = || {
        StorageError::invalid(
            &path,
            "is damaged: the positions of cursors are not known. Remove it to begin without them",
        )
    };
    let text = String::from_utf8(bytes).map_err(|_| damaged())?;
    let version = text.lines().next().and_then(|line| line.strip_prefix("version: ")?.parse().ok());
    if let Some(found) = version.filter(|found: &i32| *found > VERSION) {
        return Err(StorageError::NewerFormat { path: path.clone(), found: found.to_string(), known: VERSION });
    }
    let (known, looked_through) = parse(&text, topic_id).ok_or_else(damaged)?;
    Ok((known, looked_through.unwrap_or(log_start)))
}

pub(super) fn parse(text: &str, topic_id: &TopicId) -> Option<(Known, Option<Offset>)> {
    let body = text.rfind("crc32c: ").map(|at| &text[..at])?;
    let crc = crc_fast::crc32_iscsi(body.as_bytes());
    if text[body.len()..] != format!("crc32c: {crc:08x}\n") {
        return None;
    }
    let mut lines = body.lines();
    if lines.next()? != "version: 0" {
        return None;
    }
    let (mut settled, mut others, mut looked_through) = (BTreeMap::new(), Vec::new(), None);
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["log:" | "cursor:", id, ..] if parse_id(id)? != *topic_id => others.push(line.to_owned()),
            ["log:", _, offset] => looked_through = Some(offset.parse().ok()?),
            ["cursor:", _, name, position] => {
                settled.insert((*name).to_owned(), position.parse().ok()?);
            }
            _ => return None,
        }
    }
    Some((Known::of_file(settled, others), looked_through))
}
