//! Named cursors: positions that readers keep in a log.
//!
//! A cursor that is committed with an append stands in the batch itself, as headers of its last record, so that both are there or
//! neither: a batch is what a torn tail leaves whole or cuts.
//!
//! ```text
//! header key    ottla.cursor                     one for each cursor
//! header value  <name>=<position>
//! ```
//!
//! One that is committed alone, and sooner or later every other, stands in `.ottla_cursors` of the data directory, which is replaced as a
//! whole:
//!
//! ```text
//! version: 0
//! log: 4ZHfBuCaTYu0xUGNJXpthg 1042             topic id; records below this offset were looked through
//! cursor: 4ZHfBuCaTYu0xUGNJXpthg billing 17    topic id, name, position
//! crc32c: 9a71bb4c                             of the lines before
//! ```
//!
//! What the file says comes from records that are on the disk, so an opening folds: the file, then the headers of the records from its
//! offset on. Before records are deleted, compacted or cut the file is written, so that none is the last to know of a cursor.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;

use super::scan::Batches;
use crate::batch::records::Records;
use crate::checkpoint::{format_id, parse_id};
use crate::directory::DataDirectory;
use crate::env::{Disk, read_file, replace_file};
use crate::error::{IoContext, ReadError, StorageError};
use crate::partition::{Appended, Partition, ReadUpTo};
use crate::{Offset, Offsets, TopicId};

/// The header that carries a cursor.
pub const CURSOR_HEADER: &str = "ottla.cursor";
const FILE: &str = ".ottla_cursors";
const VERSION: i32 = 0;
const FILE_BYTES_MAX: u64 = 64 << 20;
const NAME_BYTES_MAX: usize = 249;

/// Where a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub position: Offset,
    /// The record it was committed with, if that is not on the disk yet.
    pub pending_at: Option<Offset>,
}

#[derive(Clone, Debug, Error)]
pub enum CursorError {
    #[error("{0}")]
    Name(String),
    #[error("cursor {name} cannot stand at {position}: the log ends at {log_end}")]
    BeyondTheEnd { name: String, position: Offset, log_end: Offset },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Names are those of topics: they stand in a text file, between spaces.
pub fn check_name(name: &str) -> Result<(), CursorError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(legal) {
        let what = format!("{name:?} is no name for a cursor: 1 to {NAME_BYTES_MAX} of a-z, A-Z, 0-9, '.', '_', '-'");
        return Err(CursorError::Name(what));
    }
    Ok(())
}

fn parse_header(value: &[u8]) -> Option<(String, Offset)> {
    let (name, position) = std::str::from_utf8(value).ok()?.rsplit_once('=')?;
    check_name(name).ok()?;
    Some((name.to_owned(), position.parse().ok().filter(|position| *position >= 0)?))
}

/// One that came with a record.
#[derive(Debug)]
struct Pending {
    at: Offset,
    name: String,
    position: Offset,
}

#[derive(Debug, Default)]
struct Known {
    /// From records that are on the disk, and from commits.
    settled: BTreeMap<String, Offset>,
    /// In the order of their records.
    pending: VecDeque<Pending>,
    /// The file is older than `settled`.
    moved: bool,
    /// Up to where the file says that the log was looked through.
    noted: Offset,
    /// Those of other topics in the directory, as they stand in the file.
    others: Vec<String>,
}

impl Known {
    fn get(&self, name: &str) -> Option<Cursor> {
        let pending = self.pending.iter().rev().find(|pending| pending.name == name);
        match pending {
            Some(pending) => Some(Cursor { position: pending.position, pending_at: Some(pending.at) }),
            None => self.settled.get(name).map(|position| Cursor { position: *position, pending_at: None }),
        }
    }

    /// What lies below `durable` is settled.
    fn settle(&mut self, durable: Offset) {
        while let Some(pending) = self.pending.pop_front_if(|pending| pending.at < durable) {
            self.settled.insert(pending.name, pending.position);
            self.moved = true;
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Cursors {
    topic_id: TopicId,
    /// Held by who writes the file. Taken before `known`.
    writing: Mutex<()>,
    known: Mutex<Known>,
    /// Held from an append with cursors until `known` has them. Taken before the partition's locks.
    appending: Mutex<()>,
}

impl Cursors {
    pub(super) fn load(directory: &DataDirectory, partition: &Arc<Partition>) -> Result<Cursors, StorageError> {
        let topic_id = partition.identity().topic_id;
        let offsets = partition.offsets();
        let (mut known, looked_through) = read(directory.disk(), directory.path(), &topic_id, offsets.log_start)?;
        known.noted = looked_through;
        let from = looked_through.clamp(offsets.log_start, offsets.log_end);
        let mut batches = Batches::new(partition.clone(), from, ReadUpTo::LogEnd);
        fold(&mut known, &mut batches, Offset::MAX).map_err(|error| match error {
            ReadError::Storage(error) => error,
            other => StorageError::invalid(partition.path(), other),
        })?;
        let cursors =
            Cursors { topic_id, writing: Mutex::new(()), known: Mutex::new(known), appending: Mutex::new(()) };
        if looked_through > offsets.log_end {
            let known = cursors.known.lock();
            write(directory, &cursors.render(&known.settled, &known.others, offsets.log_end))?;
        }
        Ok(cursors)
    }

    pub(super) fn get(&self, name: &str) -> Option<Cursor> {
        self.known.lock().get(name)
    }

    pub(super) fn list(&self) -> Vec<(String, Offset)> {
        let known = self.known.lock();
        let mut cursors = known.settled.clone();
        cursors.extend(known.pending.iter().map(|pending| (pending.name.clone(), pending.position)));
        cursors.into_iter().collect()
    }

    /// Runs an append, which gives its last offset, with these. Nobody notes that the log was looked through so far before they are known.
    pub(super) fn append_with<E>(
        &self,
        partition: &Partition,
        cursors: &[(String, Offset)],
        append: impl FnOnce() -> Result<Appended, E>,
    ) -> Result<Appended, E> {
        let _one = self.appending.lock();
        let appended = append()?;
        let durable = partition.offsets().durable;
        let (mut known, at) = (self.known.lock(), appended.last_offset);
        // Here too, so that no more are pending than appends are not on the disk.
        known.settle(durable);
        for (name, position) in cursors {
            known.pending.push_back(Pending { at, name: name.clone(), position: *position });
        }
        Ok(appended)
    }

    /// Up to where the log is on the disk. The cursors of all that lies below are known.
    fn durable(&self, partition: &Partition) -> Offset {
        let _none = self.appending.lock();
        partition.offsets().durable
    }

    pub(super) fn commit(
        &self,
        directory: &DataDirectory,
        partition: &Partition,
        cursors: &[(String, Offset)],
    ) -> Result<(), CursorError> {
        for (name, position) in cursors {
            check_name(name)?;
            let log_end = partition.offsets().log_end;
            if *position < 0 || *position > log_end {
                return Err(CursorError::BeyondTheEnd { name: name.clone(), position: *position, log_end });
            }
        }
        self.change(directory, partition, |settled| {
            settled.extend(cursors.iter().cloned());
        })?;
        Ok(())
    }

    pub(super) fn forget(
        &self,
        directory: &DataDirectory,
        partition: &Partition,
        name: &str,
    ) -> Result<bool, CursorError> {
        check_name(name)?;
        if self.get(name).is_none() {
            return Ok(false);
        }
        self.change(directory, partition, |settled| {
            settled.remove(name);
        })?;
        Ok(true)
    }

    /// Cuts the log, after which what is appended has offsets that the file would count as looked through: it is written again before any
    /// cursor is appended. A start that finds the log shorter than the file says was killed between the two, and does the same.
    pub(super) fn truncate(
        &self,
        directory: &DataDirectory,
        partition: &Partition,
        offset: Offset,
    ) -> Result<(), StorageError> {
        self.save_if_moved(directory, partition)?;
        let _one = self.writing.lock();
        let _none = self.appending.lock();
        {
            // Appended since: they go with their records, unless those are kept.
            let mut known = self.known.lock();
            known.pending.retain(|pending| pending.at < offset);
        }
        directory.truncate(partition, offset)?;
        let known = self.known.lock();
        let looked_through = partition.offsets().durable;
        let earliest = known.pending.front().map_or(looked_through, |pending| pending.at.min(looked_through));
        let text = self.render(&known.settled, &known.others, earliest);
        drop(known);
        if let Err(error) = write(directory, &text) {
            // The file says of offsets that are given again that they were looked through: no cursor may come with them.
            partition.take_offline(&error);
            return Err(error);
        }
        self.known.lock().noted = earliest;
        Ok(())
    }

    /// Changes the settled ones, on the disk first: what cannot be written has not happened.
    fn change(
        &self,
        directory: &DataDirectory,
        partition: &Partition,
        change: impl Fn(&mut BTreeMap<String, Offset>),
    ) -> Result<(), StorageError> {
        let _one = self.writing.lock();
        // Positions are promised for good, and with them the records they stand behind. Then nothing that came with a record before
        // this change is looked at again behind it.
        partition.flush()?;
        let durable = self.durable(partition);
        let text = {
            let mut known = self.known.lock();
            known.settle(durable);
            let mut settled = known.settled.clone();
            change(&mut settled);
            self.render(&settled, &known.others, durable)
        };
        write(directory, &text)?;
        let mut known = self.known.lock();
        change(&mut known.settled);
        (known.moved, known.noted) = (false, durable);
        Ok(())
    }

    /// Brings the file up to date, if there are cursors that it does not know.
    pub(super) fn save_if_moved(&self, directory: &DataDirectory, partition: &Partition) -> Result<(), StorageError> {
        let _one = self.writing.lock();
        {
            let known = self.known.lock();
            if known.pending.is_empty() && !known.moved {
                return Ok(());
            }
        }
        partition.flush()?;
        self.save(directory, self.durable(partition))
    }

    /// Notes how far the log is on the disk, so that an opening need not look through what lies below.
    pub(super) fn note(&self, directory: &DataDirectory, partition: &Partition) -> Result<(), StorageError> {
        let _one = self.writing.lock();
        let durable = self.durable(partition);
        {
            let known = self.known.lock();
            let has_settled = known.pending.front().is_some_and(|pending| pending.at < durable);
            if !known.moved && !has_settled && known.noted >= durable {
                return Ok(());
            }
        }
        self.save(directory, durable)
    }

    /// Writes what is settled. `writing` must be held.
    fn save(&self, directory: &DataDirectory, durable: Offset) -> Result<(), StorageError> {
        let text = {
            let mut known = self.known.lock();
            known.settle(durable);
            self.render(&known.settled, &known.others, durable)
        };
        write(directory, &text)?;
        let mut known = self.known.lock();
        (known.moved, known.noted) = (false, durable);
        Ok(())
    }

    fn render(&self, settled: &BTreeMap<String, Offset>, others: &[String], looked_through: Offset) -> String {
        let id = format_id(&self.topic_id);
        let mut text = format!("version: 0\nlog: {id} {looked_through}\n");
        for (name, position) in settled {
            text += &format!("cursor: {id} {name} {position}\n");
        }
        for line in others {
            text += line;
            text.push('\n');
        }
        let crc = crc_fast::crc32_iscsi(text.as_bytes());
        text + &format!("crc32c: {crc:08x}\n")
    }
}

/// Takes in what the headers of records below `stop` say.
fn fold(known: &mut Known, batches: &mut Batches, stop: Offset) -> Result<(), ReadError> {
    while let Some(batch) = batches.next(stop)? {
        for record in Records::new(&batch.bytes[batch.at..batch.end], batch.header.record_count) {
            let record = record.map_err(|what| StorageError::corrupt(batches.path(), 0, what))?;
            for (key, value) in record.headers() {
                if key == CURSOR_HEADER.as_bytes()
                    && let Some((name, position)) = value.and_then(parse_header)
                {
                    known.settled.insert(name, position);
                    known.moved = true;
                }
            }
        }
    }
    Ok(())
}

/// Those that are on the disk, for a reader that may read what `offsets` say.
pub(super) fn read_settled(
    disk: &dyn Disk,
    directory: &Path,
    topic_id: &TopicId,
    offsets: &Offsets,
    batches: impl FnOnce(Offset) -> Result<Batches, StorageError>,
) -> Result<BTreeMap<String, Offset>, ReadError> {
    let (mut known, looked_through) = read(disk, directory, topic_id, offsets.log_start)?;
    // The file may be newer than what is known of the log.
    if looked_through < offsets.last_stable {
        let mut batches = batches(looked_through.max(offsets.log_start))?;
        fold(&mut known, &mut batches, offsets.last_stable)?;
    }
    Ok(known.settled)
}

fn write(directory: &DataDirectory, text: &str) -> Result<(), StorageError> {
    let (path, disk) = (directory.path().join(FILE), directory.disk());
    directory.health().with_reserve(|| replace_file(disk, &path, text.as_bytes()).at("write", &path))
}

/// What the file knows of the topic, and the offset to go on from. Without the file everything in the log is looked through; a damaged one
/// is an error, since positions that were committed alone stand nowhere else.
fn read(
    disk: &dyn Disk,
    directory: &Path,
    topic_id: &TopicId,
    log_start: Offset,
) -> Result<(Known, Offset), StorageError> {
    let path = directory.join(FILE);
    let bytes = match read_file(disk, &path, FILE_BYTES_MAX) {
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
    parse(&text, topic_id).ok_or_else(damaged)
}

fn parse(text: &str, topic_id: &TopicId) -> Option<(Known, Offset)> {
    let body = text.rfind("crc32c: ").map(|at| &text[..at])?;
    let crc = crc_fast::crc32_iscsi(body.as_bytes());
    if text[body.len()..] != format!("crc32c: {crc:08x}\n") {
        return None;
    }
    let mut lines = body.lines();
    if lines.next()? != "version: 0" {
        return None;
    }
    let (mut known, mut looked_through) = (Known::default(), 0);
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["log:" | "cursor:", id, ..] if parse_id(id)? != *topic_id => known.others.push(line.to_owned()),
            ["log:", _, offset] => looked_through = offset.parse().ok()?,
            ["cursor:", _, name, position] => {
                known.settled.insert((*name).to_owned(), position.parse().ok()?);
            }
            _ => return None,
        }
    }
    Some((known, looked_through))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(looked_through, 1042);
        assert_eq!(known.settled, BTreeMap::from([("audit".to_owned(), 0), ("billing".to_owned(), i64::MAX)]));
        assert_eq!(known.others.len(), 2);
        let (known, looked_through) = parse(&text, &[8; 16]).unwrap();
        assert_eq!((looked_through, known.settled), (5, BTreeMap::from([("x".to_owned(), 3)])));
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
}
