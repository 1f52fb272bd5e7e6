//! How partitions tell a session that they moved.
//!
//! A session's fetch looks only at partitions that may have news. Each partition that was looked at and had none keeps a [`Mark`] of the
//! session; whatever moves the partition (an append, a marker, retention, a new leader epoch, its end) sets it. A set mark is in the
//! session's list, once however often the partition moves, until the session takes the list.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::waiting::{Waiters, Wakeup};

/// The partitions of one session that have moved.
#[derive(Default)]
pub struct Marks {
    moved: Mutex<Vec<u32>>,
    wakeup: Wakeup,
}

impl Marks {
    /// Waits until some partition has moved since the last call returned.
    pub async fn woken(&self) {
        self.wakeup.woken().await;
    }

    /// Takes the list. The mark of each must be reset before its partition is looked at.
    pub(super) fn take(&self) -> Vec<u32> {
        std::mem::take(&mut *self.moved.lock())
    }
}

/// One partition of a session, as the partition knows it.
pub struct Mark {
    marks: Arc<Marks>,
    /// Which one of the session's.
    slot: u32,
    is_set: AtomicBool,
}

impl Mark {
    /// The partition has moved.
    pub fn set(&self) {
        // Who resets it looks at the partition after that: a move in between is seen, whoever comes first.
        if !self.is_set.swap(true, Ordering::AcqRel) {
            self.marks.moved.lock().push(self.slot);
            self.marks.wakeup.wake();
        }
    }
}

/// Keeps a mark with its partition; dropping it takes it away.
pub(super) struct Watch {
    waiters: Arc<Waiters>,
    mark: Arc<Mark>,
}

impl Watch {
    pub fn begin(waiters: &Arc<Waiters>, marks: &Arc<Marks>, slot: u32) -> Self {
        let mark = Arc::new(Mark { marks: Arc::clone(marks), slot, is_set: AtomicBool::new(false) });
        waiters.add_mark(&mark);
        Self { waiters: Arc::clone(waiters), mark }
    }

    pub fn is_of(&self, waiters: &Arc<Waiters>) -> bool {
        Arc::ptr_eq(&self.waiters, waiters)
    }

    pub fn reset(&self) {
        self.mark.is_set.swap(false, Ordering::AcqRel);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.waiters.remove_mark(&self.mark);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Wake};

    use super::*;

    /// When a Produce is told that its records are committed the session knows already: its next fetch may come before anything else is done.
    #[test]
    fn before_anybody_else() {
        struct Look(Arc<Marks>, Mutex<Vec<Vec<u32>>>);
        impl Wake for Look {
            fn wake(self: Arc<Self>) {
                self.1.lock().push(self.0.moved.lock().clone());
            }
        }
        let (waiters, marks) = (Arc::new(Waiters::default()), Arc::new(Marks::default()));
        let watch = Watch::begin(&waiters, &marks, 7);
        let look = Arc::new(Look(Arc::clone(&marks), Mutex::default()));
        let moves: [fn(&Waiters); 3] = [|all| all.advanced_to(1), Waiters::wake_all, Waiters::start_moved];
        for moves in moves {
            let wakeup = Arc::new(Wakeup::default());
            let _registered = waiters.register(1, &wakeup);
            let mut told = pin!(wakeup.woken());
            assert!(told.as_mut().poll(&mut Context::from_waker(&Arc::clone(&look).into())).is_pending());
            moves(&waiters);
            marks.take();
            watch.reset();
        }
        assert_eq!(*look.1.lock(), [[7], [7], [7]]);
    }

    /// However often a partition moves it is in the list once, and again once its mark was reset.
    #[tokio::test]
    async fn once_until_taken() {
        let (waiters, marks) = (Arc::new(Waiters::default()), Arc::new(Marks::default()));
        let watch = Watch::begin(&waiters, &marks, 7);
        waiters.advanced_to(1);
        waiters.wake_all();
        waiters.start_moved();
        marks.woken().await;
        assert_eq!(marks.take(), [7]);
        waiters.advanced_to(2);
        assert!(marks.take().is_empty(), "it was not reset");
        watch.reset();
        waiters.advanced_to(3);
        assert_eq!(marks.take(), [7]);
        watch.reset();
        drop(watch);
        waiters.advanced_to(4);
        assert!(marks.take().is_empty(), "it was taken away");
    }
}
