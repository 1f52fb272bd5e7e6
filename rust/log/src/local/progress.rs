//! Who waits for a log to move: threads, each for an offset, and hooks for those who wait elsewhere (an event loop).
//!
//! A waiter looks at the log with the lock held that who moves it must take before it wakes anybody, so that no movement between the look
//! and the wait is missed. Only those are woken whose offset has come, each by itself: thirty threads that a group commit lets go do not
//! queue for a lock first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::log::Wait;
use super::page::Publisher;
use crate::error::StorageError;
use crate::partition::{Partition, PartitionObserver};
use crate::{Offset, Offsets};

/// What ended a wait.
#[derive(Clone, Debug)]
pub enum Move {
    Reached,
    NotYet,
    /// Something was taken away: what is waited for may be another by now.
    Changed,
    /// The log was closed, or its disk failed: it will not come.
    Ended(StorageError),
}

type Hook = Box<dyn Fn() + Send>;

/// A thread that waits.
struct Waiter {
    what: Wait,
    told: Mutex<Option<Told>>,
    wake: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Reached,
    Changed,
    Ended,
}

impl Waiter {
    fn tell(&self, told: Told) {
        *self.told.lock() = Some(told);
        self.wake.notify_one();
    }
}

#[derive(Default)]
struct Waiting {
    ended: Option<StorageError>,
    waiters: Vec<Arc<Waiter>>,
    hooks: BTreeMap<u64, Hook>,
    next_hook: u64,
}

impl Waiting {
    fn look(&self, what: Wait, offsets: Option<Offsets>) -> Option<Move> {
        if offsets.is_some_and(|offsets| what.has_come(&offsets)) {
            return Some(Move::Reached);
        }
        self.ended.clone().map(Move::Ended)
    }
}

/// See the module.
#[derive(Default)]
pub struct Progress {
    waiting: Mutex<Waiting>,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Progress({:?})", self.ended())
    }
}

impl Progress {
    /// Waits until `what` has come, or the time is over: who is told that it is not yet so looks at what else there is to do, and waits
    /// again. `offsets`: where the log stands; None where that cannot be told.
    pub(super) fn wait_for(&self, what: Wait, offsets: impl Fn() -> Option<Offsets>, timeout: Duration) -> Move {
        let waiter = {
            let mut waiting = self.waiting.lock();
            if let Some(outcome) = waiting.look(what, offsets()) {
                return outcome;
            }
            let waiter = Arc::new(Waiter { what, told: Mutex::default(), wake: Condvar::new() });
            waiting.waiters.push(waiter.clone());
            waiter
        };
        {
            let mut told = waiter.told.lock();
            waiter.wake.wait_while_for(&mut told, |told| told.is_none(), timeout);
            match *told {
                Some(Told::Reached) => return Move::Reached,
                Some(Told::Changed) => return Move::Changed,
                Some(Told::Ended) | None => {}
            }
        }
        let mut waiting = self.waiting.lock();
        waiting.waiters.retain(|other| !Arc::ptr_eq(other, &waiter));
        waiting.look(what, offsets()).unwrap_or(Move::NotYet)
    }

    /// The log moved, and stands so now.
    pub(super) fn tell(&self, offsets: &Offsets) {
        let mut waiting = self.waiting.lock();
        waiting.waiters.retain(|waiter| {
            let has_come = waiter.what.has_come(offsets);
            if has_come {
                waiter.tell(Told::Reached);
            }
            !has_come
        });
        waiting.hooks.values().for_each(|hook| hook());
    }

    /// Whoever waits looks again.
    pub(super) fn disturb(&self) {
        let mut waiting = self.waiting.lock();
        waiting.waiters.drain(..).for_each(|waiter| waiter.tell(Told::Changed));
        waiting.hooks.values().for_each(|hook| hook());
    }

    /// Nobody need wait any more. The first reason stays.
    pub(super) fn end(&self, reason: StorageError) {
        let mut waiting = self.waiting.lock();
        waiting.ended.get_or_insert(reason);
        waiting.waiters.drain(..).for_each(|waiter| waiter.tell(Told::Ended));
        waiting.hooks.values().for_each(|hook| hook());
    }

    pub(super) fn ended(&self) -> Option<StorageError> {
        self.waiting.lock().ended.clone()
    }
}

/// `hook` is called whenever the log moved or ended, until this is dropped. It must not block.
pub struct Subscription {
    progress: Arc<Progress>,
    number: u64,
}

impl Subscription {
    pub(super) fn new(progress: &Arc<Progress>, hook: impl Fn() + Send + 'static) -> Subscription {
        let mut waiting = progress.waiting.lock();
        let number = waiting.next_hook;
        waiting.next_hook += 1;
        waiting.hooks.insert(number, Box::new(hook));
        Subscription { progress: progress.clone(), number }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.progress.waiting.lock().hooks.remove(&self.number);
    }
}

/// What the partition tells.
pub(super) struct Watch {
    pub progress: Arc<Progress>,
    pub publisher: Arc<Publisher>,
}

impl PartitionObserver for Watch {
    fn readable_advanced(&self, _partition: &Arc<Partition>, offsets: Offsets) {
        self.progress.tell(&offsets);
    }

    fn durable_advanced(&self, partition: &Arc<Partition>) {
        self.publisher.publish(partition);
    }

    fn start_moved(&self, partition: &Arc<Partition>, _offsets: Offsets) {
        self.publisher.publish(partition);
    }

    fn start_moves(&self, log_start: Offset) {
        self.publisher.start_moves(log_start);
    }

    fn rewriting(&self, until: Offset) {
        self.publisher.rewriting(until);
    }

    fn rewritten(&self) {
        self.publisher.rewritten();
    }

    fn went_offline(&self, _partition: &Arc<Partition>, reason: &StorageError) {
        self.progress.end(StorageError::Offline { reason: Arc::new(reason.clone()) });
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn standing_at(offset: i64) -> Offsets {
        Offsets { log_start: 0, last_stable: offset, high_watermark: offset, log_end: offset, durable: offset }
    }

    /// Who waits for less is woken, who waits for more goes on, until it is over for all.
    #[test]
    fn only_those_whose_offset_has_come() {
        let progress = Progress::default();
        let wait = |offset, stands: i64, timeout| {
            progress.wait_for(Wait::Settled(offset), || Some(standing_at(stands)), timeout)
        };
        let waiting = || progress.waiting.lock().waiters.len();
        let hour = Duration::from_secs(3600);
        std::thread::scope(|scope| {
            let near = scope.spawn(|| wait(4, 4, hour));
            let far = scope.spawn(|| wait(9, 4, hour));
            while waiting() < 2 {
                std::thread::yield_now();
            }
            progress.tell(&standing_at(5));
            assert!(matches!(near.join().unwrap(), Move::Reached));
            assert_eq!(waiting(), 1);
            progress.end(StorageError::Closed { path: PathBuf::from("/d") });
            assert!(matches!(far.join().unwrap(), Move::Ended(StorageError::Closed { .. })));
        });
        assert!(matches!(wait(3, 4, hour), Move::Reached));
        assert!(matches!(wait(4, 4, hour), Move::Ended(_)));
    }

    /// Whose time is over is told so, and is forgotten.
    #[test]
    fn in_time() {
        let progress = Progress::default();
        let moved = progress.wait_for(Wait::Readable(0), || Some(standing_at(0)), Duration::from_micros(1));
        assert!(matches!(moved, Move::NotYet));
        assert!(progress.waiting.lock().waiters.is_empty());
    }
}
