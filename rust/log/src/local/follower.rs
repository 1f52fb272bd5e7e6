//! A log that somebody else has, seen from another process: read up to where its owner says, and no file is changed.
//!
//! The owner's page ([`super::page`]) is looked at before a piece is read and again after it: what the owner cut meanwhile is not given to
//! anybody. Files are found by their names and opened to be read only; one that retention or compaction took meanwhile stays good for who
//! has it open, and is looked for anew when it cannot be opened any more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::cursors;
use super::files::{Files, Found};
use super::log::Wait;
use super::page::{self, Page};
use super::progress::{Move, Progress, Subscription};
use super::scan::{Batches, Piece, Source};
use super::watch::Watcher;
use crate::batch::records::{RecordRef, Records};
use crate::directory::{LOCK, check_format, read_meta};
use crate::env::{Disk, Env};
use crate::error::{IoContext, ReadError, StorageError};
use crate::partition::{OffsetAt, ReadUpTo};
use crate::segment::names;
use crate::{Offset, Offsets, PartitionConfig, TopicId};

/// A log that changes while it is read is tried again so often at most.
const READS_MAX: usize = 100;
/// To replace the files of a segment takes some syncs, which a busy disk may take long for.
const REPLACING_PAUSE: Duration = Duration::from_millis(5);
const REPLACING_PAUSES_MAX: usize = 2000;

/// See the module. Shared by reference between threads.
#[derive(Debug)]
pub struct Follower {
    env: Env,
    directory: PathBuf,
    /// The partition's.
    path: PathBuf,
    page_path: PathBuf,
    topic: String,
    topic_id: TopicId,
    /// As it was read last; a page that is not there for a moment says nothing new.
    page: Mutex<Page>,
    progress: Arc<Progress>,
    watcher: Watcher,
    is_closed: AtomicBool,
}

/// What metrics and people are told.
#[derive(Clone, Debug)]
pub struct FollowerStatus {
    pub page: Page,
    pub segments: usize,
    pub bytes: u64,
}

impl Follower {
    /// The log of `topic` in a data directory, or the only one there.
    pub fn open(env: Env, directory: &Path, topic: Option<&str>) -> Result<Arc<Follower>, StorageError> {
        let disk = env.disk().as_ref();
        if !disk.exists(directory).at("look for", directory)? || read_meta(disk, directory)?.is_none() {
            return Err(StorageError::invalid(directory, "no log is here"));
        }
        check_format(disk, directory)?;
        let topic = match topic {
            Some(topic) => topic.to_owned(),
            None => only_topic(disk, directory)?,
        };
        let page_path = page::path(directory, &topic);
        let Some(page) = Page::read(disk, &page_path)? else { return Err(nothing_published(directory, &topic)) };
        let path = directory.join(names::partition_directory(&topic, 0));
        Ok(Arc::new_cyclic(|this| Follower {
            env,
            directory: directory.to_path_buf(),
            path,
            page_path,
            topic,
            topic_id: page.topic_id,
            page: Mutex::new(page),
            progress: Arc::default(),
            watcher: Watcher::new(this.clone()),
            is_closed: AtomicBool::new(false),
        }))
    }

    pub fn topic(&self) -> &str {
        &self.topic
    }

    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Of the partition.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn check_open(&self) -> Result<(), StorageError> {
        if self.is_closed() { Err(StorageError::Closed { path: self.path.clone() }) } else { Ok(()) }
    }

    /// What the owner says now, if it says anything.
    fn page(&self) -> Result<Page, StorageError> {
        let read = Page::read(self.env.disk().as_ref(), &self.page_path)?;
        let mut page = self.page.lock();
        if let Some(read) = read {
            *page = read;
        }
        Ok(*page)
    }

    /// As the owner's readers see it. Its log end is not known here: what is not to be read might as well not be there.
    pub fn offsets(&self) -> Result<Offsets, StorageError> {
        self.check_open()?;
        Ok(offsets_of(&self.page()?))
    }

    pub fn batches(self: &Arc<Self>, start: Offset) -> Result<Batches, StorageError> {
        self.check_open()?;
        let since = self.settled_page()?;
        let cuts = AtomicU64::new(since.cuts);
        let source = Reader { follower: self.clone(), since, cuts, files: Mutex::default() };
        Ok(Batches::new(Arc::new(source), start, ReadUpTo::LastStable))
    }

    /// What the owner says when it does not just replace files.
    fn settled_page(&self) -> Result<Page, StorageError> {
        for _ in 0..REPLACING_PAUSES_MAX {
            let page = self.page()?;
            if page.compactions.is_multiple_of(2) || !self.has_owner() {
                return Ok(page);
            }
            self.pause()?;
        }
        Err(self.changes_too_fast())
    }

    /// Waits until no files are half replaced. An error when there is nobody to go on with that.
    fn wait_for_whole_files(&self) -> Result<(), StorageError> {
        for _ in 0..REPLACING_PAUSES_MAX {
            if !Files::is_half_replaced(self.env.disk().as_ref(), &self.path)? {
                return Ok(());
            }
            if !self.has_owner() {
                let what = "its owner was stopped while it put compacted files in the place of others: open the log to be written, which ends that, and read it then";
                return Err(StorageError::invalid(&self.path, what));
            }
            self.pause()?;
        }
        Err(self.changes_too_fast())
    }

    fn pause(&self) -> Result<(), StorageError> {
        self.check_open()?;
        std::thread::park_timeout(REPLACING_PAUSE);
        Ok(())
    }

    /// Somebody has the directory; where that cannot be told, perhaps.
    fn has_owner(&self) -> bool {
        self.env.disk().is_locked(&self.directory.join(LOCK)).unwrap_or(true)
    }

    /// Looks at the page, and tells who waits if it is not the one `known`. True: it was not.
    pub(super) fn look(&self, known: &mut Option<Page>) -> bool {
        let page = self.page().ok();
        let Some(moved) = page.filter(|_| page != *known) else { return false };
        let is_another = |known: Page| (known.incarnation, known.cuts) != (moved.incarnation, moved.cuts);
        let changed = known.is_none_or(is_another);
        *known = page;
        self.progress.tell(&offsets_of(&moved));
        if changed {
            self.progress.disturb();
        }
        true
    }

    pub fn wait_for(&self, what: Wait, timeout: Duration) -> Move {
        let _watched = self.watcher.watch();
        self.progress.wait_for(what, || self.offsets().ok(), timeout)
    }

    /// `hook` is called whenever there may be more to read, or never will be.
    pub fn subscribe(&self, hook: impl Fn() + Send + 'static) -> Subscription {
        let watched = self.watcher.watch();
        Subscription::new(&self.progress, move || {
            let _ = &watched;
            hook();
        })
    }

    /// The first record that is not older, among those that may be read.
    pub fn lookup_timestamp(self: &Arc<Self>, timestamp_ms: i64) -> Result<Option<OffsetAt>, ReadError> {
        let offsets = self.offsets()?;
        let files = Files::default();
        let disk = self.env.disk().as_ref();
        let from = files.time_floor(disk, &self.path, timestamp_ms)?.max(offsets.log_start);
        let mut batches = self.batches(from)?;
        while let Some(batch) = batches.next(offsets.last_stable)? {
            if batch.header.max_timestamp_ms < timestamp_ms {
                continue;
            }
            for view in Records::new(&batch.bytes[batch.at..batch.end], batch.header.record_count) {
                let view = view.map_err(|what| StorageError::corrupt(&self.path, 0, what))?;
                let record = RecordRef::new(&batch.header, view);
                if record.timestamp_ms >= timestamp_ms && record.offset >= from {
                    return Ok(Some(OffsetAt {
                        offset: record.offset,
                        timestamp_ms: record.timestamp_ms,
                        leader_epoch: Some(batch.header.leader_epoch),
                    }));
                }
            }
        }
        Ok(None)
    }

    /// Where cursors are, as far as it is on the disk.
    pub fn cursors(self: &Arc<Self>) -> Result<BTreeMap<String, Offset>, ReadError> {
        let disk = self.env.disk().as_ref();
        for _ in 0..READS_MAX {
            let offsets = self.offsets()?;
            // The file is replaced as a whole; what is compacted or deleted after it was read is in the next one.
            match cursors::read_settled(disk, &self.directory, &self.topic_id, &offsets, |from| self.batches(from)) {
                Err(ReadError::OffsetOutOfRange { .. }) => {}
                other => return other,
            }
        }
        Err(self.changes_too_fast().into())
    }

    fn changes_too_fast(&self) -> StorageError {
        StorageError::invalid(&self.path, "changes faster than it can be read")
    }

    pub fn status(&self) -> Result<FollowerStatus, StorageError> {
        self.check_open()?;
        let page = self.page()?;
        let (segments, bytes) = Files::default().count(self.env.disk().as_ref(), &self.path)?;
        Ok(FollowerStatus { page, segments, bytes })
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Wakes who waits. Idempotent.
    pub fn close(&self) {
        if !self.is_closed.swap(true, Ordering::AcqRel) {
            self.progress.end(StorageError::Closed { path: self.path.clone() });
            self.watcher.stop();
        }
    }
}

fn offsets_of(page: &Page) -> Offsets {
    let readable = page.readable.max(page.log_start);
    Offsets {
        log_start: page.log_start,
        last_stable: readable,
        high_watermark: readable,
        log_end: readable,
        durable: readable,
    }
}

fn only_topic(disk: &dyn Disk, directory: &Path) -> Result<String, StorageError> {
    let mut topics = page::topics(disk, directory)?;
    match topics.len() {
        0 => Err(nothing_published(directory, "a topic")),
        1 => Ok(topics.remove(0)),
        _ => {
            let what = format!("there are logs of several topics here, {}: say which", topics.join(", "));
            Err(StorageError::invalid(directory, what))
        }
    }
}

fn nothing_published(directory: &Path, topic: &str) -> StorageError {
    let what = format!(
        "nobody who writes the log of {topic} tells readers here how far they may read: a broker that has the directory serves them itself; a log that is opened to be written tells them"
    );
    StorageError::invalid(directory, what)
}

/// One reader, and what it has begun to read.
#[derive(Debug)]
struct Reader {
    follower: Arc<Follower>,
    /// The page as it was when it began.
    since: Page,
    /// Truncations so far that it was not behind of.
    cuts: AtomicU64,
    files: Mutex<Files>,
}

impl Reader {
    /// What the owner has done since to what is to be read from `start` on.
    fn check(&self, page: &Page, start: Offset) -> Result<(), ReadError> {
        let overtaken = |what: String| StorageError::Overtaken { path: self.follower.path.clone(), what }.into();
        if (page.topic_id, page.incarnation) != (self.since.topic_id, self.since.incarnation) {
            return Err(overtaken(
                "the log was made anew, or another had it meanwhile: begin to read again".to_owned(),
            ));
        }
        if let Some(cut) = page.lowest_cut_since(self.cuts.load(Ordering::Acquire)).filter(|cut| *cut < start) {
            return Err(overtaken(format!("the log was truncated to offset {cut}, and {start} was to be read next")));
        }
        let (log_start, log_end) = (page.log_start, page.readable.max(page.log_start));
        if start < log_start || start > log_end {
            return Err(ReadError::OffsetOutOfRange { requested: start, log_start, log_end });
        }
        if page.compactions != self.since.compactions && start < page.compacted {
            let compacted = page.compacted;
            return Err(overtaken(format!(
                "the log was compacted up to offset {compacted}, and {start} was to be read next"
            )));
        }
        self.cuts.store(page.cuts, Ordering::Release);
        Ok(())
    }
}

impl Source for Reader {
    fn read(&self, start: Offset, bytes_max: u32, _up_to: ReadUpTo) -> Result<Piece, ReadError> {
        let follower = &self.follower;
        follower.check_open()?;
        let disk = follower.env.disk().as_ref();
        let mut files = self.files.lock();
        for _ in 0..READS_MAX {
            let page = follower.page()?;
            self.check(&page, start)?;
            if start >= page.readable {
                return Ok(Piece::default());
            }
            let read = files.read(disk, &follower.path, start, page.readable, bytes_max);
            let after = follower.page()?;
            // What takes files away is told before: nothing is passed over that went meanwhile.
            self.check(&after, start)?;
            if (after.cuts, after.incarnation) != (page.cuts, page.incarnation) {
                files.forget();
                continue;
            }
            if files.was_half_replaced() {
                files.forget();
                follower.wait_for_whole_files()?;
                continue;
            }
            match read {
                Ok(Found::Piece(piece)) => return Ok(piece),
                // Compaction may leave nothing of the end.
                Ok(Found::Nothing) => return Ok(Piece { nothing_below: page.readable, ..Piece::default() }),
                // It was taken away, and the owner says so sooner or later.
                Ok(Found::Gone) => {
                    files.forget();
                    if after.log_start == page.log_start
                        && let Some(first) = files.first(disk, &follower.path)?
                        && first > start
                    {
                        let log_end = page.readable.max(first);
                        return Err(ReadError::OffsetOutOfRange { requested: start, log_start: first, log_end });
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(follower.changes_too_fast().into())
    }

    fn offsets(&self) -> Offsets {
        offsets_of(&self.follower.page.lock())
    }

    fn path(&self) -> &Path {
        &self.follower.path
    }

    fn unpacked_bytes_max(&self) -> usize {
        PartitionConfig::default().decompressed_bytes_max as usize
    }
}
