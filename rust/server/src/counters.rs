//! Counts of what happened, for `status()`.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add_one(&self) {
        self.add(1);
    }

    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The data plane's counters.
#[derive(Debug, Default)]
pub struct Counters {
    pub connections_accepted: Counter,
    /// Connections closed because nobody used them.
    pub connections_idle: Counter,
    /// Connections closed because they held memory that others waited for.
    pub connections_stalled: Counter,
    /// Connections closed at once because their host had as many as it may have.
    pub connections_refused: Counter,
    /// Connections served later because of `max.connection.creation.rate`.
    pub connections_delayed: Counter,
    pub requests: Counter,
    /// Connections closed because the peer broke the protocol.
    pub violations: Counter,
    pub produced_bytes: Counter,
    pub fetched_bytes: Counter,
    /// Batches refused by validation.
    pub refused_batches: Counter,
}
