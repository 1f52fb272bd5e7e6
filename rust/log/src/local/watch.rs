//! Looks at the page of a log that another process writes, for those who wait for it to move. Its thread runs while anybody waits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::Thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::follower::Follower;

/// A log that moves is looked at so often, one that rests less and less.
const LOOK_EVERY: Duration = Duration::from_millis(1);
const LOOK_EVERY_MAX: Duration = Duration::from_millis(16);
/// Nobody has waited for so long: the thread ends.
const IDLE_LOOKS_MAX: u32 = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Watcher {
    follower: Weak<Follower>,
    waiting: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    thread: Arc<Mutex<Option<Thread>>>,
}

/// Somebody waits.
#[derive(Debug)]
pub(super) struct Watched(Arc<AtomicUsize>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Watcher {
    pub fn new(follower: Weak<Follower>) -> Watcher {
        Watcher { follower, waiting: Arc::default(), stopped: Arc::default(), thread: Arc::default() }
    }

    /// Keeps a look at the log until the value is dropped.
    pub fn watch(&self) -> Watched {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let watched = Watched(self.waiting.clone());
        let mut thread = self.thread.lock();
        if thread.is_none() && !self.stopped.load(Ordering::Acquire) {
            *thread = self.start();
        }
        watched
    }

    /// The thread ends soon.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.lock().take() {
            thread.unpark();
        }
    }

    fn start(&self) -> Option<Thread> {
        let (follower, waiting) = (self.follower.clone(), self.waiting.clone());
        let (stopped, thread) = (self.stopped.clone(), self.thread.clone());
        let look = move || {
            let (mut known, mut pause, mut idle) = (None, LOOK_EVERY, 0);
            while !stopped.load(Ordering::Acquire) {
                let Some(follower) = follower.upgrade() else { return };
                let moved = follower.look(&mut known);
                drop(follower);
                pause = if moved { LOOK_EVERY } else { (pause * 2).min(LOOK_EVERY_MAX) };
                idle = if waiting.load(Ordering::Acquire) == 0 { idle + 1 } else { 0 };
                if idle > IDLE_LOOKS_MAX {
                    // With the lock held by which a waiter sees whether there is a thread.
                    let mut thread = thread.lock();
                    if waiting.load(Ordering::Acquire) == 0 {
                        *thread = None;
                        return;
                    }
                }
                std::thread::park_timeout(pause);
            }
        };
        match std::thread::Builder::new().name("ottla-follow".to_owned()).spawn(look) {
            Ok(handle) => Some(handle.thread().clone()),
            Err(error) => {
                tracing::error!(%error, "cannot start the thread that follows a log");
                None
            }
        }
    }
}
