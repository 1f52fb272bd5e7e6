//! Segments become one replacement: every batch is read, checked and written again without what nobody needs.
//!
//! A batch of which everything stays is copied as it is. Else its header stays but for count, greatest timestamp and checksum; records
//! keep their bytes. A batch with tombstones, or a marker that nothing needs, gets its delete horizon the first time it is seen: now and
//! `delete.retention.ms`, in place of the base timestamp (KIP-534); when that has come the next pass removes them. Kafka's
//! `Cleaner.cleanInto` and `MemoryRecords.filterTo`.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::transactions::{NotIndexed, Transactions};
use super::{Halt, Pace, Rules, Stats, key_map::KeyMap};
use crate::Offset;
use crate::batch::header::{self, DELETE_HORIZON_BIT, FRAMING_BYTES, HEADER_BYTES};
use crate::batch::records::{RecordView, Records};
use crate::batch::{BatchHeader, Compression, NO_TIMESTAMP, builder, compression};
use crate::env::{Disk, File, OpenMode};
use crate::error::{IoContext, StorageError};
use crate::index::txn::{self, AbortedEntry};
use crate::segment::scan::{Gaps, Scan, Scanned, Step};
use crate::segment::{Indexes, Segment, names};

/// Written at once.
const WRITE_BYTES: usize = 1 << 20;

/// A segment and where the next one begins.
#[derive(Clone, Debug)]
pub struct Source {
    pub segment: Arc<Segment>,
    pub next_base: Offset,
}

/// Hands the batches of a segment to `visit`, from `from` on, until it says false. Damage is an error: it must not get a new checksum.
fn each_batch(
    disk: &dyn Disk,
    source: &Source,
    from: Offset,
    pace: &mut dyn Pace,
    mut visit: impl FnMut(&Scanned<'_>) -> Result<bool, Halt>,
) -> Result<(), Halt> {
    let segment = &source.segment;
    let size = segment.size();
    let (position, first) = if from <= segment.base_offset() {
        (0, segment.base_offset())
    } else {
        match segment.find(disk, from, size)? {
            Some(found) => (found.position, found.header.base_offset),
            None => return Ok(()),
        }
    };
    let gaps = Gaps::Before(source.next_base);
    let mut scan = Scan::from(segment.log(disk)?, u64::from(position), first, u64::from(size), gaps);
    loop {
        match scan.step().at("read", segment.log_path())? {
            Step::Batch(batch) => {
                if !pace.spend(batch.batch.len()) {
                    return Err(Halt::Stopped);
                }
                if !visit(&batch)? {
                    return Ok(());
                }
            }
            Step::End => return Ok(()),
            Step::Stopped(stop) => {
                return Err(StorageError::corrupt(segment.log_path(), stop.position, stop.what).into());
            }
        }
    }
}

fn not_indexed(segment: &Segment, marker: &BatchHeader) -> Halt {
    Halt::NotIndexed { segment: segment.base_offset(), marker: marker.base_offset }
}

/// Lends the records of a batch, unpacked.
fn with_records<T>(
    segment: &Segment,
    batch: &Scanned<'_>,
    unpacked_bytes_max: usize,
    work: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<T, StorageError> {
    let packed = &batch.batch[HEADER_BYTES..];
    let result = match batch.header.compression() {
        None => Err("unknown compression".to_owned()),
        Some(Compression::None) => work(packed),
        // What was emptied says so by its count, and has nothing to unpack.
        Some(_) if batch.header.record_count == 0 && packed.is_empty() => work(packed),
        Some(compression) => compression::with_scratch(|scratch| {
            compression::decompress(compression, packed, unpacked_bytes_max, scratch)
                .map_err(|error| error.to_string())?;
            work(scratch)
        }),
    };
    result.map_err(|what| StorageError::corrupt(segment.log_path(), u64::from(batch.position), what))
}

/// What a walk over the dirty part fills.
#[derive(Debug)]
pub struct Filling<'a> {
    pub transactions: &'a mut Transactions,
    pub map: &'a mut KeyMap,
    pub stats: &'a mut Stats,
}

/// Enters the keys of `sources` from `from` on into the map, up to the end of the last or until it is full.
pub fn fill(
    disk: &dyn Disk,
    sources: &[Source],
    from: Offset,
    unpacked_bytes_max: usize,
    filling: Filling<'_>,
    pace: &mut dyn Pace,
) -> Result<(), Halt> {
    let Filling { transactions, map, stats } = filling;
    for source in sources {
        let mut full = false;
        each_batch(disk, source, from, pace, |batch| {
            let header = &batch.header;
            stats.map_bytes_read += batch.batch.len() as u64;
            if header.is_control() {
                let ended = transactions.on_control(header, &batch.batch[HEADER_BYTES..]);
                ended.map_err(|NotIndexed| not_indexed(&source.segment, header))?;
            } else if !transactions.on_batch(header) {
                full = !with_records(&source.segment, batch, unpacked_bytes_max, |records| {
                    for record in Records::new(records, header.record_count) {
                        let record = record?;
                        let offset = header.base_offset + i64::from(record.offset_delta);
                        if let Some(key) = record.key
                            && offset >= from
                            && !map.insert(key, offset)
                        {
                            return Ok(false);
                        }
                    }
                    Ok(true)
                })?;
            }
            if !full && header.last_offset() >= from {
                map.reached(header.last_offset());
            }
            Ok(!full)
        })?;
        if full {
            break;
        }
        // Offsets may be missing at the end.
        map.reached(source.next_base - 1);
    }
    stats.keys = map.len() as u64;
    Ok(())
}

/// What stays of a batch.
enum Kept {
    Nothing,
    AsItIs,
    Rewritten(BatchHeader),
}

/// Turns segments into one, batch by batch.
pub struct Rewrite<'a> {
    rules: &'a Rules<'a>,
    transactions: &'a mut Transactions,
    stats: &'a mut Stats,
    /// A batch made anew.
    batch: Vec<u8>,
    /// Its records before they are packed.
    plain: Vec<u8>,
}

impl<'a> Rewrite<'a> {
    pub fn new(rules: &'a Rules<'a>, transactions: &'a mut Transactions, stats: &'a mut Stats) -> Rewrite<'a> {
        Rewrite { rules, transactions, stats, batch: Vec::new(), plain: Vec::new() }
    }

    /// Writes what stays of `sources` beside the first one, to synced files that end in `.cleaned`; the segment they are to be. On an error
    /// the files made are left to [`super::swap::discard`]. `enter` is asked before the directory is: what it gives is held meanwhile.
    pub fn run<G>(
        &mut self,
        disk: &dyn Disk,
        directory: &Path,
        sources: &[Source],
        pace: &mut dyn Pace,
        enter: impl Fn() -> Result<G, Halt>,
    ) -> Result<Segment, Halt> {
        let Some(first) = sources.first() else { return Err(Halt::Stopped) };
        let mut output = {
            let _entered = enter()?;
            Output::create(disk, directory, first.segment.base_offset())?
        };
        // The batch that tells where the replacement ends.
        let last = sources.iter().rposition(|source| source.segment.size() > 0);
        for (index, source) in sources.iter().enumerate() {
            let size = source.segment.size();
            each_batch(disk, source, Offset::MIN, pace, |batch| {
                let is_last = Some(index) == last && batch.position as usize + batch.batch.len() == size as usize;
                self.stats.bytes_read += batch.batch.len() as u64;
                let interval_bytes = self.rules.config.index_interval_bytes;
                match self.filter(&source.segment, batch, is_last)? {
                    Kept::Nothing => {}
                    Kept::AsItIs => output.push(&batch.header, batch.batch, interval_bytes)?,
                    Kept::Rewritten(header) => output.push(&header, &self.batch, interval_bytes)?,
                }
                Ok(true)
            })?;
        }
        let created_ms = sources.last().map_or(0, |source| source.segment.created_ms());
        output.sync_log()?;
        let (replacement, indexes) = {
            let _entered = enter()?;
            output.finish(disk, directory, self.transactions.take_kept(), created_ms)?
        };
        for (path, file) in indexes {
            file.sync_data().at("sync", &path)?;
        }
        self.stats.bytes_written += u64::from(replacement.size());
        Ok(replacement)
    }

    /// Decides over a batch; what is made anew lies in `self.batch`.
    fn filter(&mut self, segment: &Segment, batch: &Scanned<'_>, is_last: bool) -> Result<Kept, Halt> {
        let header = &batch.header;
        self.stats.records_read += u64::try_from(header.record_count).unwrap_or(0);
        let (unneeded, drop_all) = if header.is_control() {
            let ended = self.transactions.on_control(header, &batch.batch[HEADER_BYTES..]);
            let unneeded = ended.map_err(|NotIndexed| not_indexed(segment, header))?;
            let due = header.delete_horizon_ms().is_some_and(|horizon_ms| horizon_ms <= self.rules.now_ms);
            (unneeded, unneeded && due)
        } else {
            let aborted = self.transactions.on_batch(header);
            (aborted, aborted)
        };
        let keep_empty = is_last || self.is_last_of_producer(header);
        if drop_all || header.record_count == 0 {
            return Ok(if keep_empty { self.emptied(header) } else { Kept::Nothing });
        }
        let (rules, unpacked_bytes_max) = (self.rules, self.rules.config.decompressed_bytes_max as usize);
        let (plain, out, stats) = (&mut self.plain, &mut self.batch, &mut *self.stats);
        let kept = with_records(segment, batch, unpacked_bytes_max, |records| {
            let chosen = Chosen::of(header, records, rules, plain, stats)?;
            let stamp = header.delete_horizon_ms().is_none()
                && (chosen.tombstones || (header.is_control() && unneeded))
                && chosen.count > 0;
            if chosen.count == header.record_count && !stamp {
                return Ok(Some(Kept::AsItIs));
            }
            if chosen.count == 0 {
                return Ok(None);
            }
            let mut made = *header;
            made.record_count = chosen.count;
            if !header.is_log_append_time() {
                made.max_timestamp_ms = chosen.max_timestamp_ms;
            }
            if stamp {
                made.attributes |= DELETE_HORIZON_BIT;
                made.base_timestamp_ms = rules.now_ms.saturating_add(rules.config.delete_retention_ms);
                restamp(plain, header, &made)?;
            }
            seal(&mut made, plain, rules, out)?;
            Ok(Some(Kept::Rewritten(made)))
        })?;
        match kept {
            Some(kept) => Ok(kept),
            None if keep_empty => Ok(self.emptied(header)),
            None => Ok(Kept::Nothing),
        }
    }

    /// The last batch of a producer the partition knows holds its sequence; of one that is known by a marker alone, that marker holds
    /// its epoch.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        let known = if header.has_producer() { self.rules.last_records.get(&header.producer_id) } else { None };
        known.is_some_and(|known| match known.last_offset {
            Some(last_offset) => header.last_offset() == last_offset,
            None => header.is_control() && header.producer_epoch == known.epoch,
        })
    }

    /// The batch without its records, for what its header says.
    fn emptied(&mut self, header: &BatchHeader) -> Kept {
        let keep = header::LOG_APPEND_TIME_BIT | header::TRANSACTIONAL_BIT | header::CONTROL_BIT;
        let mut made = BatchHeader {
            length: (HEADER_BYTES - FRAMING_BYTES) as i32,
            attributes: header.attributes & keep,
            base_timestamp_ms: NO_TIMESTAMP,
            record_count: 0,
            ..*header
        };
        self.batch.clear();
        self.batch.resize(HEADER_BYTES, 0);
        made.write(&mut self.batch);
        made.crc = header::seal(&mut self.batch);
        Kept::Rewritten(made)
    }
}

/// What of a batch's records stays; their bytes are collected in `plain`.
struct Chosen {
    count: i32,
    max_timestamp_ms: i64,
    tombstones: bool,
}

impl Chosen {
    fn of(
        header: &BatchHeader,
        records: &[u8],
        rules: &Rules<'_>,
        plain: &mut Vec<u8>,
        stats: &mut Stats,
    ) -> Result<Chosen, String> {
        plain.clear();
        let mut chosen = Chosen { count: 0, max_timestamp_ms: NO_TIMESTAMP, tombstones: false };
        let mut walk = Records::new(records, header.record_count);
        let mut from = 0;
        while let Some(record) = walk.next() {
            let record = record?;
            let until = walk.position();
            if stays(header, &record, rules, stats) {
                plain.extend_from_slice(&records[from..until]);
                chosen.count += 1;
                chosen.max_timestamp_ms =
                    chosen.max_timestamp_ms.max(header.base_timestamp_ms.wrapping_add(record.timestamp_delta));
                chosen.tombstones |= record.value.is_none();
            }
            from = until;
        }
        stats.records_kept += chosen.count as u64;
        Ok(chosen)
    }
}

fn stays(header: &BatchHeader, record: &RecordView<'_>, rules: &Rules<'_>, stats: &mut Stats) -> bool {
    if header.is_control() {
        return true;
    }
    let offset = header.base_offset.wrapping_add(i64::from(record.offset_delta));
    if offset > rules.map.latest() {
        return true;
    }
    let Some(key) = record.key else {
        stats.records_without_key += 1;
        return false;
    };
    let is_latest = rules.map.get(key).is_none_or(|latest| offset >= latest);
    let has_come = header.delete_horizon_ms().is_some_and(|horizon_ms| horizon_ms <= rules.now_ms);
    is_latest && (record.value.is_some() || !has_come)
}

/// Timestamps count from another base.
fn restamp(plain: &mut Vec<u8>, from: &BatchHeader, to: &BatchHeader) -> Result<(), String> {
    let before = std::mem::take(plain);
    for record in Records::new(&before, to.record_count) {
        let record = record?;
        let timestamp_ms = from.base_timestamp_ms.wrapping_add(record.timestamp_delta);
        builder::write_view(plain, timestamp_ms.wrapping_sub(to.base_timestamp_ms), &record);
    }
    Ok(())
}

/// Packs the records behind their header.
fn seal(made: &mut BatchHeader, plain: &[u8], rules: &Rules<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    let compression = made.compression().ok_or("unknown compression")?;
    out.clear();
    out.resize(HEADER_BYTES, 0);
    compression::compress(compression, rules.config.level_of(compression), plain, out);
    made.length = i32::try_from(out.len() - FRAMING_BYTES).map_err(|_| "a batch grew beyond 2 GiB".to_owned())?;
    made.write(out);
    made.crc = header::seal(out);
    Ok(())
}

/// A file and its name, for messages.
type Named = (PathBuf, Arc<dyn File>);

/// The `.cleaned` files while they are written.
struct Output {
    log: Arc<dyn File>,
    path: PathBuf,
    base_offset: Offset,
    indexes: Indexes,
    buffer: Vec<u8>,
    written: u64,
}

impl Output {
    fn create(disk: &dyn Disk, directory: &Path, base_offset: Offset) -> Result<Output, StorageError> {
        let path = names::file(directory, base_offset, &format!("{}{}", names::LOG, names::CLEANED_SUFFIX));
        let log = disk.open(&path, OpenMode::Truncate).at("create", &path)?;
        let indexes = Indexes::fresh(directory, base_offset, names::CLEANED_SUFFIX);
        Ok(Output { log, path, base_offset, indexes, buffer: Vec::with_capacity(WRITE_BYTES), written: 0 })
    }

    fn push(&mut self, header: &BatchHeader, batch: &[u8], index_interval_bytes: u32) -> Result<(), StorageError> {
        let position = self.written + self.buffer.len() as u64;
        if position + batch.len() as u64 > i32::MAX as u64 {
            return Err(StorageError::invalid(&self.path, "a replacement would be longer than 2 GiB"));
        }
        if !self.indexes.offset.can_hold(header.last_offset()) {
            let what = format!("offset {} is too far from the begin of its segment", header.last_offset());
            return Err(StorageError::invalid(&self.path, what));
        }
        self.indexes.note(header, position as u32, batch.len() as u32, index_interval_bytes);
        self.buffer.extend_from_slice(batch);
        if self.buffer.len() >= WRITE_BYTES {
            self.write_out()?;
        }
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), StorageError> {
        if !self.buffer.is_empty() {
            self.log.write_at(&mut [IoSlice::new(&self.buffer)], self.written).at("write", &self.path)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    fn sync_log(&mut self) -> Result<(), StorageError> {
        self.write_out()?;
        self.log.sync_data().at("sync", &self.path)
    }

    /// Writes the index files; who called syncs them.
    fn finish(
        mut self,
        disk: &dyn Disk,
        directory: &Path,
        aborted: Vec<AbortedEntry>,
        created_ms: i64,
    ) -> Result<(Segment, Vec<Named>), StorageError> {
        self.indexes.seal();
        self.indexes.offset.file().flush(disk, false).at("write the index of", &self.path)?;
        self.indexes.time.file().flush(disk, false).at("write the time index of", &self.path)?;
        // Written even if it has nothing to tell: the one of the old segment must not stay in its place.
        let path = |kind| names::file(directory, self.base_offset, &format!("{kind}{}", names::CLEANED_SUFFIX));
        let txn_path = path(names::TXN_INDEX);
        let txn = txn::write_even_empty(disk, &txn_path, &aborted).at("write", &txn_path)?;
        let mut files = vec![(txn_path, txn)];
        for path in [path(names::OFFSET_INDEX), path(names::TIME_INDEX)] {
            let file = disk.open(&path, OpenMode::Write).at("open", &path)?;
            files.push((path, file));
        }
        self.indexes.txn_written = aborted.len();
        self.indexes.txn = Some(aborted);
        let size = self.written as u32;
        let segment = Segment::replacement(directory, self.base_offset, size, created_ms, self.log, self.indexes);
        Ok((segment, files))
    }
}
