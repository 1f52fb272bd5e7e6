//! Work under the lock that waits for the disk: others see it coming. And what the observer is told once the lock is free.

use std::sync::atomic::Ordering;

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
        struct Slow<'p>(&'p Partition);
        impl Drop for Slow<'_> {
            fn drop(&mut self) {
                if self.0.slow.fetch_sub(1, Ordering::AcqRel) == 1 {
                    self.0.tell_slowness(false);
                }
            }
        }
        if self.slow.fetch_add(1, Ordering::AcqRel) == 0 {
            self.tell_slowness(true);
        }
        let _slow = Slow(self);
        self.host.aside(work)
    }

    fn tell_slowness(&self, is_slow: bool) {
        if let Some(slot) = self.observer.load_full() {
            slot.0.slowness_changed(is_slow);
        }
    }

    /// Tells the observer, if something else can be read than `before`, or more is on the disk. The lock must not be held.
    pub(super) fn notify(&self, before: Offsets, after: Offsets) {
        let advanced = (before.high_watermark, before.last_stable) != (after.high_watermark, after.last_stable);
        let moved = before.log_start != after.log_start;
        let durable = before.durable != after.durable;
        if !advanced && !moved && !durable {
            return;
        }
        if let (Some(slot), Some(this)) = (self.observer.load_full(), self.this.upgrade()) {
            if durable {
                slot.0.durable_advanced(&this);
            }
            if advanced {
                slot.0.readable_advanced(&this, after);
            }
            if moved {
                slot.0.start_moved(&this, after);
            }
        }
    }
}
