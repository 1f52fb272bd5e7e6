//! The batches of a partition from an offset on, over whatever is damaged, from files that somebody may be replacing, cutting or removing.
//!
//! A segment is opened once: compaction and retention then change nothing of it. Behind its end the directory is listed again, so that the
//! next one is what goes on where this one ended, whatever was merged meanwhile. A truncation alone changes a file in place. So damage in a
//! log that has an owner is looked at again from the segment's begin on; where batches do not begin any more as they did, the reader was
//! overtaken.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::layout::{Layout, SegmentFiles, is_gone};
use super::walk::{Damage, Walked, walk};
use crate::Offset;
use crate::compaction::swap::Ends;
use crate::env::{Disk, File, OpenMode};
use crate::error::{IoContext, StorageError};

/// A segment that is gone when it is to be opened is looked for so often before it is an error.
const LOOKS_MAX: usize = 100;

/// See the module.
#[derive(Debug)]
pub struct Reader {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    is_live: bool,
    ends: Ends,
    here: Option<Here>,
    /// Behind what was given.
    next: Offset,
    has_given: bool,
    has_ended: bool,
    passed_bytes: u64,
}

/// A segment that is being read.
#[derive(Debug)]
struct Here {
    files: SegmentFiles,
    file: Arc<dyn File>,
    position: u64,
    passed_bytes: u64,
}

/// How far a segment has brought its reader.
enum Read {
    Given,
    /// There is no more in it.
    Ended,
    /// Behind its last batch lies what is none, in a log that has an owner: on its way, if nothing follows.
    Torn(Damage),
}

/// What was found where damage had been.
enum SecondLook {
    Damage(Damage),
    /// It has been written by now, with this offset.
    Batch(Offset),
    /// Neither a batch nor damage begins there.
    Nothing,
}

/// Where it goes on.
enum Next {
    /// In the segment that holds the next offset, which was entered.
    Here,
    /// In the one behind it, which was entered.
    Behind,
    Nowhere,
}

impl Reader {
    /// Begins with the batch that holds `start`, or the first behind it. `is_live`: the directory has an owner.
    pub fn new(disk: Arc<dyn Disk>, directory: PathBuf, start: Offset, is_live: bool) -> Reader {
        let (ends, here) = (Ends::default(), None);
        Reader {
            disk,
            directory,
            is_live,
            ends,
            here,
            next: start,
            has_given: false,
            has_ended: false,
            passed_bytes: 0,
        }
    }

    /// Bytes of files that were gone through since the last call.
    pub fn take_passed_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.passed_bytes)
    }

    /// Hands up to `count` batches, or stretches that are none, to `each`. False: there are no more.
    pub fn read(&mut self, count: usize, mut each: impl FnMut(Walked<'_>)) -> Result<bool, StorageError> {
        while !self.has_ended {
            let read = match &mut self.here {
                None => Read::Ended,
                Some(here) => here.read(self.is_live, &mut self.next, count, &mut each)?,
            };
            if let Some(here) = &mut self.here {
                self.passed_bytes += std::mem::take(&mut here.passed_bytes);
            }
            if matches!(read, Read::Given) {
                self.has_given = true;
                return Ok(true);
            }
            let next = self.find_next()?;
            self.has_ended = matches!(next, Next::Nowhere);
            if let (Read::Torn(damage), Next::Behind | Next::Nowhere) = (read, next) {
                each(Walked::Damage(damage));
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn find_next(&mut self) -> Result<Next, StorageError> {
        let mut looks = 0;
        loop {
            looks += 1;
            match self.look_for_next() {
                Err(error) if is_gone(&error) && self.is_live && looks < LOOKS_MAX => {}
                next => return next,
            }
        }
    }

    fn look_for_next(&mut self) -> Result<Next, StorageError> {
        let mut behind = None;
        // While names change one that is there may not be listed. What is missing in a second look, begun after the first, is missing.
        for _ in 0..if self.is_live { 2 } else { 1 } {
            let layout = Layout::take(self.disk.as_ref(), &self.directory, &mut self.ends)?;
            let place = layout.place_of(self.next);
            if let Some(files) = place.map(|place| &layout.segments[place]) {
                let is_first = self.here.is_none();
                // Without an owner it is what it was.
                let is_same = !self.is_live && self.here.as_ref().is_some_and(|here| here.files == *files);
                if !is_same && (self.enter(files)? || is_first) {
                    return Ok(Next::Here);
                }
            }
            let is_deleted = place.is_none() && self.has_given && self.is_live;
            behind = layout.segments.into_iter().nth(place.map_or(0, |place| place + 1));
            if let Some(files) = behind.as_ref().filter(|_| is_deleted) {
                let (from, to) = (self.next, files.base_offset - 1);
                let what = format!("offsets {from} to {to} were deleted meanwhile: begin again");
                return Err(StorageError::Overtaken { path: self.directory.clone(), what });
            }
        }
        let Some(files) = behind else { return Ok(Next::Nowhere) };
        self.enter(&files)?;
        // Offsets may be missing between segments.
        self.next = self.next.max(files.base_offset);
        Ok(Next::Behind)
    }

    /// Opens a segment, and passes what ends before the next offset. False: that is all that is whole in it.
    fn enter(&mut self, files: &SegmentFiles) -> Result<bool, StorageError> {
        let path = &files.log;
        let file = self.disk.open(path, OpenMode::Read).at("open", path)?;
        let limit = file.length().at("look at", path)?;
        let (mut position, mut found) = (0, None);
        walk(&file, 0, files.base_offset, None, limit, |walked| {
            let (begin, end, offsets) = match &walked {
                Walked::Batch { position, header, batch } => {
                    let begin = u64::from(*position);
                    (begin, begin + batch.len() as u64, header.base_offset..header.next_offset())
                }
                Walked::Damage(damage) => (damage.bytes.start, damage.bytes.end, damage.offsets.clone()),
            };
            (position, found) = if offsets.end > self.next { (begin, Some(offsets.start)) } else { (end, None) };
            if offsets.is_empty() {
                // A tail that is no batch: to be read.
                position = begin;
            }
            found.is_none()
        })
        .at("read", path)?;
        // It may hold the next offset inside.
        self.next = found.unwrap_or(self.next);
        self.here = Some(Here { files: files.clone(), file, position, passed_bytes: position });
        Ok(found.is_some())
    }
}

fn truncated(path: &Path) -> StorageError {
    StorageError::Overtaken { path: path.to_path_buf(), what: "was truncated meanwhile: begin again".to_owned() }
}

impl Here {
    fn read(
        &mut self,
        is_live: bool,
        next: &mut Offset,
        count: usize,
        each: &mut impl FnMut(Walked<'_>),
    ) -> Result<Read, StorageError> {
        loop {
            let (path, begin) = (&self.files.log, self.position);
            let limit = self.file.length().at("look at", path)?;
            if begin > limit {
                return Err(truncated(path));
            }
            let (mut found, mut doubtful) = (0, None);
            walk(&self.file, begin, *next, None, limit, |walked| {
                match &walked {
                    Walked::Damage(damage) if is_live => {
                        doubtful = Some(damage.clone());
                        return false;
                    }
                    Walked::Damage(damage) => (self.position, *next) = (damage.bytes.end, damage.offsets.end),
                    Walked::Batch { position, header, batch } => {
                        (self.position, *next) = (u64::from(*position) + batch.len() as u64, header.next_offset());
                    }
                }
                each(walked);
                found += 1;
                found < count
            })
            .at("read", path)?;
            self.passed_bytes += self.position - begin;
            match doubtful {
                // What is doubtful comes with the next call.
                _ if found > 0 => return Ok(Read::Given),
                None => return Ok(Read::Ended),
                Some(doubtful) => match self.look_again(&doubtful)? {
                    SecondLook::Batch(base) if base >= *next => {}
                    SecondLook::Batch(_) | SecondLook::Nothing => return Err(truncated(&self.files.log)),
                    SecondLook::Damage(damage) if damage.is_tail() => return Ok(Read::Torn(damage)),
                    SecondLook::Damage(damage) => {
                        self.passed_bytes += damage.bytes.end - damage.bytes.start;
                        (self.position, *next) = (damage.bytes.end, damage.offsets.end);
                        each(Walked::Damage(damage));
                        return Ok(Read::Given);
                    }
                },
            }
        }
    }

    /// From the segment's begin on, as it lies there by now.
    fn look_again(&self, doubtful: &Damage) -> Result<SecondLook, StorageError> {
        let path = &self.files.log;
        let limit = self.file.length().at("look at", path)?;
        let mut seen = SecondLook::Nothing;
        walk(&self.file, 0, self.files.base_offset, None, limit, |walked| {
            let begin = match &walked {
                Walked::Batch { position, .. } => u64::from(*position),
                Walked::Damage(damage) => damage.bytes.start,
            };
            if begin == doubtful.bytes.start {
                seen = match walked {
                    Walked::Batch { header, .. } => SecondLook::Batch(header.base_offset),
                    Walked::Damage(damage) => SecondLook::Damage(damage),
                };
            }
            begin < doubtful.bytes.start
        })
        .at("read", path)?;
        Ok(seen)
    }
}
