//! Who waits for a log to move: threads on a condition, and hooks for those who wait elsewhere (an event loop).
//!
//! A waiter looks at the log with the lock held that who moves it must take before it wakes anybody, so that no movement between the look
//! and the wait is missed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::page::Publisher;
use crate::Offsets;
use crate::error::StorageError;
use crate::partition::{Partition, PartitionObserver};

/// What ended a wait.
#[derive(Clone, Debug)]
pub enum Move {
    Reached,
    NotYet,
    /// The log was closed, or its disk failed: it will not come.
    Ended(StorageError),
}

type Hook = Box<dyn Fn() + Send>;

#[derive(Default)]
struct Waiting {
    ended: Option<StorageError>,
    hooks: BTreeMap<u64, Hook>,
    next_hook: u64,
}

/// See the module.
#[derive(Default)]
pub struct Progress {
    waiting: Mutex<Waiting>,
    moved: Condvar,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Progress({:?})", self.ended())
    }
}

impl Progress {
    /// Waits until it `has_come`, the log moves at all, or the time is over: who is told that it is not yet so looks at what else there
    /// is to do, and waits again.
    pub(super) fn wait_for(&self, has_come: impl Fn() -> bool, timeout: Duration) -> Move {
        let mut waiting = self.waiting.lock();
        for has_waited in [false, true] {
            if has_come() {
                return Move::Reached;
            }
            if let Some(reason) = &waiting.ended {
                return Move::Ended(reason.clone());
            }
            if !has_waited {
                self.moved.wait_for(&mut waiting, timeout);
            }
        }
        Move::NotYet
    }

    pub(super) fn tell(&self) {
        let waiting = self.waiting.lock();
        self.moved.notify_all();
        waiting.hooks.values().for_each(|hook| hook());
    }

    /// Nobody need wait any more. The first reason stays.
    pub(super) fn end(&self, reason: StorageError) {
        self.waiting.lock().ended.get_or_insert(reason);
        self.tell();
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
    fn readable_advanced(&self, _partition: &Arc<Partition>, _offsets: Offsets) {
        self.progress.tell();
    }

    fn durable_advanced(&self, partition: &Arc<Partition>) {
        self.publisher.publish(partition);
    }

    fn start_moved(&self, partition: &Arc<Partition>, _offsets: Offsets) {
        self.publisher.publish(partition);
    }

    fn went_offline(&self, _partition: &Arc<Partition>, reason: &StorageError) {
        self.progress.end(StorageError::Offline { reason: Arc::new(reason.clone()) });
    }
}
