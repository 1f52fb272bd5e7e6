//! One segment, looked at once: its batches, and its indexes beside them.

use std::path::Path;

use super::layout::SegmentFiles;
use super::report::{Finding, Kind, SegmentReport};
use super::walk::{Damage, Walked, walk};
use crate::Offset;
use crate::batch::control::{Marker, end_marker_of};
use crate::batch::header::HEADER_BYTES;
use crate::batch::records::Records;
use crate::batch::{BatchHeader, Compression, compression};
use crate::env::{Disk, OpenMode, read_file};
use crate::error::{IoContext, StorageError};
use crate::index::{offset, time, txn};

/// A batch may be unpacked to so much.
const UNPACKED_BYTES_MAX: usize = 1 << 30;
pub(super) const INDEX_BYTES_MAX: u64 = u32::MAX as u64;

/// What was seen of one segment.
pub(super) struct Look {
    /// As they were listed before they were opened.
    pub files: SegmentFiles,
    /// Somebody may have been writing.
    pub is_written: bool,
    pub segment: SegmentReport,
    pub findings: Vec<Finding>,
    pub epochs: Vec<(i32, Offset)>,
    pub on_its_way_bytes: u64,
}

impl Look {
    /// Whether that is what lies there. A file that is written grows; all others stay as they are, or are replaced by others.
    pub fn is_of(&self, files: &SegmentFiles) -> bool {
        let grown = || SegmentFiles { bytes: files.bytes, modified_ms: files.modified_ms, ..self.files.clone() };
        self.files == *files || (self.is_written && self.files.bytes <= files.bytes && grown() == *files)
    }
}

/// What a segment's indexes are compared with, batch by batch.
struct Indexes {
    /// Entries of the offset index, not yet come by.
    offsets: std::iter::Peekable<std::vec::IntoIter<(u32, Offset)>>,
    wrong_offset: Option<(u32, Offset)>,
    times: std::iter::Peekable<std::vec::IntoIter<(i64, Offset)>>,
    wrong_time: Option<(i64, Offset)>,
    newest_ms: i64,
    aborted: Vec<txn::AbortedEntry>,
    /// (offset, producer id) of those that say that one was.
    markers: Vec<(Offset, i64)>,
}

pub(super) fn look_at(
    disk: &dyn Disk,
    files: &SegmentFiles,
    next: Option<Offset>,
    is_written: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Look, StorageError> {
    let (base, path) = (files.base_offset, &files.log);
    let mut findings = Vec::new();
    // Indexes first: what is written meanwhile is behind what they know.
    let mut indexes = Indexes::of(disk, files, is_written, &mut findings)?;
    let file = disk.open(path, OpenMode::Read).at("open", path)?;
    let length = file.length().at("look at", path)?;
    let mut segment = SegmentReport { base_offset: base, bytes: length, next_offset: base, ..Default::default() };
    let (mut told, mut wrong, mut epochs) = (0, Vec::new(), Vec::<(i32, Offset)>::new());
    walk(&file, 0, base, next, length, |walked| {
        match walked {
            Walked::Batch { position, header, batch } => {
                indexes.see(position, header, batch);
                if epochs.last().is_none_or(|(epoch, _)| *epoch < header.leader_epoch) {
                    epochs.push((header.leader_epoch, header.base_offset));
                }
                if let Err(what) = count(&mut segment, header, batch) {
                    wrong.push((u64::from(position), what));
                }
                let end = u64::from(position) + batch.len() as u64;
                if end - told >= 1 << 20 {
                    progress(end - told);
                    told = end;
                }
            }
            Walked::Damage(damage) => segment.damage.push(damage),
        }
        true
    })
    .at("read", path)?;
    progress(length.saturating_sub(told));
    for (position, what) in wrong {
        findings.push(Finding::new(Kind::WrongRecords, path, Some(position), what));
    }
    let is_damaged = !segment.damage.is_empty();
    let mut on_its_way_bytes = 0;
    for damage in std::mem::take(&mut segment.damage) {
        let lost = damage.bytes.end - damage.bytes.start;
        if damage.is_tail() && is_written {
            on_its_way_bytes = lost;
            continue;
        }
        let what = if damage.is_tail() {
            format!("{lost} bytes behind offset {} are no batch: {}", damage.offsets.start - 1, damage.what)
        } else {
            let Damage { offsets, what, .. } = &damage;
            format!("{lost} bytes with offsets {} to {} cannot be read: {what}", offsets.start, offsets.end - 1)
        };
        let kind = if damage.is_tail() { Kind::TornTail } else { Kind::DamagedBatch };
        findings.push(Finding::new(kind, path, Some(damage.bytes.start), what));
        segment.damage.push(damage);
    }
    // An index of what cannot be read says nothing, and is made anew when that is repaired.
    if !is_damaged {
        indexes.judge(files, &mut findings);
    }
    Ok(Look { files: files.clone(), is_written, segment, findings, epochs, on_its_way_bytes })
}

/// The bytes of an index, none if there is none.
fn read_index(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, StorageError> {
    match read_file(disk, path, INDEX_BYTES_MAX) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        bytes => bytes.at("read", path),
    }
}

impl Indexes {
    /// Reads the indexes of a segment; what is wrong with them as such goes to `findings`.
    fn of(
        disk: &dyn Disk,
        files: &SegmentFiles,
        is_written: bool,
        findings: &mut Vec<Finding>,
    ) -> Result<Indexes, StorageError> {
        const NO_INDEX: &str = "its entries are cut, or not in order";
        let (base, path) = (files.base_offset, &files.offset_index);
        let bytes = read_index(disk, path)?;
        let (entries, cut) = bytes.as_chunks::<{ offset::ENTRY_BYTES }>();
        let mut offsets: Vec<(u32, Offset)> = entries
            .iter()
            .map(|entry| {
                let (relative, position) = offset::split(entry);
                (position, base.saturating_add(i64::from(relative)))
            })
            .collect();
        // Kafka makes the index of the segment it writes as long as it may become, and leaves it so when it is killed.
        while offsets.len() > 1 && offsets.last() == Some(&(0, base)) {
            offsets.pop();
        }
        if offsets == [(0, base)] && entries.len() > 1 {
            offsets.clear();
        }
        if !offsets.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1) || (!cut.is_empty() && !is_written) {
            findings.push(Finding::new(Kind::OffsetIndex, path, None, NO_INDEX));
            offsets.clear();
        }
        let path = &files.time_index;
        let bytes = read_index(disk, path)?;
        let (entries, cut) = bytes.as_chunks::<{ time::ENTRY_BYTES }>();
        let mut times: Vec<(i64, Offset)> = entries
            .iter()
            .map(|entry| (time::timestamp_of(entry), base.saturating_add(i64::from(time::relative_of(entry)))))
            .collect();
        while times.last() == Some(&(0, base)) {
            times.pop();
        }
        if !times.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1) || (!cut.is_empty() && !is_written) {
            findings.push(Finding::new(Kind::TimeIndex, path, None, NO_INDEX));
            times.clear();
        }
        let path = &files.txn_index;
        let aborted = txn::read(disk, path).at("read", path)?.unwrap_or_else(|| {
            findings.push(Finding::new(Kind::TransactionIndex, path, None, NO_INDEX));
            Vec::new()
        });
        Ok(Indexes {
            offsets: offsets.into_iter().peekable(),
            wrong_offset: None,
            times: times.into_iter().peekable(),
            wrong_time: None,
            newest_ms: i64::MIN,
            aborted,
            markers: Vec::new(),
        })
    }

    fn see(&mut self, position: u32, header: &BatchHeader, batch: &[u8]) {
        while let Some((at, last_offset)) = self.offsets.next_if(|(at, _)| *at <= position) {
            if at != position || last_offset != header.last_offset() {
                self.wrong_offset.get_or_insert((at, last_offset));
            }
        }
        // Up to the offset of an entry no record is newer.
        while let Some((newest_ms, offset)) = self.times.next_if(|(_, offset)| *offset < header.last_offset()) {
            if self.newest_ms > newest_ms {
                self.wrong_time.get_or_insert((newest_ms, offset));
            }
        }
        if header.record_count > 0 {
            self.newest_ms = self.newest_ms.max(header.max_timestamp_ms);
        }
        if header.is_control() && matches!(end_marker_of(header, &batch[HEADER_BYTES..]), Some((Marker::Abort, _))) {
            self.markers.push((header.base_offset, header.producer_id));
        }
    }

    /// Says what does not fit the batches that were seen, which are all there are.
    fn judge(mut self, files: &SegmentFiles, findings: &mut Vec<Finding>) {
        if let Some(left) = self.offsets.next() {
            self.wrong_offset.get_or_insert(left);
        }
        for (newest_ms, offset) in self.times {
            if self.newest_ms > newest_ms {
                self.wrong_time.get_or_insert((newest_ms, offset));
            }
        }
        if let Some((position, last_offset)) = self.wrong_offset {
            let what = format!("no batch that ends with offset {last_offset} begins at byte {position}");
            findings.push(Finding::new(Kind::OffsetIndex, &files.offset_index, None, what));
        }
        if let Some((newest_ms, offset)) = self.wrong_time {
            let what = format!("up to offset {offset} there are records newer than {newest_ms}");
            findings.push(Finding::new(Kind::TimeIndex, &files.time_index, None, what));
        }
        let of = |entry: &txn::AbortedEntry| (entry.last_offset, entry.producer_id);
        if let Some((offset, producer)) = self.aborted.iter().map(of).find(|entry| !self.markers.contains(entry)) {
            let what = format!("no transaction of producer {producer} was aborted at offset {offset}");
            findings.push(Finding::new(Kind::TransactionIndex, &files.txn_index, None, what));
        }
    }
}

/// Counts a batch, and looks whether its records are as its header says.
fn count(segment: &mut SegmentReport, header: &BatchHeader, batch: &[u8]) -> Result<(), String> {
    segment.batches += 1;
    segment.control_batches += u64::from(header.is_control());
    segment.first_offset.get_or_insert(header.base_offset);
    segment.next_offset = header.next_offset();
    let codec = header.compression().ok_or("its compression is unknown")?;
    segment.compressed[codec as usize] += 1;
    let mut unpacked = Vec::new();
    let records = match codec {
        Compression::None => &batch[HEADER_BYTES..],
        codec => {
            compression::decompress(codec, &batch[HEADER_BYTES..], UNPACKED_BYTES_MAX, &mut unpacked)
                .map_err(|error| error.to_string())?;
            &unpacked
        }
    };
    segment.unpacked_bytes += records.len() as u64;
    let (mut before, mut newest_ms) = (-1, i64::MIN);
    for record in Records::new(records, header.record_count) {
        let record = record.map_err(|what| what.to_string())?;
        if record.offset_delta <= before || record.offset_delta > header.last_offset_delta {
            return Err(format!(
                "offset delta {} after {before}, of {}",
                record.offset_delta, header.last_offset_delta
            ));
        }
        before = record.offset_delta;
        let timestamp_ms = if header.is_log_append_time() {
            header.max_timestamp_ms
        } else {
            header.base_timestamp_ms.wrapping_add(record.timestamp_delta)
        };
        newest_ms = newest_ms.max(timestamp_ms);
        if timestamp_ms >= 0 && !header.is_control() {
            let least = segment.min_timestamp_ms.get_or_insert(timestamp_ms);
            *least = timestamp_ms.min(*least);
            let most = segment.max_timestamp_ms.get_or_insert(timestamp_ms);
            *most = timestamp_ms.max(*most);
        }
        if header.is_control() {
            continue;
        }
        segment.records += 1;
        segment.key_bytes += record.key.map_or(0, <[u8]>::len) as u64;
        segment.value_bytes += record.value.map_or(0, <[u8]>::len) as u64;
        segment.null_keys += u64::from(record.key.is_none());
        segment.null_values += u64::from(record.value.is_none());
    }
    if header.record_count > 0 && newest_ms != header.max_timestamp_ms && header.delete_horizon_ms().is_none() {
        return Err(format!("its newest record is of {newest_ms}, its header says {}", header.max_timestamp_ms));
    }
    Ok(())
}
