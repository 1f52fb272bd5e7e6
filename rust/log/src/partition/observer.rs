//! Who is told what happens to a partition.

use std::sync::Arc;

use super::Partition;
use crate::error::StorageError;
use crate::{Offset, Offsets};

/// Told what happened to a partition. Called without any lock of the partition held, but where it says otherwise; must not block.
pub trait PartitionObserver: Send + Sync {
    /// More may be read: the high watermark or the last stable offset moved.
    fn readable_advanced(&self, partition: &Arc<Partition>, offsets: Offsets);
    /// More is on the disk. Told before those who may read it are.
    fn durable_advanced(&self, _partition: &Arc<Partition>) {}
    /// The log begins elsewhere: retention, DeleteRecords.
    fn start_moved(&self, _partition: &Arc<Partition>, _offsets: Offsets) {}
    /// Somebody begins to wait for the disk with the partition in hand, or has ended ([`Partition::is_slow`]). This alone may be called with
    /// the lock held.
    fn slowness_changed(&self, _is_slow: bool) {}
    /// What lies below is about to lose its files. Called with the lock held.
    fn start_moves(&self, _log_start: Offset) {}
    /// Files of what lies below are about to be replaced (compaction); [`PartitionObserver::rewritten`] once they are, unless that failed.
    fn rewriting(&self, _until: Offset) {}
    fn rewritten(&self) {}
    /// The disk failed; every later operation fails with [`StorageError::Offline`].
    fn went_offline(&self, partition: &Arc<Partition>, reason: &StorageError);
}

/// `ArcSwapOption` holds sized values only.
pub(super) struct ObserverSlot(pub Arc<dyn PartitionObserver>);

impl Partition {
    /// One observer per partition; the last one set counts.
    pub fn set_observer(&self, observer: Arc<dyn PartitionObserver>) {
        self.observer.store(Some(Arc::new(ObserverSlot(observer))));
    }

    pub(super) fn tell(&self, what: impl FnOnce(&dyn PartitionObserver)) {
        if let Some(slot) = self.observer.load_full() {
            what(slot.0.as_ref());
        }
    }

    pub(super) fn tell_offline(&self, reason: &StorageError) {
        if let (Some(slot), Some(this)) = (self.observer.load_full(), self.this.upgrade()) {
            slot.0.went_offline(&this, reason);
        }
    }
}
