//! How much memory answers may hold that their clients do not take: `ottla.unsent.bytes.max`.
//!
//! Most answers leave at once and are never counted. One that does not is counted until it has left. Records that go out by
//! `sendfile` hold no memory. With more than the bound, what may make large answers (all but Produce and Fetch) is not begun,
//! and connections whose clients take nothing are closed (`activity.rs`). Kafka has no such bound.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::until::until;

pub struct Unsent {
    bytes: AtomicUsize,
    bytes_max: usize,
    /// Told when the bound is passed.
    pressed: Notify,
    /// Told when it is kept again.
    relieved: Notify,
}

impl Unsent {
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), bytes_max, pressed: Notify::new(), relieved: Notify::new() }
    }

    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        self.bytes() > self.bytes_max
    }

    /// Returns when the bound was passed since the last call.
    pub async fn pressed(&self) {
        self.pressed.notified().await;
    }

    /// Returns once the bound is kept.
    pub async fn room(&self) {
        until(&self.relieved, || !self.is_over()).await;
    }

    /// Counts an answer until the guard is dropped.
    #[must_use]
    pub fn hold(&self, bytes: usize) -> Held<'_> {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes > self.bytes_max {
            self.pressed.notify_one();
        }
        Held { unsent: self, bytes }
    }
}

/// An answer that is counted.
pub struct Held<'a> {
    unsent: &'a Unsent,
    bytes: usize,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Of several that leave at once, exactly the one that crosses the bound tells so.
        let before = self.unsent.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        if before > self.unsent.bytes_max && before - self.bytes <= self.unsent.bytes_max {
            self.unsent.relieved.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_room_goes_on_when_enough_has_left() {
        let unsent = Unsent::new(100);
        let (small, large) = (unsent.hold(60), unsent.hold(41));
        assert!(unsent.is_over());
        unsent.pressed().await;
        let (relieved, ()) = tokio::join!(biased; async { unsent.room().await; unsent.bytes() }, async { drop(large) });
        assert_eq!(relieved, 60);
        drop(small);
        assert_eq!(unsent.bytes(), 0);
    }
}
