//! Threads that wait for the disk in the place of those of the network: records that are not in memory, and look-ups that need what is not.
//!
//! Each data directory has its own, so that a disk that is slow, or answers no more, holds up no reader of another. They are bounded, and
//! so is what one piece of work does: a connection has one piece in work at a time, of at most [`PIECE_BYTES`] or a few look-ups, and the
//! next one goes to the end of the queue. So a reader of old records, however much it asks for, waits as long as all others.
//!
//! Whoever reads records goes on reading: behind what is sent, [`AHEAD_BYTES_MAX`] are brought in ahead, less where many read at once.
//! As a rule records are then in memory when they are asked for, and nobody waits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use ottla_log::env::File;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::counters::Counter;
use crate::crew::Crew;
use crate::held_up::Crowd;
use crate::workers::Workers;

/// For each data directory.
const THREADS: usize = 4;
/// At most so much of an answer is waited for, and sent, at once: it bounds how long one call of `sendfile` keeps a thread of the network.
pub const PIECE_BYTES: usize = 1024 * 1024;
/// What is brought in ahead of a reader.
const AHEAD_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The same of all readers together, as far as work for them waits or is done.
const AHEAD_BYTES_OF_ALL: u64 = 64 * 1024 * 1024;
/// Nothing is done ahead while so much waits or is done: it would come too late.
const AHEAD_AT_WORK_MAX: usize = 16;

/// A part of a file that is about to be sent.
pub struct Piece<'a> {
    pub file: &'a Arc<dyn File>,
    pub position: u64,
    pub bytes: usize,
    /// How far the file may be read.
    pub end: u64,
}

/// See the module.
pub struct Readers {
    workers: Workers,
    /// Who opens partitions of this directory, and makes their first files.
    pub(crate) crew: Crew,
    /// Partitions of the directory that others hold while waiting for its disk.
    pub crowd: Arc<Crowd>,
    /// Pieces of work that wait or are done.
    at_work: AtomicUsize,
    /// Pieces of answers that were not in memory.
    pub waits: Counter,
    /// Pieces of work done ahead.
    pub aheads: Counter,
    /// Fetches whose look-ups had to wait.
    pub lookups: Counter,
}

impl Default for Readers {
    fn default() -> Self {
        Self {
            workers: Workers::new("ottla-read", THREADS),
            crew: Crew::default(),
            crowd: Arc::default(),
            at_work: AtomicUsize::new(0),
            waits: Counter::default(),
            aheads: Counter::default(),
            lookups: Counter::default(),
        }
    }
}

/// Counts a piece of work as long as it waits or is done, also when it is dropped.
struct AtWork(Arc<Readers>);

impl AtWork {
    fn begin(readers: &Arc<Readers>) -> Self {
        readers.at_work.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(readers))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes work that nobody waits for any more out of the queue, with all it holds: after a time without answers from the disk it would
/// stand before that of who still waits.
struct Unqueue<W>(Weak<Mutex<Option<W>>>);

impl<W> Drop for Unqueue<W> {
    fn drop(&mut self) {
        if let Some(queued) = self.0.upgrade() {
            let work = queued.lock().take();
            drop(work);
        }
    }
}

impl Readers {
    /// Does `work` on one of the threads; `None` if they have been stopped. What nobody waits for any more is not begun.
    pub async fn run<T: Send + 'static>(self: &Arc<Self>, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let at_work = AtWork::begin(self);
        let work = move || {
            let done = work();
            drop(at_work);
            // Who asked may have gone.
            let _ = tell.send(done);
        };
        let queued = Arc::new(Mutex::new(Some(work)));
        let _unless_gone = Unqueue(Arc::downgrade(&queued));
        self.workers.run(move || {
            let work = queued.lock().take();
            if let Some(work) = work {
                work();
            }
        });
        told.await.ok()
    }

    /// Returns when this piece is in memory, which it nearly always is at once; has what follows brought in.
    pub async fn prepare(self: &Arc<Self>, piece: Piece<'_>) {
        let Piece { file, position, bytes, end } = piece;
        let next = position + bytes as u64;
        let ahead_bytes = self.ahead_bytes().min(end.saturating_sub(next));
        if file.is_resident(position, bytes as u64) {
            // Not before half of it is used up: so that it is done in few pieces.
            if ahead_bytes > 0
                && self.at_work() < AHEAD_AT_WORK_MAX
                && !file.is_coming(next, ahead_bytes.min(AHEAD_BYTES_MAX / 2))
            {
                self.read_ahead(file, next, ahead_bytes);
            }
            return;
        }
        self.waits.add_one();
        let file = Arc::clone(file);
        let brought = self
            .run(move || {
                file.read_ahead(position, bytes as u64 + ahead_bytes);
                file.bring_in(position, bytes as u64)
            })
            .await;
        if let Some(Err(error)) = brought {
            // Sending it meets the same error, and ends the connection with it.
            tracing::error!("records cannot be read from the disk: {error}");
        }
    }

    /// Pieces of work that wait or are done.
    #[must_use]
    pub fn at_work(&self) -> usize {
        self.at_work.load(Ordering::Relaxed)
    }

    fn ahead_bytes(&self) -> u64 {
        let at_work = self.at_work().max(1) as u64;
        (AHEAD_BYTES_OF_ALL / at_work).min(AHEAD_BYTES_MAX)
    }

    fn read_ahead(self: &Arc<Self>, file: &Arc<dyn File>, position: u64, bytes: u64) {
        self.aheads.add_one();
        let (file, at_work) = (Arc::clone(file), AtWork::begin(self));
        self.workers.run(move || {
            file.read_ahead(position, bytes);
            drop(at_work);
        });
    }

    /// Nothing is begun any more, and what was begun has ended: it may open partitions, and mends their indexes.
    pub fn stop(&self) {
        self.workers.stop_and_wait();
    }
}
