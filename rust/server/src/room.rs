//! How much may wait for the control plane at once: `queued.max.requests` and `queued.max.request.bytes`.
//!
//! Theory of operation. Whatever goes up takes a [`Ticket`] first and carries it until the control plane picks it up, as
//! a request in Kafka holds its place in the `RequestChannel` until a handler takes it, and its memory until it is
//! parsed. When there is no room the request waits in its connection, which is not read from meanwhile, and whose end
//! takes the request with it. Places are given in the order in which they were asked for. What was picked up no longer
//! counts: a JoinGroup that waits for other members keeps none of them out.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::memory::Lease;

pub struct Room {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    bytes_max: u32,
}

/// A place in the queue; dropping it lets the next one in.
pub struct Ticket {
    _request: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
    /// Memory of the request itself.
    _lease: Option<Lease>,
}

impl Ticket {
    /// The memory of what waits is given back with its place.
    #[must_use]
    pub fn with(self, lease: Option<Lease>) -> Self {
        Self { _lease: lease, ..self }
    }
}

impl Room {
    #[must_use]
    pub fn new(requests_max: usize, bytes_max: usize) -> Self {
        let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX).max(1);
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        Self { requests: semaphore(requests_max), bytes: semaphore(bytes_max as usize), bytes_max }
    }

    /// What a request of that size takes: one larger than everything there is goes alone, as in Kafka's memory pool.
    fn share(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max)
    }

    /// A place, if there is one at once.
    #[must_use]
    pub fn try_enter(&self, bytes: usize) -> Option<Ticket> {
        let request = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(self.share(bytes)).ok()?;
        Some(Ticket { _request: request, _bytes: bytes, _lease: None })
    }

    /// A place, once there is one.
    ///
    /// # Errors
    /// The data plane is being taken down.
    pub async fn enter(&self, bytes: usize) -> Result<Ticket, String> {
        let closed = |_| "the broker is stopping".to_owned();
        let request = Arc::clone(&self.requests).acquire_owned().await.map_err(closed)?;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(self.share(bytes)).await.map_err(closed)?;
        Ok(Ticket { _request: request, _bytes: bytes, _lease: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both bounds hold, and a ticket that goes makes room again.
    #[test]
    fn requests_and_bytes_are_bounded() {
        let room = Room::new(3, 100);
        let first = room.try_enter(60).unwrap();
        assert!(room.try_enter(41).is_none(), "too many bytes");
        let _second = room.try_enter(40).unwrap();
        let _third = room.try_enter(0).unwrap();
        assert!(room.try_enter(0).is_none(), "too many requests");
        drop(first);
        assert!(room.try_enter(60).is_some());
    }

    /// A request above the bound is not refused for ever: it goes when nothing else waits.
    #[tokio::test]
    async fn a_request_larger_than_the_room_goes_alone() {
        let room = Room::new(3, 100);
        let small = room.try_enter(1).unwrap();
        assert!(room.try_enter(1000).is_none());
        drop(small);
        let _large = room.enter(1000).await.unwrap();
        assert!(room.try_enter(1).is_none());
    }
}
