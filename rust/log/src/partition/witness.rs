//! Who is right about leader epochs. That of a batch is outside its checksum, and the checkpoint of them has none: either may be wrong.
//!
//! A checkpoint alone costs no batch: one that does not fit is made anew from the batches. A batch whose epoch is above that of the next
//! one has two witnesses against it, since epochs never go back, and is damaged.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::epochs::Epochs;
use crate::Offset;
use crate::batch::BatchHeader;
use crate::batch::header::{self, HEADER_BYTES, MAGIC};
use crate::env::{Disk, File, OpenMode};
use crate::error::{IoContext, StorageError};
use crate::segment::scan::Scanned;
use crate::segment::{Segment, names};

/// Of a batch that has none.
const NO_EPOCH: i32 = -1;

/// Where the batch behind another is: further on in the same log file, or at the begin of the next segment.
pub(super) struct Follower<'a> {
    pub log: &'a Arc<dyn File>,
    pub path: &'a Path,
    pub size: u32,
    pub next_base: Option<Offset>,
}

/// What the checkpoint has instead of the batch's epoch.
pub(super) fn wrong_epoch(stored: Option<&Epochs>, header: &BatchHeader) -> Option<String> {
    let known = stored?.at(header.base_offset)?;
    (known != header.leader_epoch).then(|| format!("leader epoch {}, the checkpoint has {known}", header.leader_epoch))
}

/// Whose word does not count, and why.
pub(super) enum Wrong {
    Batch(String),
    Checkpoint(String),
}

/// Which of the two is wrong, if they differ.
pub(super) fn judge_epoch(
    disk: &dyn Disk,
    directory: &Path,
    stored: Option<&Epochs>,
    batch: &Scanned<'_>,
    follower: &Follower<'_>,
) -> Result<Option<Wrong>, StorageError> {
    let Some(what) = wrong_epoch(stored, &batch.header) else { return Ok(None) };
    if is_damaged(disk, directory, batch, follower)? {
        return Ok(Some(Wrong::Batch(what)));
    }
    Ok(Some(Wrong::Checkpoint(format!(
        "{} does not fit the batches, whose epochs are taken: {} at byte {}, offset {}: {what}",
        names::LEADER_EPOCHS,
        follower.path.display(),
        batch.position,
        batch.header.base_offset
    ))))
}

/// Is the epoch of this batch one that it cannot have?
fn is_damaged(
    disk: &dyn Disk,
    directory: &Path,
    batch: &Scanned<'_>,
    follower: &Follower<'_>,
) -> Result<bool, StorageError> {
    let header = &batch.header;
    if header.leader_epoch < NO_EPOCH {
        return Ok(true);
    }
    let end = batch.position + batch.batch.len() as u32;
    let next = match follower.next_base {
        Some(next_base) if end == follower.size => {
            let path = names::file(directory, next_base, names::LOG);
            let file = disk.open(&path, OpenMode::Read).at("open", &path)?;
            whole_header(file.as_ref(), 0).at("read", &path)?
        }
        _ => whole_header(follower.log.as_ref(), u64::from(end)).at("read", follower.path)?,
    };
    let follows = |next: &BatchHeader| next.base_offset >= header.next_offset();
    Ok(next.filter(follows).is_some_and(|next| next.leader_epoch < header.leader_epoch))
}

/// The header of the batch at `position`, if there is one that is whole and fits its checksum.
fn whole_header(file: &dyn File, position: u64) -> io::Result<Option<BatchHeader>> {
    let mut head = [0; HEADER_BYTES];
    let read = file.read_at(&mut head, position)?;
    let Some(header) = BatchHeader::read(&head[..read]).filter(|header| header.magic == MAGIC) else { return Ok(None) };
    let left = file.length()?.saturating_sub(position);
    let Some(bytes) = header.total_bytes().filter(|bytes| u64::from(*bytes) <= left) else { return Ok(None) };
    let mut batch = vec![0; bytes as usize];
    let read = file.read_at(&mut batch, position)?;
    Ok((read == batch.len() && header::checksum(&batch) == header.crc).then_some(header))
}

/// The epochs as the batches tell them. A segment that begins and ends with the same one is not read.
pub(super) fn epochs_of(disk: &dyn Disk, segments: &[Arc<Segment>]) -> Result<Epochs, StorageError> {
    let mut firsts = Vec::with_capacity(segments.len());
    for segment in segments {
        firsts.push(match segment.walk(disk, 0, segment.size(), |_| true) {
            // Damage in a closed segment, which is for its readers to find.
            Err(StorageError::Corrupt { .. }) => None,
            found => found?.map(|found| found.header),
        });
    }
    let mut epochs = Epochs::default();
    for (index, segment) in segments.iter().enumerate() {
        let Some(first) = firsts[index] else { continue };
        epochs.assign(first.leader_epoch, first.base_offset);
        let next = firsts.get(index + 1).copied().flatten();
        if next.is_some_and(|next| next.leader_epoch == first.leader_epoch) {
            continue;
        }
        let walked = segment.walk(disk, 0, segment.size(), |found| {
            epochs.assign(found.header.leader_epoch, found.header.base_offset);
            false
        });
        match walked {
            Ok(_) | Err(StorageError::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(epochs)
}
