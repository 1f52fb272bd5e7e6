//! What can be mended of what [`super::verify`] found, planned and then done. Whatever can be read stays.
//!
//! A compaction that was cut off is ended or taken back, a torn tail cut off, as the next start would. A damaged stretch with batches behind it is replaced by one empty batch that stands for
//! its offsets, as compaction leaves them: without it a start after a crash would take the gap for the end. Indexes are made anew. Whoever
//! calls this holds the directory's lock; the mark of a clean stop must go before, so that the next start looks at everything again.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use super::report::{Kind, Report};
use super::walk::{Damage, Walked, walk};
use crate::Offset;
use crate::batch::header::{FRAMING_BYTES, HEADER_BYTES, MAGIC, checksum};
use crate::batch::{BatchHeader, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP};
use crate::checkpoint;
use crate::compaction::swap;
use crate::env::{Disk, OpenMode, read_exact_at};
use crate::error::{IoContext, StorageError};
use crate::segment::{Segment, names};

/// Kafka's default.
const INDEX_INTERVAL_BYTES: u32 = 4096;
const COPY_BYTES: usize = 1 << 20;

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// What an opening does about compactions that were cut off.
    EndCompactions {
        finished: Vec<Offset>,
        taken_back: Vec<Offset>,
    },
    Cut {
        base: Offset,
        position: u64,
        bytes: u64,
    },
    Bridge {
        base: Offset,
        damage: Vec<Damage>,
    },
    RebuildIndexes {
        base: Offset,
    },
    Remove {
        path: PathBuf,
        why: &'static str,
    },
    WriteEpochs {
        epochs: Vec<(i32, Offset)>,
    },
}

impl std::fmt::Display for Action {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Action::EndCompactions { finished, taken_back } => {
                let of = |verb, bases: &[Offset]| {
                    let bases: Vec<String> = bases.iter().map(Offset::to_string).collect();
                    (!bases.is_empty()).then(|| format!("{verb} the compaction of segment {}", bases.join(", ")))
                };
                let told: Vec<String> =
                    [of("finish", finished), of("take back", taken_back)].into_iter().flatten().collect();
                formatter.write_str(&told.join(" and "))
            }
            Action::Cut { base, position, bytes } => {
                write!(formatter, "cut {bytes} bytes off the end of segment {base}, at byte {position}")
            }
            Action::Bridge { base, damage } => {
                let lost: Vec<String> = damage
                    .iter()
                    .map(|damage| format!("{} to {}", damage.offsets.start, damage.offsets.end - 1))
                    .collect();
                write!(formatter, "write segment {base} anew without the records of offsets {}", lost.join(", "))
            }
            Action::RebuildIndexes { base } => write!(formatter, "make the indexes of segment {base} anew"),
            Action::Remove { path, why } => write!(formatter, "remove {}: {why}", path.display()),
            Action::WriteEpochs { epochs } => {
                write!(formatter, "write the {} leader epochs of the batches", epochs.len())
            }
        }
    }
}

/// What would be done about a report, in order. What is not in it cannot be mended: records that were written wrongly, a topic id. An
/// index of aborted transactions that is wrong is made anew by whoever opens the log and needs it.
pub fn plan(report: &Report) -> Vec<Action> {
    let (mut actions, cut_off) = (Vec::new(), &report.cut_off);
    if !cut_off.is_nothing() {
        // First: the report tells of the files as they are after it.
        let finished = cut_off.replacements.iter().map(|replacement| replacement.base).collect();
        let taken_back = cut_off.unfinished.union(&cut_off.damaged).copied().collect();
        actions.push(Action::EndCompactions { finished, taken_back });
    }
    for segment in &report.segments {
        let base = segment.base_offset;
        let (tail, inside): (Vec<_>, Vec<_>) = segment.damage.iter().cloned().partition(Damage::is_tail);
        let is_index = |kind| matches!(kind, Kind::OffsetIndex | Kind::TimeIndex);
        let is_of = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let name = name.strip_suffix(names::SWAP_SUFFIX).unwrap_or(name);
            names::SEGMENT_FILES.iter().any(|kind| names::offset_of(name, kind) == Some(base))
        };
        if let Some(torn) = tail.first() {
            let bytes = torn.bytes.end - torn.bytes.start;
            actions.push(Action::Cut { base, position: torn.bytes.start, bytes });
        }
        if !inside.is_empty() {
            actions.push(Action::Bridge { base, damage: inside });
        }
        let has_wrong_index = report.findings.iter().any(|finding| is_index(finding.kind) && is_of(&finding.path));
        if has_wrong_index || !segment.damage.is_empty() {
            actions.push(Action::RebuildIndexes { base });
        }
    }
    for finding in &report.findings {
        match finding.kind {
            Kind::ProducerSnapshot => {
                actions.push(Action::Remove { path: finding.path.clone(), why: "it cannot be read" });
            }
            Kind::Leftover => actions.push(Action::Remove { path: finding.path.clone(), why: "it was to be removed" }),
            _ => {}
        }
    }
    if report.findings.iter().any(|finding| finding.kind == Kind::LeaderEpochs) {
        actions.push(Action::WriteEpochs { epochs: report.epochs.clone() });
    }
    actions
}

/// Does what was planned, and has it on the disk.
pub fn repair(disk: &dyn Disk, directory: &Path, actions: &[Action]) -> Result<(), StorageError> {
    for action in actions {
        match action {
            Action::EndCompactions { .. } => {
                let entries = disk.list(directory).at("list", directory)?;
                swap::recover(disk, directory, &entries, &mut Vec::new())?;
            }
            Action::Cut { base, position, .. } => {
                let path = names::file(directory, *base, names::LOG);
                let file = disk.open(&path, OpenMode::Write).at("open", &path)?;
                file.set_len(*position).and_then(|()| file.sync_data()).at("cut", &path)?;
            }
            Action::Bridge { base, damage } => bridge(disk, directory, *base, damage)?,
            Action::RebuildIndexes { base } => rebuild_indexes(disk, directory, *base)?,
            Action::Remove { path, .. } => disk.remove_file(path).at("remove", path)?,
            Action::WriteEpochs { epochs } => {
                checkpoint::write_epochs(disk, &directory.join(names::LEADER_EPOCHS), epochs)?;
            }
        }
    }
    disk.sync_dir(directory).at("sync", directory)
}

/// An empty batch that stands for offsets, one at least.
fn empty_batch(offsets: &std::ops::Range<Offset>, leader_epoch: i32) -> Option<[u8; HEADER_BYTES]> {
    let mut bytes = [0; HEADER_BYTES];
    let mut header = BatchHeader {
        base_offset: offsets.start,
        length: (HEADER_BYTES - FRAMING_BYTES) as i32,
        leader_epoch,
        magic: MAGIC,
        crc: 0,
        attributes: 0,
        last_offset_delta: i32::try_from(offsets.end - 1 - offsets.start).ok()?,
        base_timestamp_ms: NO_TIMESTAMP,
        max_timestamp_ms: NO_TIMESTAMP,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: -1,
        base_sequence: NO_SEQUENCE,
        record_count: 0,
    };
    header.write(&mut bytes);
    header.crc = checksum(&bytes);
    header.write(&mut bytes);
    Some(bytes)
}

/// Writes a segment anew with empty batches where it is damaged, and puts it in place of the old one in one step.
fn bridge(disk: &dyn Disk, directory: &Path, base: Offset, damage: &[Damage]) -> Result<(), StorageError> {
    let path = names::file(directory, base, names::LOG);
    let old = disk.open(&path, OpenMode::Read).at("open", &path)?;
    let temporary = names::file(directory, base, &format!("{}.tmp", names::LOG));
    let new = disk.open(&temporary, OpenMode::Truncate).at("create", &temporary)?;
    let length = old.length().at("look at", &path)?;
    let (mut from, mut to, mut leader_epoch) = (0, 0, 0);
    let mut buffer = vec![0; COPY_BYTES];
    let whole = std::iter::once(None)
        .chain(damage.iter().map(Some))
        .zip(damage.iter().map(|damage| damage.bytes.start).chain(std::iter::once(length)));
    for (before, until) in whole {
        if let Some(damage) = before {
            from = damage.bytes.end;
            let what =
                || StorageError::invalid(&path, format!("{:?} are too many offsets to be missing", damage.offsets));
            let batch = empty_batch(&damage.offsets, leader_epoch).ok_or_else(what)?;
            new.write_at(&mut [IoSlice::new(&batch)], to).at("write", &temporary)?;
            to += batch.len() as u64;
        }
        while from < until {
            let wish = COPY_BYTES.min((until - from) as usize);
            read_exact_at(old.as_ref(), &mut buffer[..wish], from).at("read", &path)?;
            new.write_at(&mut [IoSlice::new(&buffer[..wish])], to).at("write", &temporary)?;
            (from, to) = (from + wish as u64, to + wish as u64);
        }
        // Of the last batch before the next damage: epochs never go back.
        walk(&new, 0, base, None, to, |walked| {
            if let Walked::Batch { header, .. } = walked {
                leader_epoch = header.leader_epoch;
            }
            true
        })
        .at("read", &temporary)?;
    }
    new.sync_data().at("sync", &temporary)?;
    disk.rename(&temporary, &path).at("rename", &temporary)?;
    disk.sync_dir(directory).at("sync", directory)
}

fn rebuild_indexes(disk: &dyn Disk, directory: &Path, base: Offset) -> Result<(), StorageError> {
    let path = names::file(directory, base, names::LOG);
    let file = disk.open(&path, OpenMode::Read).at("open", &path)?;
    let length = file.length().at("look at", &path)?;
    let size = u32::try_from(length).map_err(|_| StorageError::invalid(&path, "is too long for a segment"))?;
    let segment = Segment::writable(directory, base, size, 0);
    walk(&file, 0, base, None, length, |walked| {
        if let Walked::Batch { position, header, batch } = walked {
            segment.note_batch(header, position, batch.len() as u32, INDEX_INTERVAL_BYTES);
        }
        true
    })
    .at("read", &path)?;
    segment.seal_indexes(disk, true)
}
