//! Who is told what happens to a partition.

use std::sync::Arc;

use super::Partition;
use crate::Offsets;
use crate::error::StorageError;

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

    pub(super) fn tell_offline(&self, reason: &StorageError) {
        if let (Some(slot), Some(this)) = (self.observer.load_full(), self.this.upgrade()) {
            slot.0.went_offline(&this, reason);
        }
    }
}
