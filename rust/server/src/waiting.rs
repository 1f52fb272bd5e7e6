//! Who waits for a partition to move, and how a movement finds them.
//!
//! A parked Produce waits for the high watermark to reach an offset; a parked Fetch waits for it to move at all. Both
//! register a [`Wakeup`] with a target offset before they look at the partition, so that a movement between the look
//! and the wait is not lost, and look again when woken. The list forgets a waiter when its [`Registration`] is dropped:
//! long polls on an idle partition leave nothing behind.
//!
//! A fetch of a session registers nowhere: its session has left marks ([`crate::sessions::marks`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::sessions::marks::Mark;

/// Wakes one parked request, whichever of its partitions moved.
#[derive(Default)]
pub struct Wakeup {
    notify: Notify,
}

impl Wakeup {
    /// Waits until some registered partition moved since the last call returned.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }

    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }
}

struct Waiter {
    id: u64,
    /// Woken when the high watermark is at or past this offset.
    target_offset: i64,
    wakeup: Arc<Wakeup>,
}

/// Called once, on the thread that moved the high watermark; must not block.
type Notice = Box<dyn FnOnce() + Send>;

/// The waiters of one partition.
#[derive(Default)]
pub struct Waiters {
    list: Mutex<Vec<Waiter>>,
    /// A coordinator's appends: told when they are committed, and only then.
    notices: Mutex<Vec<(i64, Notice)>>,
    /// The same, told too when anything else changes: they look for themselves.
    looks: Mutex<Vec<(i64, Notice)>>,
    /// Of fetch sessions that found nothing here.
    marks: Mutex<Vec<Arc<Mark>>>,
    next_id: AtomicU64,
    /// As last told.
    high_watermark: AtomicI64,
}

impl Waiters {
    /// The high watermark as last told, when everybody else has heard of it; 0 as long as it has not moved. Who registers first and then asks
    /// misses no movement.
    #[must_use]
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    /// Registers a waiter for the high watermark to reach `target_offset`.
    pub fn register(self: &Arc<Self>, target_offset: i64, wakeup: &Arc<Wakeup>) -> Registration {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.list.lock().push(Waiter { id, target_offset, wakeup: Arc::clone(wakeup) });
        Registration { waiters: Arc::clone(self), id }
    }

    /// Calls `notice` once the high watermark reaches `target_offset`.
    pub fn notify_at(&self, target_offset: i64, notice: impl FnOnce() + Send + 'static) {
        self.notices.lock().push((target_offset, Box::new(notice)));
    }

    /// Calls `look` once the high watermark reaches `target_offset` or something else changed (see [`Waiters::wake_all`]).
    pub fn look_at(&self, target_offset: i64, look: impl FnOnce() + Send + 'static) {
        self.looks.lock().push((target_offset, Box::new(look)));
    }

    /// The high watermark is now `high_watermark`: wakes those who waited for it. Sessions hear of it first: who is told that its records
    /// are committed finds them with its next fetch.
    pub fn advanced_to(&self, high_watermark: i64) {
        self.set_marks();
        self.high_watermark.fetch_max(high_watermark, Ordering::AcqRel);
        self.wake_if(|waiter| waiter.target_offset <= high_watermark);
        call_due(&self.notices, high_watermark);
        call_due(&self.looks, high_watermark);
    }

    /// Something else changed (offline, deleted, new leader epoch, last stable offset): everyone looks again.
    pub fn wake_all(&self) {
        self.set_marks();
        self.wake_if(|_| true);
        call_due(&self.looks, i64::MAX);
    }

    /// The log begins elsewhere: news to those who were told where it began, and who waits at an offset that has gone is to hear that.
    pub fn start_moved(&self) {
        self.set_marks();
        self.wake_if(|_| true);
    }

    pub(crate) fn add_mark(&self, mark: &Arc<Mark>) {
        self.marks.lock().push(Arc::clone(mark));
    }

    pub(crate) fn remove_mark(&self, mark: &Arc<Mark>) {
        let mut marks = self.marks.lock();
        if let Some(place) = marks.iter().position(|other| Arc::ptr_eq(other, mark)) {
            marks.swap_remove(place);
        }
    }

    #[cfg(test)]
    pub(crate) fn marks(&self) -> usize {
        self.marks.lock().len()
    }

    fn set_marks(&self) {
        self.marks.lock().iter().for_each(|mark| mark.set());
    }

    fn wake_if(&self, due: impl Fn(&Waiter) -> bool) {
        let mut list = self.list.lock();
        list.retain(|waiter| {
            let is_due = due(waiter);
            if is_due {
                waiter.wakeup.wake();
            }
            !is_due
        });
    }
}

/// Takes out what is due and calls it, the lock let go.
fn call_due(list: &Mutex<Vec<(i64, Notice)>>, high_watermark: i64) {
    let mut waiting = list.lock();
    if waiting.is_empty() {
        return;
    }
    let (due, later): (Vec<_>, Vec<_>) =
        std::mem::take(&mut *waiting).into_iter().partition(|(target_offset, _)| *target_offset <= high_watermark);
    *waiting = later;
    drop(waiting);
    for (_, notice) in due {
        notice();
    }
}

/// Keeps a waiter in its partition's list; dropping it removes the waiter.
pub struct Registration {
    waiters: Arc<Waiters>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut list = self.waiters.list.lock();
        if let Some(place) = list.iter().position(|waiter| waiter.id == self.id) {
            list.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_registration_leaves_nothing_behind() {
        let waiters = Arc::new(Waiters::default());
        let wakeup = Arc::new(Wakeup::default());
        let registrations: Vec<_> = (0..100).map(|target| waiters.register(target, &wakeup)).collect();
        assert_eq!(waiters.list.lock().len(), 100);
        drop(registrations);
        assert!(waiters.list.lock().is_empty());
    }

    #[tokio::test]
    async fn only_those_whose_target_is_reached_are_woken() {
        let waiters = Arc::new(Waiters::default());
        let (near, far) = (Arc::new(Wakeup::default()), Arc::new(Wakeup::default()));
        let _near = waiters.register(5, &near);
        let _far = waiters.register(6, &far);
        waiters.advanced_to(5);
        near.woken().await;
        assert_eq!(waiters.list.lock().len(), 1);
        waiters.wake_all();
        far.woken().await;
        assert!(waiters.list.lock().is_empty());
    }
}
