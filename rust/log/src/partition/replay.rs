//! What batches that are known to be good mean to producers and epochs.

use std::io;
use std::path::Path;

use super::epochs::Epochs;
use super::producers::Producers;
use crate::Offset;
use crate::batch::control;
use crate::batch::header::HEADER_BYTES;
use crate::env::Disk;
use crate::error::StorageError;
use crate::index::txn::AbortedEntry;
use crate::segment::Segment;

pub(super) fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StorageError::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// Enters a segment's batches of [from, until) into the producers, by their headers alone but for markers; the transactions they
/// aborted.
pub(super) fn replay_segment(
    disk: &dyn Disk,
    segment: &Segment,
    from: Offset,
    until: Offset,
    producers: &mut Producers,
    mut epochs: Option<&mut Epochs>,
) -> Result<Vec<AbortedEntry>, StorageError> {
    let mut markers = Vec::new();
    let mut headers = Vec::new();
    segment.walk(disk, 0, segment.size(), |found| {
        let header = found.header;
        if header.base_offset >= until {
            return true;
        }
        if let Some(epochs) = epochs.as_deref_mut() {
            epochs.assign(header.leader_epoch, header.base_offset);
        }
        if header.base_offset >= from && header.has_producer() {
            if header.is_control() {
                markers.push((headers.len(), *found));
            }
            headers.push((header, None));
        }
        false
    })?;
    for (index, found) in markers {
        let batch = segment.read_batch(disk, &found)?;
        headers[index].1 = control::end_marker_of(&found.header, &batch[HEADER_BYTES..]);
    }
    let mut aborted = Vec::new();
    for (header, marker) in headers {
        if let Some(ended) = producers.apply(&header, marker).filter(|ended| ended.aborted) {
            aborted.push(producers.aborted_entry(&ended));
        }
    }
    Ok(aborted)
}
