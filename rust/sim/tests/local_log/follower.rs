//! Who reads the log from another process, after a cut: before its owner comes back, and while it goes on.

use ottla_log::error::{ReadError, StorageError};
use ottla_log::local::Batches;
use ottla_sim::disk::PowerDisk;

use crate::bench::{self, Line, Seen};

/// One reader and what it has read so far.
#[derive(Debug)]
pub struct Reader {
    readable: i64,
    start: i64,
    batches: Batches,
    pub lines: Vec<Line>,
    /// What it was told in place of records.
    pub told: Option<ReadError>,
}

/// Errors that say what to do; anything else would be a disk that cannot be read, or damage.
fn is_named(error: &ReadError) -> bool {
    matches!(error, ReadError::OffsetOutOfRange { .. } | ReadError::Storage(StorageError::Overtaken { .. }))
}

impl Reader {
    /// Reads from where the log starts. None: its owner has told nobody anything.
    pub fn begin(disk: &PowerDisk) -> Result<Reader, String> {
        let follower = bench::open_follower(disk)?;
        let offsets = follower.offsets().map_err(|error| error.to_string())?;
        let mut start = offsets.log_start;
        loop {
            let mut batches = follower.batches(start).map_err(|error| error.to_string())?;
            let (lines, told) = match bench::read(&mut batches) {
                Ok(lines) => (lines, None),
                // Deleted after its owner said where it starts.
                Err(ReadError::OffsetOutOfRange { log_start, .. }) if log_start > start => {
                    start = log_start;
                    continue;
                }
                Err(error) => (Vec::new(), Some(error)),
            };
            return Ok(Reader { readable: offsets.durable, start, batches, lines, told });
        }
    }

    /// What it was told is true of the log as its owner finds it: no record that is not there, none left out, no end behind the end.
    pub fn check(&self, seen: &Seen, was_appended: impl Fn(&Line) -> bool) -> Result<(), String> {
        let is_half_replaced = |error: &ReadError| error.to_string().contains("open the log to be written");
        if self.readable > seen.end.max(seen.start) {
            return Err(format!("{} was published, and the log ends at {}", self.readable, seen.end));
        }
        if let Some(error) = self.told.as_ref().filter(|error| !is_half_replaced(error)) {
            return Err(error.to_string());
        }
        if let Some(line) = self.lines.iter().find(|line| line.offset >= seen.end || !was_appended(line)) {
            return Err(format!("{line:?} was read, which is not in the log"));
        }
        let read = self.start..self.batches.next_offset();
        let missing = |line: &&Line| read.contains(&line.offset) && !self.lines.contains(line);
        match seen.lines.iter().find(missing) {
            Some(line) => Err(format!("{line:?} was left out of {read:?}")),
            None => Ok(()),
        }
    }

    /// Reads on: all that its owner has by now, or it is told why not. True: it was.
    pub fn go_on(&mut self, seen: &Seen) -> Result<bool, String> {
        let from = self.batches.next_offset();
        let expected: Vec<&Line> = seen.lines.iter().filter(|line| line.offset >= from).collect();
        match bench::read(&mut self.batches) {
            Ok(lines) if lines.iter().collect::<Vec<_>>() == expected => {
                self.lines.extend(lines);
                Ok(false)
            }
            Ok(lines) => Err(format!("{lines:?} read from {from} on, not {expected:?}")),
            Err(error) if is_named(&error) => Ok(true),
            Err(error) => Err(error.to_string()),
        }
    }
}
