//! What can be compared in a partition's directory without anything but its files.

use std::path::{Path, PathBuf};

use super::walk::{Damage, Walked, walk};
use crate::Offset;
use crate::batch::control::{Marker, end_marker_of};
use crate::batch::header::HEADER_BYTES;
use crate::batch::records::Records;
use crate::batch::{BatchHeader, Compression, compression};
use crate::checkpoint;
use crate::env::{DirEntry, Disk, OpenMode, read_file};
use crate::error::{IoContext, StorageError};
use crate::index::{offset, time, txn};
use crate::partition::is_producer_snapshot;
use crate::segment::names;

/// A batch may be unpacked to so much.
const UNPACKED_BYTES_MAX: usize = 1 << 30;
const INDEX_BYTES_MAX: u64 = u32::MAX as u64;

/// What was found wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Behind the last batch lies what is none: as a crash leaves it.
    TornTail,
    /// Batches that cannot be read, with others behind them.
    DamagedBatch,
    /// A batch whose checksum is right and whose records are not as its header says.
    WrongRecords,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    LeaderEpochs,
    ProducerSnapshot,
    TopicId,
    /// A file that a deletion or a compaction did not come to remove.
    Leftover,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::TornTail => "torn-tail",
            Kind::DamagedBatch => "damaged-batch",
            Kind::WrongRecords => "wrong-records",
            Kind::OffsetIndex => "offset-index",
            Kind::TimeIndex => "time-index",
            Kind::TransactionIndex => "transaction-index",
            Kind::LeaderEpochs => "leader-epochs",
            Kind::ProducerSnapshot => "producer-snapshot",
            Kind::TopicId => "topic-id",
            Kind::Leftover => "leftover",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub path: PathBuf,
    /// Where in the file.
    pub position: Option<u64>,
    pub what: String,
}

/// What one segment holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentReport {
    pub base_offset: Offset,
    pub bytes: u64,
    pub batches: u64,
    pub control_batches: u64,
    pub records: u64,
    /// Of the first batch; None without any.
    pub first_offset: Option<Offset>,
    /// Behind the last batch.
    pub next_offset: Offset,
    /// None when no record has one.
    pub min_timestamp_ms: Option<i64>,
    pub max_timestamp_ms: Option<i64>,
    /// Batches by compression, in the order of its codes.
    pub compressed: [u64; 5],
    /// What the records take when they are not packed, without batch headers.
    pub unpacked_bytes: u64,
    pub key_bytes: u64,
    pub value_bytes: u64,
    /// Records without key; without value.
    pub null_keys: u64,
    pub null_values: u64,
    pub damage: Vec<Damage>,
}

/// See [`verify`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub segments: Vec<SegmentReport>,
    pub findings: Vec<Finding>,
    /// First offsets of leader epochs as the batches tell them.
    pub epochs: Vec<(i32, Offset)>,
    /// Bytes behind the last whole batch of a log that is being written.
    pub on_its_way_bytes: u64,
}

struct Verify<'v> {
    disk: &'v dyn Disk,
    directory: &'v Path,
    report: Report,
}

/// Reads everything in a partition's directory and says what does not fit. `is_live`: somebody may be writing. `progress` is told how many
/// bytes were read, now and then.
pub fn verify(
    disk: &dyn Disk,
    directory: &Path,
    is_live: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, StorageError> {
    let entries = disk.list(directory).at("list", directory)?;
    let mut verify = Verify { disk, directory, report: Report::default() };
    let logs: Vec<(Offset, &DirEntry)> =
        entries.iter().filter_map(|entry| Some((names::offset_of(&entry.name, names::LOG)?, entry))).collect();
    for (index, (base, entry)) in logs.iter().enumerate() {
        let next = logs.get(index + 1).map(|(base, _)| *base);
        verify.segment(*base, next, entry.length, is_live && next.is_none(), progress)?;
    }
    verify.beside(&entries, is_live)?;
    Ok(verify.report)
}

/// What a segment's indexes are compared with, batch by batch.
struct Indexes {
    /// Entries of the offset index, not yet come by.
    offsets: std::iter::Peekable<std::vec::IntoIter<(u32, Offset)>>,
    wrong_offset: Option<(u32, Offset)>,
    times: std::iter::Peekable<std::vec::IntoIter<(i64, Offset)>>,
    wrong_time: Option<(i64, Offset)>,
    newest_ms: i64,
    /// (offset of the marker, producer id)
    aborts: Vec<(Offset, i64)>,
}

impl Indexes {
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
            self.aborts.push((header.base_offset, header.producer_id));
        }
    }

    fn end(&mut self) {
        if let Some(left) = self.offsets.next() {
            self.wrong_offset.get_or_insert(left);
        }
        for (newest_ms, offset) in self.times.by_ref() {
            if self.newest_ms > newest_ms {
                self.wrong_time.get_or_insert((newest_ms, offset));
            }
        }
    }
}

impl Verify<'_> {
    fn find(&mut self, kind: Kind, path: &Path, position: Option<u64>, what: impl Into<String>) {
        self.report.findings.push(Finding { kind, path: path.to_path_buf(), position, what: what.into() });
    }

    fn segment(
        &mut self,
        base: Offset,
        next: Option<Offset>,
        length: u64,
        is_written: bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), StorageError> {
        let path = names::file(self.directory, base, names::LOG);
        let file = self.disk.open(&path, OpenMode::Read).at("open", &path)?;
        let mut indexes = self.indexes_of(base, is_written)?;
        let mut segment = SegmentReport { base_offset: base, bytes: length, next_offset: base, ..Default::default() };
        let (mut told, mut wrong) = (0, Vec::new());
        let epochs = &mut self.report.epochs;
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
        .at("read", &path)?;
        progress(length.saturating_sub(told));
        for (position, what) in wrong {
            self.find(Kind::WrongRecords, &path, Some(position), what);
        }
        let is_damaged = !segment.damage.is_empty();
        for damage in std::mem::take(&mut segment.damage) {
            let lost = damage.bytes.end - damage.bytes.start;
            if damage.is_tail() && is_written {
                self.report.on_its_way_bytes = lost;
                continue;
            }
            let what = if damage.is_tail() {
                format!("{lost} bytes behind offset {} are no batch: {}", damage.offsets.start - 1, damage.what)
            } else {
                let Damage { offsets, what, .. } = &damage;
                format!("{lost} bytes with offsets {} to {} cannot be read: {what}", offsets.start, offsets.end - 1)
            };
            let kind = if damage.is_tail() { Kind::TornTail } else { Kind::DamagedBatch };
            self.find(kind, &path, Some(damage.bytes.start), what);
            segment.damage.push(damage);
        }
        // An index of what cannot be read says nothing, and is made anew when that is repaired.
        if !is_damaged {
            indexes.end();
            self.judge(base, indexes)?;
        }
        self.report.segments.push(segment);
        Ok(())
    }

    fn read(&mut self, base: Offset, suffix: &str) -> Result<Vec<u8>, StorageError> {
        let path = names::file(self.directory, base, suffix);
        match read_file(self.disk, &path, INDEX_BYTES_MAX) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            bytes => bytes.at("read", &path),
        }
    }

    fn indexes_of(&mut self, base: Offset, is_written: bool) -> Result<Indexes, StorageError> {
        let bytes = self.read(base, names::OFFSET_INDEX)?;
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
        let path = names::file(self.directory, base, names::OFFSET_INDEX);
        if !offsets.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1) || (!cut.is_empty() && !is_written) {
            self.find(Kind::OffsetIndex, &path, None, "its entries are cut, or not in order");
            offsets.clear();
        }
        let bytes = self.read(base, names::TIME_INDEX)?;
        let (entries, cut) = bytes.as_chunks::<{ time::ENTRY_BYTES }>();
        let mut times: Vec<(i64, Offset)> = entries
            .iter()
            .map(|entry| (time::timestamp_of(entry), base.saturating_add(i64::from(time::relative_of(entry)))))
            .collect();
        while times.last() == Some(&(0, base)) {
            times.pop();
        }
        let path = names::file(self.directory, base, names::TIME_INDEX);
        if !times.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1) || (!cut.is_empty() && !is_written) {
            self.find(Kind::TimeIndex, &path, None, "its entries are cut, or not in order");
            times.clear();
        }
        Ok(Indexes {
            offsets: offsets.into_iter().peekable(),
            wrong_offset: None,
            times: times.into_iter().peekable(),
            wrong_time: None,
            newest_ms: i64::MIN,
            aborts: Vec::new(),
        })
    }

    /// Says what of a segment's indexes does not fit it.
    fn judge(&mut self, base: Offset, indexes: Indexes) -> Result<(), StorageError> {
        if let Some((position, last_offset)) = indexes.wrong_offset {
            let path = names::file(self.directory, base, names::OFFSET_INDEX);
            let what = format!("no batch that ends with offset {last_offset} begins at byte {position}");
            self.find(Kind::OffsetIndex, &path, None, what);
        }
        if let Some((newest_ms, offset)) = indexes.wrong_time {
            let path = names::file(self.directory, base, names::TIME_INDEX);
            let what = format!("up to offset {offset} there are records newer than {newest_ms}");
            self.find(Kind::TimeIndex, &path, None, what);
        }
        let path = names::file(self.directory, base, names::TXN_INDEX);
        match txn::read(self.disk, &path).at("read", &path)? {
            None => self.find(Kind::TransactionIndex, &path, None, "its entries are cut, or not in order"),
            Some(entries) => {
                let of = |entry: &txn::AbortedEntry| (entry.last_offset, entry.producer_id);
                if let Some(entry) = entries.iter().find(|entry| !indexes.aborts.contains(&of(entry))) {
                    let (offset, producer) = of(entry);
                    let what = format!("no transaction of producer {producer} was aborted at offset {offset}");
                    self.find(Kind::TransactionIndex, &path, None, what);
                }
            }
        }
        Ok(())
    }

    /// What is no segment.
    fn beside(&mut self, entries: &[DirEntry], is_live: bool) -> Result<(), StorageError> {
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let (name, path) = (entry.name.as_str(), self.directory.join(&entry.name));
            if [names::DELETED_SUFFIX, names::CLEANED_SUFFIX, ".tmp"].iter().any(|suffix| name.ends_with(suffix)) {
                if !is_live {
                    self.find(Kind::Leftover, &path, None, "was to be removed");
                }
            } else if names::offset_of(name, names::PRODUCER_SNAPSHOT).is_some() {
                let bytes = read_file(self.disk, &path, INDEX_BYTES_MAX).at("read", &path)?;
                if !is_producer_snapshot(&bytes) && !is_live {
                    self.find(Kind::ProducerSnapshot, &path, None, "cannot be read; an older one is used");
                }
            }
        }
        let path = self.directory.join(names::LEADER_EPOCHS);
        let has = |name: &str| entries.iter().any(|entry| entry.name == name);
        if has(names::LEADER_EPOCHS) {
            match checkpoint::read_epochs(self.disk, &path)? {
                None => self.find(Kind::LeaderEpochs, &path, None, "cannot be read"),
                Some(known) => {
                    if let Some(what) = self.wrong_epoch(&known) {
                        self.find(Kind::LeaderEpochs, &path, None, what);
                    }
                }
            }
        }
        let path = self.directory.join(names::PARTITION_METADATA);
        if has(names::PARTITION_METADATA) && checkpoint::read_topic_id(self.disk, &path)?.is_none() {
            self.find(Kind::TopicId, &path, None, "cannot be read");
        }
        Ok(())
    }

    /// An epoch of the batches that the checkpoint does not know, or lets begin elsewhere. What lies below its first entry is below the log
    /// start, too.
    fn wrong_epoch(&self, known: &[(i32, Offset)]) -> Option<String> {
        let first = known.first().map_or(0, |(_, start)| *start);
        let ends = self.report.epochs.iter().skip(1).map(|(_, start)| *start).chain([Offset::MAX]);
        let of = |offset: Offset| known.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch);
        let told = |((epoch, start), end): (&(i32, Offset), Offset)| {
            let at = (*start).max(first);
            let said = of(at);
            let is_wrong = *epoch >= 0 && at < end && said != Some(*epoch);
            let said = said.map_or("none".to_owned(), |said| said.to_string());
            is_wrong.then(|| format!("says that offset {at} is of epoch {said}, its batch is of {epoch}"))
        };
        self.report.epochs.iter().zip(ends).find_map(told)
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
