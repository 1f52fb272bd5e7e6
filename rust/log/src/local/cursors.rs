//! Named cursors: positions that readers keep in a log.
//!
//! A position is a number that the log keeps and does not look at: who reads one log and appends to another keeps in that one where it is in
//! the first, and the two have nothing to compare. So any position that is not negative is taken, and one is checked where it is used, by the
//! log that is read from it. Truncation alone looks: see [`Cursors::truncate`].
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
//! offset on. Before records are deleted, compacted or cut the file is written, so that none is the last to know of a cursor; those that
//! came since are kept ([`Partition::keep_from`]).

mod file;
mod known;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;

use self::file::{read, write};
use self::known::Known;
use super::log::TruncateError;
use super::scan::Batches;
use crate::batch::records::Records;
use crate::checkpoint::format_id;
use crate::directory::DataDirectory;
use crate::env::Disk;
use crate::error::{AppendError, ReadError, StorageError};
use crate::partition::{Appended, Partition, ReadUpTo};
use crate::{Offset, Offsets, TopicId};

/// The header that carries a cursor.
pub const CURSOR_HEADER: &str = "ottla.cursor";
/// Of the file. What would make it longer is refused.
const FILE_BYTES_MAX: usize = 64 << 20;
const NAME_BYTES_MAX: usize = 249;
/// Waiting for a sync. Half of them ask for one, and with all who appends makes it.
const PENDING_MAX: usize = 1 << 16;

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
    #[error("cursor {name} cannot stand at {position}")]
    Negative { name: String, position: Offset },
    #[error(
        "the cursors of a data directory have {FILE_BYTES_MAX} bytes for names and positions, and these are too many: forget those that nobody reads from. Nothing was changed"
    )]
    TooMany,
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

/// Names and positions as they may be given.
fn check(cursors: &[(String, Offset)]) -> Result<(), CursorError> {
    for (name, position) in cursors {
        check_name(name)?;
        if *position < 0 {
            return Err(CursorError::Negative { name: name.clone(), position: *position });
        }
    }
    Ok(())
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
        warn_of_gap(partition, &known, looked_through);
        let from = looked_through.clamp(offsets.log_start, offsets.log_end);
        partition.keep_from(from);
        let mut batches = Batches::new(partition.clone(), from, ReadUpTo::LogEnd);
        fold(&mut known, &mut batches, Offset::MAX).map_err(|error| unread(partition, error))?;
        let cursors =
            Cursors { topic_id, writing: Mutex::new(()), known: Mutex::new(known), appending: Mutex::new(()) };
        if looked_through > offsets.log_end {
            let known = cursors.known.lock();
            write(directory, &cursors.render(known.settled(), &known.others, offsets.log_end))?;
        }
        Ok(cursors)
    }

    pub(super) fn get(&self, name: &str) -> Option<Cursor> {
        self.known.lock().get(name)
    }

    pub(super) fn list(&self) -> Vec<(String, Offset)> {
        self.known.lock().list()
    }

    /// Runs an append, which gives its last offset, with these. Nobody notes that the log was looked through so far before they are known.
    pub(super) fn append_with(
        &self,
        partition: &Partition,
        cursors: &[(String, Offset)],
        append: impl FnOnce() -> Result<Appended, AppendError>,
    ) -> Result<Appended, AppendError> {
        let _one = self.appending.lock();
        let is_full = {
            let known = self.known.lock();
            known.check_room(cursors).map_err(|error| AppendError::invalid(error.to_string()))?;
            known.pending() >= PENDING_MAX
        };
        if is_full {
            partition.flush()?;
        }
        let appended = append()?;
        let durable = partition.offsets().durable;
        let (before, pending) = {
            let mut known = self.known.lock();
            // Here too, so that no more are pending than appends are not on the disk.
            known.settle(durable);
            let before = known.pending();
            known.push(appended.last_offset, cursors);
            (before, known.pending())
        };
        if (before..pending).contains(&(PENDING_MAX / 2)) {
            // It is appended: what the disk says to it the next one is told.
            let _ = partition.flush_soon();
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
        check(cursors)?;
        self.known.lock().check_room(cursors)?;
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

    /// Cuts the log. A reader whose cursor stands beyond the cut would pass over what is appended in the place of what goes; and what was
    /// made from the records up to a cursor is gone with the record that it moved with. So neither is left as it is unasked: `cursors`
    /// says where it is to stand.
    ///
    /// After the cut what is appended has offsets that the file would count as looked through: it is written again before any cursor is
    /// appended. A start that finds the log shorter than the file says was killed between the two, and does the same.
    pub(super) fn truncate(
        &self,
        directory: &DataDirectory,
        partition: &Arc<Partition>,
        offset: Offset,
        cursors: &[(String, Offset)],
        cut: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<(), TruncateError> {
        check(cursors)?;
        let _one = self.writing.lock();
        partition.flush()?;
        let _none = self.appending.lock();
        if partition.offsets().durable < partition.offsets().log_end {
            partition.flush()?;
        }
        let durable = partition.offsets().durable;
        let (mut settled, others) = {
            let mut known = self.known.lock();
            known.check_room(cursors)?;
            known.settle(durable);
            (known.settled().clone(), known.others.clone())
        };
        check_left(partition, offset, &settled, cursors)?;
        settled.extend(cursors.iter().cloned());
        // On the disk first, as records are before cursors: what is not cut in the end is read once more.
        self.known.lock().moved = false;
        self.write(directory, partition, &self.render(&settled, &others, durable), durable)?;
        self.known.lock().change(|known| *known = settled);
        // Offsets from here on are given again.
        partition.keep_from(offset.min(partition.kept_from()));
        cut()?;
        let looked_through = partition.offsets().durable;
        let after = {
            let known = self.known.lock();
            self.render(known.settled(), &known.others, looked_through)
        };
        if let Err(error) = write(directory, &after) {
            // The file says of offsets that are given again that they were looked through: no cursor may come with them.
            partition.take_offline(&error);
            return Err(error.into());
        }
        self.known.lock().noted = looked_through;
        partition.keep_from(looked_through);
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
            let mut settled = known.settled().clone();
            change(&mut settled);
            known.moved = false;
            self.render(&settled, &known.others, durable)
        };
        self.write(directory, partition, &text, durable)?;
        self.known.lock().change(change);
        Ok(())
    }

    /// Brings the file up to date, if there are cursors that it does not know. It knows those of all records below the offset that this
    /// gives, which is not below what was the log end before.
    pub(super) fn save_if_moved(
        &self,
        directory: &DataDirectory,
        partition: &Partition,
    ) -> Result<Offset, StorageError> {
        let _one = self.writing.lock();
        {
            let _none = self.appending.lock();
            let offsets = partition.offsets();
            let known = self.known.lock();
            // Where the log is looked through is told too: who finds less of it there than that has missed cursors.
            let is_noted = known.settled().is_empty() || known.noted >= offsets.durable;
            if known.pending() == 0 && !known.moved && is_noted {
                partition.keep_from(offsets.log_end.max(partition.kept_from()));
                return Ok(offsets.log_end);
            }
        }
        partition.flush()?;
        let durable = self.durable(partition);
        self.save(directory, partition, durable)?;
        Ok(durable)
    }

    /// Notes how far the log is on the disk, so that an opening need not look through what lies below.
    pub(super) fn note(&self, directory: &DataDirectory, partition: &Partition) -> Result<(), StorageError> {
        let _one = self.writing.lock();
        let durable = self.durable(partition);
        {
            let known = self.known.lock();
            let has_settled = known.first_pending().is_some_and(|at| at < durable);
            if !known.moved && !has_settled && known.noted >= durable {
                return Ok(());
            }
        }
        self.save(directory, partition, durable)
    }

    /// Writes what is settled. `writing` must be held.
    fn save(&self, directory: &DataDirectory, partition: &Partition, durable: Offset) -> Result<(), StorageError> {
        let text = {
            let mut known = self.known.lock();
            known.settle(durable);
            known.moved = false;
            self.render(known.settled(), &known.others, durable)
        };
        self.write(directory, partition, &text, durable)
    }

    /// The file as it was rendered when `moved` was taken back, which it is not again unless something is settled meanwhile.
    fn write(
        &self,
        directory: &DataDirectory,
        partition: &Partition,
        text: &str,
        durable: Offset,
    ) -> Result<(), StorageError> {
        if let Err(error) = write(directory, text) {
            self.known.lock().moved = true;
            return Err(error);
        }
        self.known.lock().noted = durable;
        partition.keep_from(durable.max(partition.kept_from()));
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

/// Another owner took records away that nobody had looked through, or the end of the log: positions may be older ones than were committed.
fn warn_of_gap(partition: &Partition, known: &Known, looked_through: Offset) {
    let offsets = partition.offsets();
    let cleaned = partition.checkpoint_facts().and_then(|facts| facts.cleaned);
    if !known.settled().is_empty() && looked_through < offsets.log_start.max(cleaned.unwrap_or(0)) {
        tracing::warn!(
            ?partition,
            looked_through,
            log_start = offsets.log_start,
            cleaned,
            "records were deleted or compacted before their cursors were noted, by a broker perhaps: positions may be older than those committed"
        );
    }
    if looked_through > offsets.log_end {
        tracing::warn!(
            ?partition,
            looked_through,
            log_end = offsets.log_end,
            "the log was cut after cursors were noted: they stay where they are"
        );
    }
}

/// Tells of what the headers of records below `stop` say, in their order.
fn each_carried(batches: &mut Batches, stop: Offset, mut tell: impl FnMut(String, Offset)) -> Result<(), ReadError> {
    while let Some(batch) = batches.next(stop)? {
        for record in Records::new(&batch.bytes[batch.at..batch.end], batch.header.record_count) {
            let record = record.map_err(|what| StorageError::corrupt(batches.path(), 0, what))?;
            for (key, value) in record.headers() {
                if key == CURSOR_HEADER.as_bytes()
                    && let Some((name, position)) = value.and_then(parse_header)
                {
                    tell(name, position);
                }
            }
        }
    }
    Ok(())
}

/// Each that stands beyond the cut, or moved with a record that goes, must be among `named`.
fn check_left(
    partition: &Arc<Partition>,
    offset: Offset,
    settled: &BTreeMap<String, Offset>,
    named: &[(String, Offset)],
) -> Result<(), TruncateError> {
    let named: BTreeSet<&String> = named.iter().map(|(name, _)| name).collect();
    let mut unnamed = settled.clone();
    unnamed.retain(|name, _| !named.contains(name));
    let mut carried = BTreeSet::new();
    if !unnamed.is_empty() {
        let mut batches = Batches::new(partition.clone(), offset, ReadUpTo::LogEnd);
        each_carried(&mut batches, Offset::MAX, |name, _| _ = carried.insert(name))
            .map_err(|error| unread(partition, error))?;
    }
    unnamed.retain(|name, position| *position > offset || carried.contains(name));
    if unnamed.is_empty() { Ok(()) } else { Err(TruncateError::Cursors(unnamed.into_iter().collect())) }
}

fn fold(known: &mut Known, batches: &mut Batches, stop: Offset) -> Result<(), ReadError> {
    let folded = each_carried(batches, stop, |name, position| known.found(name, position));
    known.recount();
    folded
}

fn unread(partition: &Partition, error: ReadError) -> StorageError {
    match error {
        ReadError::Storage(error) => error,
        other => StorageError::invalid(partition.path(), other),
    }
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
    Ok(known.settled().clone())
}

#[cfg(test)]
mod tests;
