//! Partitions that somebody holds while waiting for the disk: to open them, for a new segment, for an epoch to be written down. Whoever needs
//! one of them meanwhile waits for the end of that, and takes no thread for it.
//!
//! Those who hold one are threads of the network as a rule, and tokio has a bounded number to put in their place. So where many are held
//! up in one data directory nothing is begun there that might have to wait as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::until::until;

/// Of the 512 threads of tokio, for each data directory.
const HELD_MAX: usize = 64;

/// How many partitions of a data directory are held up.
#[derive(Debug, Default)]
pub struct Crowd {
    count: AtomicUsize,
    thinned: Notify,
}

impl Crowd {
    fn is_dense(&self) -> bool {
        self.count.load(Ordering::Acquire) >= HELD_MAX
    }

    fn enter(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    fn leave(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == HELD_MAX {
            self.thinned.notify_waiters();
        }
    }
}

/// Whether one partition is held up.
#[derive(Debug)]
pub struct HeldUp {
    holders: AtomicUsize,
    over: Notify,
    crowd: Arc<Crowd>,
}

/// From here to its end the partition is held up.
pub struct Hold<'h>(&'h HeldUp);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl HeldUp {
    pub fn new(crowd: Arc<Crowd>) -> Self {
        Self { holders: AtomicUsize::new(0), over: Notify::new(), crowd }
    }

    pub fn hold(&self) -> Hold<'_> {
        self.begin();
        Hold(self)
    }

    pub fn begin(&self) {
        if self.holders.fetch_add(1, Ordering::AcqRel) == 0 {
            self.crowd.enter();
        }
    }

    pub fn end(&self) {
        if self.holders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.crowd.leave();
            self.over.notify_waiters();
        }
    }

    pub fn is_now(&self) -> bool {
        self.holders.load(Ordering::Acquire) > 0
    }

    /// Whether work that may have to wait for the disk must not begin.
    pub fn or_crowded(&self) -> bool {
        self.is_now() || self.crowd.is_dense()
    }

    /// Returns once the partition is not held up.
    pub async fn until_over(&self) {
        until(&self.over, || !self.is_now()).await;
    }

    /// Returns once work that may have to wait for the disk may begin.
    pub async fn until_uncrowded(&self) {
        while self.or_crowded() {
            self.until_over().await;
            until(&self.crowd.thinned, || !self.crowd.is_dense()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        matches!(future.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()))
    }

    /// It is over when the last holder has ended, and not before.
    #[test]
    fn until_the_last_has_ended() {
        let held_up = HeldUp::new(Arc::default());
        let (first, second) = (held_up.hold(), held_up.hold());
        let mut waits = pin!(held_up.until_over());
        assert!(!poll(waits.as_mut()));
        drop(first);
        assert!(!poll(waits.as_mut()) && held_up.is_now());
        drop(second);
        assert!(poll(waits.as_mut()) && !held_up.is_now());
    }

    /// Where too many are held up nothing new begins, also with partitions that are not; elsewhere it does.
    #[test]
    fn a_crowd_is_not_joined() {
        let crowd = Arc::new(Crowd::default());
        let all: Vec<HeldUp> = (0..=HELD_MAX).map(|_| HeldUp::new(Arc::clone(&crowd))).collect();
        let mut holds: Vec<Hold<'_>> = all[1..].iter().map(HeldUp::hold).collect();
        assert!(all[0].or_crowded() && !all[0].is_now());
        assert!(!HeldUp::new(Arc::default()).or_crowded());
        let mut waits = pin!(all[0].until_uncrowded());
        assert!(!poll(waits.as_mut()));
        // A second holder of one partition is no further partition.
        holds.push(all[1].hold());
        holds.pop();
        assert!(!poll(waits.as_mut()));
        holds.pop();
        assert!(poll(waits.as_mut()) && !all[0].or_crowded());
    }
}
