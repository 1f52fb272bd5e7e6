//! The segment files of a partition that somebody else owns, read only. Nothing of them is kept in memory but where a reader is.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::scan::{Piece, whole_batches};
use crate::Offset;
use crate::batch::BatchHeader;
use crate::batch::header::{HEADER_BYTES, MAGIC};
use crate::compaction::swap;
use crate::env::{DirEntry, Disk, File, OpenMode, read_exact_at};
use crate::error::{IoContext, StorageError};
use crate::index::{offset, time, txn};
use crate::partition::AbortedTransaction;
use crate::segment::names;

/// Read at once on the way from an index entry to a batch.
const WALK_BYTES: usize = 4096 + HEADER_BYTES;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Files {
    here: Option<Here>,
    /// When segments were looked for, compaction was in the middle of putting one in their place.
    is_half_replaced: bool,
}

/// Where a reader is.
#[derive(Debug)]
struct Here {
    base: Offset,
    file: Arc<dyn File>,
    /// The batch that holds this offset, or the first behind it, begins at `position`.
    next: Offset,
    position: u64,
    /// Segments from here on in which transactions were aborted.
    aborting: Vec<Offset>,
}

/// What there is to read from an offset on.
#[derive(Debug)]
pub(super) enum Found {
    Piece(Piece),
    /// Everything was looked through.
    Nothing,
    /// The file it was in is not there (any more).
    Gone,
}

/// What of a directory concerns a reader.
struct Segments {
    bases: Vec<Offset>,
    aborting: Vec<Offset>,
    is_half_replaced: bool,
}

impl Segments {
    fn list(disk: &dyn Disk, directory: &Path) -> Result<Segments, StorageError> {
        let entries = list(disk, directory)?;
        let of = |suffix| entries.iter().filter_map(move |entry| Some((names::offset_of(&entry.name, suffix)?, entry)));
        let bases = of(names::LOG).map(|(base, _)| base).collect();
        let aborting = of(names::TXN_INDEX).filter(|(_, entry)| entry.length > 0).map(|(base, _)| base).collect();
        Ok(Segments { bases, aborting, is_half_replaced: swap::is_half_done(&entries) })
    }

    fn enter(&self, disk: &dyn Disk, directory: &Path, base: Offset) -> Result<Option<Here>, StorageError> {
        let path = names::file(directory, base, names::LOG);
        let file = match disk.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::io("open", &path, error)),
        };
        let aborting = self.aborting.iter().copied().filter(|other| *other >= base).collect();
        Ok(Some(Here { base, file, next: base, position: 0, aborting }))
    }
}

/// Names in byte order, which is that of the offsets. A directory that is not there yet is empty.
fn list(disk: &dyn Disk, directory: &Path) -> Result<Vec<DirEntry>, StorageError> {
    match disk.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.at("list", directory),
    }
}

impl Files {
    /// The files may not be what they were.
    pub fn forget(&mut self) {
        self.here = None;
    }

    /// Whether what was found may be old files beside new ones. Asked once after a read.
    pub fn was_half_replaced(&mut self) -> bool {
        std::mem::take(&mut self.is_half_replaced)
    }

    /// Whether that is so now.
    pub fn is_half_replaced(disk: &dyn Disk, directory: &Path) -> Result<bool, StorageError> {
        Ok(swap::is_half_done(&list(disk, directory)?))
    }

    /// Where the first segment begins.
    pub fn first(&self, disk: &dyn Disk, directory: &Path) -> Result<Option<Offset>, StorageError> {
        Ok(Segments::list(disk, directory)?.bases.first().copied())
    }

    /// How many segments there are, and their bytes.
    pub fn count(&self, disk: &dyn Disk, directory: &Path) -> Result<(usize, u64), StorageError> {
        let entries = list(disk, directory)?;
        let logs = entries.iter().filter(|entry| names::offset_of(&entry.name, names::LOG).is_some());
        Ok(logs.fold((0, 0), |(count, bytes), entry| (count + 1, bytes + entry.length)))
    }

    /// Whole batches from the one that holds `start` on which begin below `stop`: about so many bytes, but one batch at least.
    pub fn read(
        &mut self,
        disk: &dyn Disk,
        directory: &Path,
        start: Offset,
        stop: Offset,
        bytes_max: u32,
    ) -> Result<Found, StorageError> {
        if self.here.as_ref().is_none_or(|here| here.next != start) && !self.seek(disk, directory, start)? {
            return Ok(Found::Gone);
        }
        loop {
            let Some(here) = &mut self.here else { return Ok(Found::Nothing) };
            let path = names::file(directory, here.base, names::LOG);
            let (mut bytes, header) = here.read(&path, bytes_max)?;
            bytes.truncate(whole_batches(&bytes, stop));
            if !bytes.is_empty() {
                let position = here.position;
                here.pass(&bytes);
                let aborted = here.aborted(disk, directory, start)?;
                return Ok(Found::Piece(Piece { bytes, position, aborted, ..Piece::default() }));
            }
            if let Some(header) = header.filter(|header| header.base_offset < stop) {
                return Err(here.damage(&path, &header));
            }
            // What is behind `stop` is not looked at: it may not be there to stay.
            if header.is_some() {
                return Ok(Found::Nothing);
            }
            let base = here.base;
            let segments = Segments::list(disk, directory)?;
            self.is_half_replaced |= segments.is_half_replaced;
            let Some(behind) = segments.bases.iter().copied().find(|other| *other > base && *other < stop) else {
                return Ok(Found::Nothing);
            };
            match segments.enter(disk, directory, behind)? {
                Some(entered) => self.here = Some(entered),
                None => return Ok(Found::Gone),
            }
        }
    }

    /// Goes to the batch that holds `start`, or the first behind it in its segment. False: that segment is not there.
    fn seek(&mut self, disk: &dyn Disk, directory: &Path, start: Offset) -> Result<bool, StorageError> {
        self.here = None;
        let segments = Segments::list(disk, directory)?;
        self.is_half_replaced |= segments.is_half_replaced;
        if segments.bases.is_empty() {
            return Ok(true);
        }
        let Some(index) = segments.bases.partition_point(|base| *base <= start).checked_sub(1) else {
            return Ok(false);
        };
        let base = segments.bases[index];
        let Some(mut here) = segments.enter(disk, directory, base)? else { return Ok(false) };
        here.position = indexed_floor(disk, directory, base, start, &here)?;
        here.walk_to(start).at("read", &names::file(directory, base, names::LOG))?;
        here.next = start;
        self.here = Some(here);
        Ok(true)
    }

    /// An offset that no record of `timestamp_ms` or later lies before.
    pub fn time_floor(&self, disk: &dyn Disk, directory: &Path, timestamp_ms: i64) -> Result<Offset, StorageError> {
        let bases = Segments::list(disk, directory)?.bases;
        let Some((last, closed)) = bases.split_last() else { return Ok(0) };
        for base in closed {
            let path = names::file(directory, *base, names::TIME_INDEX);
            // What is not known to be older is looked through.
            if last_entry::<{ time::ENTRY_BYTES }>(disk, &path)?
                .is_none_or(|entry| time::timestamp_of(&entry) >= timestamp_ms)
            {
                return Ok(*base);
            }
        }
        Ok(*last)
    }
}

impl Here {
    /// Bytes from here on, with the first batch whole if it is there whole; and the header they begin with.
    fn read(&self, path: &Path, bytes_max: u32) -> Result<(Vec<u8>, Option<BatchHeader>), StorageError> {
        let mut bytes = vec![0; bytes_max.max(HEADER_BYTES as u32) as usize];
        let read = self.file.read_at(&mut bytes, self.position).at("read", path)?;
        bytes.truncate(read);
        let header = BatchHeader::read(&bytes);
        let total = header.as_ref().and_then(BatchHeader::total_bytes).map_or(0, |total| total as usize);
        let length = self.file.length().at("look at", path)?;
        if total > bytes.len() && self.position + total as u64 <= length {
            bytes.resize(total, 0);
            read_exact_at(self.file.as_ref(), &mut bytes, self.position).at("read", path)?;
        }
        Ok((bytes, header))
    }

    /// These whole batches were read.
    fn pass(&mut self, batches: &[u8]) {
        self.position += batches.len() as u64;
        let mut at = 0;
        while let Some(header) = BatchHeader::read(&batches[at..]) {
            self.next = self.next.max(header.next_offset());
            at += header.total_bytes().map_or(batches.len(), |total| total as usize).max(1);
            if at >= batches.len() {
                break;
            }
        }
    }

    fn damage(&self, path: &Path, header: &BatchHeader) -> StorageError {
        let what = format!("no whole batch of offset {} here, length {}", header.base_offset, header.length);
        StorageError::corrupt(path, self.position, what)
    }

    /// Passes batches that end before `start`. What is no batch is for the read to find.
    fn walk_to(&mut self, start: Offset) -> io::Result<()> {
        let mut window = vec![0; WALK_BYTES];
        let (mut window_at, mut window_bytes) = (self.position, 0);
        loop {
            let mut from = (self.position - window_at) as usize;
            if from + HEADER_BYTES > window_bytes {
                (window_at, from) = (self.position, 0);
                window_bytes = self.file.read_at(&mut window, window_at)?;
            }
            let header = BatchHeader::read(&window[from..window_bytes.max(from)]);
            let Some(header) = header.filter(|header| header.magic == MAGIC && header.last_offset() < start) else {
                return Ok(());
            };
            let Some(total) = header.total_bytes() else { return Ok(()) };
            self.position += u64::from(total);
            if (self.position - window_at) as usize > window_bytes {
                (window_at, window_bytes) = (self.position, 0);
            }
        }
    }

    /// Aborted transactions that overlap what was read from `start` on.
    fn aborted(
        &self,
        disk: &dyn Disk,
        directory: &Path,
        start: Offset,
    ) -> Result<Vec<AbortedTransaction>, StorageError> {
        let mut aborted = Vec::new();
        for base in &self.aborting {
            let path = names::file(directory, *base, names::TXN_INDEX);
            let wrong = || StorageError::corrupt(&path, 0, "is no index of aborted transactions");
            for entry in txn::read(disk, &path).at("read", &path)?.ok_or_else(wrong)? {
                if entry.last_offset >= start && entry.first_offset < self.next {
                    let (producer_id, first_offset) = (entry.producer_id, entry.first_offset);
                    aborted.push(AbortedTransaction { producer_id, first_offset });
                }
            }
        }
        Ok(aborted)
    }
}

/// Where a walk to `start` may begin: at a batch that the index names, if it is there and named rightly.
fn indexed_floor(
    disk: &dyn Disk,
    directory: &Path,
    base: Offset,
    start: Offset,
    here: &Here,
) -> Result<u64, StorageError> {
    let path = names::file(directory, base, names::OFFSET_INDEX);
    let Some(file) = open_if_there(disk, &path)? else { return Ok(0) };
    let count = file.length().at("look at", &path)? / offset::ENTRY_BYTES as u64;
    let entry = |index: u64| -> Result<(Offset, u32), StorageError> {
        let mut bytes = [0; offset::ENTRY_BYTES];
        read_exact_at(file.as_ref(), &mut bytes, index * offset::ENTRY_BYTES as u64).at("read", &path)?;
        let (relative, position) = offset::split(&bytes);
        Ok((base.saturating_add(i64::from(relative)), position))
    };
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        let (last_offset, position) = entry(middle)?;
        // Kafka's index of a live segment ends in zeroes.
        let is_unused = position == 0 && middle > 0;
        if last_offset < start && !is_unused { low = middle + 1 } else { high = middle }
    }
    let Some(index) = low.checked_sub(1) else { return Ok(0) };
    let (last_offset, position) = entry(index)?;
    let mut bytes = [0; HEADER_BYTES];
    let log = names::file(directory, base, names::LOG);
    let read = here.file.read_at(&mut bytes, u64::from(position)).at("read", &log)?;
    let header = BatchHeader::read(&bytes[..read]);
    let fits = header.is_some_and(|header| header.magic == MAGIC && header.last_offset() == last_offset);
    Ok(if fits { u64::from(position) } else { 0 })
}

fn open_if_there(disk: &dyn Disk, path: &Path) -> Result<Option<Arc<dyn File>>, StorageError> {
    match disk.open(path, OpenMode::Read) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io("open", path, error)),
    }
}

/// The last of entries of `BYTES`; None when there is none.
fn last_entry<const BYTES: usize>(disk: &dyn Disk, path: &Path) -> Result<Option<[u8; BYTES]>, StorageError> {
    let Some(file) = open_if_there(disk, path)? else { return Ok(None) };
    let length = file.length().at("look at", path)?;
    let Some(at) = (length / BYTES as u64).checked_sub(1) else { return Ok(None) };
    let mut entry = [0; BYTES];
    read_exact_at(file.as_ref(), &mut entry, at * BYTES as u64).at("read", path)?;
    Ok(Some(entry))
}
