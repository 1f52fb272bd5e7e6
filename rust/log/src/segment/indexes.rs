//! What a segment knows of where things are: the two sparse indexes, the aborted transactions, the youngest record.

use std::path::Path;

use super::names;
use crate::Offset;
use crate::batch::BatchHeader;
use crate::index::offset::OffsetIndex;
use crate::index::time::{TimeEntry, TimeIndex};
use crate::index::txn::AbortedEntry;

#[derive(Debug)]
pub(crate) struct Indexes {
    pub offset: OffsetIndex,
    pub time: TimeIndex,
    /// None: not read yet.
    pub txn: Option<Vec<AbortedEntry>>,
    /// How many of them the file has.
    pub txn_written: usize,
    /// They were compared with the log once.
    pub txn_checked: bool,
    /// Nothing is appended here any more.
    pub is_closed: bool,
    /// None: not read yet. Some(None): no record has a timestamp.
    pub max: Option<Option<TimeEntry>>,
    /// Timestamp of the first batch, for `segment.ms`. None: not read yet or nothing there.
    pub first_timestamp_ms: Option<i64>,
    pub bytes_since_entry: u32,
    /// They were wrong and were made anew from the log.
    pub rebuilt: bool,
}

impl Indexes {
    /// Nothing yet; the files' names end in `suffix`.
    pub fn fresh(directory: &Path, base_offset: Offset, suffix: &str) -> Indexes {
        let path = |kind: &str| names::file(directory, base_offset, &format!("{kind}{suffix}"));
        Indexes {
            offset: OffsetIndex::fresh(base_offset, path(names::OFFSET_INDEX)),
            time: TimeIndex::fresh(base_offset, path(names::TIME_INDEX)),
            txn: Some(Vec::new()),
            txn_written: 0,
            txn_checked: true,
            is_closed: false,
            max: Some(None),
            first_timestamp_ms: None,
            bytes_since_entry: 0,
            rebuilt: false,
        }
    }

    /// Enters a batch.
    pub fn note(&mut self, header: &BatchHeader, position: u32, bytes: u32, index_interval_bytes: u32) {
        let last_offset = header.last_offset();
        let max = self.max.get_or_insert(None);
        // What compaction emptied has no record of that time.
        if header.record_count > 0 && header.max_timestamp_ms > max.map_or(-1, |max| max.timestamp_ms) {
            *max = Some(TimeEntry { timestamp_ms: header.max_timestamp_ms, offset: last_offset });
        }
        if position == 0 {
            self.first_timestamp_ms = Some(header.max_timestamp_ms);
        }
        // Where they left memory once more the next batch gets the entry.
        let is_closed = self.offset.file().is_closed() || self.time.file().is_closed();
        if self.bytes_since_entry > index_interval_bytes && !is_closed {
            self.offset.push(last_offset, position);
            if let Some(max) = *max {
                self.time.push(max);
            }
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(bytes);
    }

    /// Enters the last time entry: nothing follows.
    pub fn seal(&mut self) {
        if let Some(Some(max)) = self.max {
            self.time.push(max);
        }
    }

    /// Lets go of the aborted transactions of a closed segment, which the file has too.
    pub fn release_aborted(&mut self) {
        let in_file = self.txn.as_ref().is_some_and(|entries| !entries.is_empty() && entries.len() == self.txn_written);
        if self.is_closed && in_file {
            self.txn = None;
        }
    }

    /// The files, written, go by their segment's names now.
    pub fn moved_to(&mut self, directory: &Path, base_offset: Offset) {
        self.offset.file().moved_to(names::file(directory, base_offset, names::OFFSET_INDEX));
        self.time.file().moved_to(names::file(directory, base_offset, names::TIME_INDEX));
    }
}
