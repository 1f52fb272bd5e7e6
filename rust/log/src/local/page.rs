//! The page by which the owner of a log tells readers in other processes how far they may read.
//!
//! It is a file in the data directory, `.ottla_published-<topic>-0`, written in place and read with one call each; what is read torn does
//! not fit its checksum and is read again. It is synced before a truncation alone: after a power cut an older one says less, not more. An
//! opening after an unclean stop begins another incarnation. A broker that takes the directory removes it, since it tells nobody.
//!
//! What takes files away is told before it does: who finds none where it was to read, or others, looks at the page again and knows why.
//!
//! ```text
//!   0  magic "OTTLAPUB"     8  version u32 = 1        12  state u32: 1 open, 2 closed
//!  16  topic id            32  incarnation u64: another one, and nothing below can be compared
//!  40  log start i64       48  readable i64: below it everything is on the disk, and decided
//!  56  cuts u64: how often the log was truncated; 64  where the last eight began, of cut n in place n % 8
//! 128  compactions u64: how often files were begun and done to be replaced, odd meanwhile; 136  up to where i64
//! 144  crc32c u32 of all before
//! ```

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::env::{Disk, File, OpenMode, read_file, replace_file};
use crate::error::{IoContext, StorageError};
use crate::partition::Partition;
use crate::segment::names;
use crate::{Offset, TopicId};

const PUBLISHED_PREFIX: &str = ".ottla_published-";
const MAGIC: &[u8; 8] = b"OTTLAPUB";
const VERSION: u32 = 1;
const CUTS: usize = 8;
const BYTES: usize = 148;
const OPEN: u32 = 1;
const CLOSED: u32 = 2;
/// A reader meets a writer in the middle of it so often at most.
const READS_MAX: usize = 1000;

/// What the owner says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub is_open: bool,
    pub topic_id: TopicId,
    pub incarnation: u64,
    pub log_start: Offset,
    pub readable: Offset,
    pub cuts: u64,
    cut_at: [Offset; CUTS],
    pub compactions: u64,
    /// Whatever was compacted lies below.
    pub compacted: Offset,
}

impl Page {
    fn new(topic_id: TopicId, incarnation: u64) -> Page {
        Page {
            is_open: true,
            topic_id,
            incarnation,
            log_start: 0,
            readable: 0,
            cuts: 0,
            cut_at: [0; CUTS],
            compactions: 0,
            compacted: 0,
        }
    }

    /// The lowest offset that was taken away since there were `cuts` of them; None: nothing was.
    pub fn lowest_cut_since(&self, cuts: u64) -> Option<Offset> {
        if self.cuts == cuts {
            return None;
        }
        // Of more than are kept, or of fewer than there were, nothing is known.
        match self.cuts.checked_sub(cuts) {
            Some(count) if count <= CUTS as u64 => {
                (cuts..self.cuts).map(|number| self.cut_at[number as usize % CUTS]).min()
            }
            _ => Some(0),
        }
    }

    fn cut(&mut self, offset: Offset) {
        self.cut_at[self.cuts as usize % CUTS] = offset;
        self.cuts += 1;
        self.readable = self.readable.min(offset);
    }

    fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_be_bytes());
        bytes[12..16].copy_from_slice(&if self.is_open { OPEN } else { CLOSED }.to_be_bytes());
        bytes[16..32].copy_from_slice(&self.topic_id);
        bytes[32..40].copy_from_slice(&self.incarnation.to_be_bytes());
        bytes[40..48].copy_from_slice(&self.log_start.to_be_bytes());
        bytes[48..56].copy_from_slice(&self.readable.to_be_bytes());
        bytes[56..64].copy_from_slice(&self.cuts.to_be_bytes());
        for (to, offset) in bytes[64..128].chunks_exact_mut(8).zip(self.cut_at) {
            to.copy_from_slice(&offset.to_be_bytes());
        }
        bytes[128..136].copy_from_slice(&self.compactions.to_be_bytes());
        bytes[136..144].copy_from_slice(&self.compacted.to_be_bytes());
        let crc = crc_fast::crc32_iscsi(&bytes[..144]);
        bytes[144..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// None: it is torn, or no page.
    fn decode(bytes: &[u8]) -> Option<Result<Page, u32>> {
        let crc = bytes.get(144..BYTES)?;
        if &bytes[..8] != MAGIC || crc_fast::crc32_iscsi(&bytes[..144]).to_be_bytes() != *crc {
            return None;
        }
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap_or_default());
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        let offset = |at: usize| number(at).cast_signed();
        if word(8) != VERSION {
            return Some(Err(word(8)));
        }
        let mut cut_at = [0; CUTS];
        for (place, to) in cut_at.iter_mut().enumerate() {
            *to = offset(64 + 8 * place);
        }
        Some(Ok(Page {
            is_open: word(12) == OPEN,
            topic_id: bytes[16..32].try_into().unwrap_or_default(),
            incarnation: number(32),
            log_start: offset(40),
            readable: offset(48),
            cuts: number(56),
            cut_at,
            compactions: number(128),
            compacted: offset(136),
        }))
    }

    /// The page of a log. None: there is none, or a power cut has torn it.
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Page>, StorageError> {
        for _ in 0..READS_MAX {
            let bytes = match read_file(disk, path, 2 * BYTES as u64) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(None),
                Err(error) => return Err(StorageError::io("read", path, error)),
            };
            match Page::decode(&bytes) {
                Some(Ok(page)) => return Ok(Some(page)),
                Some(Err(version)) => {
                    let what = format!("has version {version}; this version reads {VERSION}");
                    return Err(StorageError::invalid(path, what));
                }
                None => std::thread::yield_now(),
            }
        }
        Ok(None)
    }
}

/// Where the page of a topic's log lies in a data directory.
pub(super) fn path(directory: &Path, topic: &str) -> PathBuf {
    directory.join(format!("{PUBLISHED_PREFIX}{}", names::partition_directory(topic, 0)))
}

/// The topics whose logs have a page here.
pub(super) fn topics(disk: &dyn Disk, directory: &Path) -> Result<Vec<String>, StorageError> {
    let entries = disk.list(directory).at("list", directory)?;
    let topic_of = |name: &str| {
        names::parse_partition_directory(name.strip_prefix(PUBLISHED_PREFIX)?).map(|(topic, _)| topic.to_owned())
    };
    Ok(entries.iter().filter_map(|entry| topic_of(&entry.name)).collect())
}

/// What an earlier owner of a data directory told readers in other processes: the one that has it now tells them nothing.
pub fn remove_published(disk: &dyn Disk, directory: &Path) -> Result<(), StorageError> {
    for topic in topics(disk, directory)? {
        let path = path(directory, &topic);
        disk.remove_file(&path).at("remove", &path)?;
    }
    Ok(())
}

/// The owner's side.
#[derive(Debug)]
pub(super) struct Publisher {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    /// Held by who asks the partition, before its locks: of two that publish the later one knows more.
    order: Mutex<()>,
    /// Taken after the partition's locks.
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    page: Page,
    /// Nothing from here on may be read: it is being taken away.
    cutting: Option<Offset>,
    /// As it was written last.
    written: Option<Page>,
    file: Option<Arc<dyn File>>,
}

impl Publisher {
    /// Goes on from the page that is there, if that tells of the same log and its owner had closed it. One that cannot be read is no
    /// reason not to write the log.
    pub(super) fn open(
        disk: &Arc<dyn Disk>,
        path: PathBuf,
        topic_id: TopicId,
        incarnation: u64,
        was_clean: bool,
    ) -> Result<Publisher, StorageError> {
        let before = Page::read(disk.as_ref(), &path).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "readers in other processes begin anew");
            None
        });
        let before = before.filter(|page| page.topic_id == topic_id && was_clean && !page.is_open);
        let mut page = Page { is_open: true, ..before.unwrap_or(Page::new(topic_id, incarnation)) };
        page.compactions += page.compactions % 2;
        let inner = Mutex::new(Inner { page, cutting: None, written: None, file: None });
        Ok(Publisher { path, disk: disk.clone(), order: Mutex::new(()), inner })
    }

    /// Tells what may be read now. Nothing is lost if it cannot: readers see less.
    pub(super) fn publish(&self, partition: &Partition) {
        let _order = self.order.lock();
        let offsets = partition.offsets();
        let readable = offsets.durable.min(offsets.last_stable);
        self.change(|inner| {
            let page = &mut inner.page;
            page.log_start = page.log_start.max(offsets.log_start);
            page.readable = inner.cutting.map_or(readable, |cutting| readable.min(cutting));
        });
    }

    /// Nothing below may be read any more: its files go now.
    pub(super) fn start_moves(&self, log_start: Offset) {
        self.change(|inner| inner.page.log_start = inner.page.log_start.max(log_start));
    }

    /// Files of what lies below are replaced from now on.
    pub(super) fn rewriting(&self, until: Offset) {
        self.change(|inner| {
            inner.page.compactions += 1 + inner.page.compactions % 2;
            inner.page.compacted = inner.page.compacted.max(until);
        });
    }

    /// They were.
    pub(super) fn rewritten(&self) {
        self.change(|inner| inner.page.compactions += inner.page.compactions % 2);
    }

    /// As it is told now.
    pub(super) fn page(&self) -> Page {
        self.inner.lock().page
    }

    /// Takes away what lies from `offset` on. Readers are told before, so that nobody takes what comes after for what was there.
    pub(super) fn cutting<E: From<StorageError>>(
        &self,
        partition: &Partition,
        offset: Offset,
        cut: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        {
            let mut inner = self.inner.lock();
            inner.page.cut(offset);
            self.write(&mut inner).at("write", &self.path)?;
            // What is appended next takes these offsets: no page may come back that says they are on the disk already.
            if let Some(file) = &inner.file {
                file.sync_data().at("sync", &self.path)?;
            }
            inner.cutting = Some(offset);
        }
        let cut = cut();
        {
            // Who asked the partition before has told by then.
            let _order = self.order.lock();
            self.inner.lock().cutting = None;
        }
        self.publish(partition);
        cut
    }

    pub(super) fn close(&self) {
        self.change(|inner| inner.page.is_open = false);
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.inner.lock();
        change(&mut inner);
        if let Err(error) = self.write(&mut inner) {
            tracing::warn!(path = %self.path.display(), %error, "readers in other processes are not told what is new");
        }
    }

    fn write(&self, inner: &mut Inner) -> io::Result<()> {
        if inner.written == Some(inner.page) {
            return Ok(());
        }
        let file = match &inner.file {
            Some(file) => file.clone(),
            // A whole one, of the right length, takes the place of whatever is there.
            None => {
                replace_file(self.disk.as_ref(), &self.path, &inner.page.encode())?;
                inner.file.insert(self.disk.open(&self.path, OpenMode::Write)?).clone()
            }
        };
        file.write_at(&mut [IoSlice::new(&inner.page.encode())], 0)?;
        inner.written = Some(inner.page);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let mut page = Page::new([7; 16], 42);
        (page.log_start, page.readable, page.compactions, page.compacted) = (3, 1000, 5, 17);
        page.cut(900);
        page
    }

    #[test]
    fn round_trip() {
        assert_eq!(Page::decode(&page().encode()), Some(Ok(page())));
        assert_eq!(page().readable, 900);
    }

    /// Torn anywhere it is no page: a reader never takes half of one for what its owner says.
    #[test]
    fn torn() {
        let (old, new) = (Page { readable: 800, ..page() }.encode(), page().encode());
        for at in 1..BYTES {
            let mixed: Vec<u8> = new[..at].iter().chain(&old[at..]).copied().collect();
            if mixed != old && mixed != new {
                assert_eq!(Page::decode(&mixed), None, "torn at {at}");
            }
            assert_eq!(Page::decode(&new[..at]), None);
        }
    }

    /// What was cut since a reader last looked; when that cannot be told, everything may have been.
    #[test]
    fn cuts() {
        let mut page = Page::new([7; 16], 42);
        assert_eq!(page.lowest_cut_since(0), None);
        for offset in [50, 20, 30] {
            page.cut(offset);
        }
        assert_eq!([0, 1, 2, 3].map(|cuts| page.lowest_cut_since(cuts)), [Some(20), Some(20), Some(30), None]);
        assert_eq!(page.lowest_cut_since(4), Some(0));
        for _ in 0..6 {
            page.cut(40);
        }
        assert_eq!((page.lowest_cut_since(0), page.lowest_cut_since(1)), (Some(0), Some(20)));
    }
}
