//! Work under the lock that waits for the disk: others see it coming. And what the observer is told once the lock is free.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Partition;
use crate::Offsets;

impl Partition {
    /// Somebody holds the lock while waiting for the disk (a new segment, a new epoch): whoever asks for anything waits with them.
    pub fn is_slow(&self) -> bool {
        self.slow.load(Ordering::Acquire) > 0
    }

    /// Returns once nobody does.
    pub fn wait_until_quick(&self) {
        while self.is_slow() {
            drop(self.state.read());
        }
    }

    /// Work that waits for the disk, under the lock.
    pub(super) fn slowly<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Slow<'p>(&'p AtomicUsize);
        impl Drop for Slow<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::AcqRel);
            }
        }
        self.slow.fetch_add(1, Ordering::AcqRel);
        let _slow = Slow(&self.slow);
        self.host.aside(work)
    }

    /// Tells the observer, if something else can be read than `before`. The lock must not be held.
    pub(super) fn notify(&self, before: Offsets, after: Offsets) {
        let advanced = (before.high_watermark, before.last_stable) != (after.high_watermark, after.last_stable);
        let moved = before.log_start != after.log_start;
        if !advanced && !moved {
            return;
        }
        if let (Some(slot), Some(this)) = (self.observer.load_full(), self.this.upgrade()) {
            if advanced {
                slot.0.readable_advanced(&this, after);
            }
            if moved {
                slot.0.start_moved(&this, after);
            }
        }
    }
}
