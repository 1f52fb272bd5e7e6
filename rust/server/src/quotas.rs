//! How many connections there may be: `max.connections`, `max.connections.per.ip`, `max.connections.per.ip.overrides`; and how
//! many new ones in a second: `max.connection.creation.rate`.
//!
//! As in Kafka: past the first bound nobody is refused; a new connection is served once another has ended, and those behind it
//! wait in the kernel's queue. Past the second a connection is closed at once. One that comes too soon is served later, and
//! holds up those behind it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::limits::Limits;
use crate::rate::Rate;

/// What may be altered while the server runs.
struct Bounds {
    connections_max: usize,
    per_host_max: usize,
    of_host_max: HashMap<IpAddr, usize>,
    /// New ones in a second; none: as many as come.
    rate_max: Option<u32>,
}

impl Bounds {
    fn of(limits: &Limits) -> Self {
        Self {
            connections_max: limits.connections_max,
            per_host_max: limits.connections_per_host_max,
            of_host_max: limits.connections_of_host_max.iter().map(|(host, max)| (host.to_canonical(), *max)).collect(),
            rate_max: limits.connection_rate_max,
        }
    }
}

pub struct Quotas {
    bounds: RwLock<Bounds>,
    created: Mutex<Rate>,
    counts: Mutex<Counts>,
    /// Told once for each connection that ends.
    freed: Notify,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_host: HashMap<IpAddr, usize>,
}

/// A host has all connections it may have: so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany(pub usize);

impl Quotas {
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            bounds: RwLock::new(Bounds::of(limits)),
            created: Mutex::new(Rate::new(limits.rate_windows)),
            counts: Mutex::default(),
            freed: Notify::new(),
        }
    }

    /// Takes other bounds; returns how many connections there are beyond them. Who waits for room looks again; who waits for
    /// its rate waits as long as it was told, as in Kafka.
    pub fn alter(&self, limits: &Limits) -> usize {
        let bounds = Bounds::of(limits);
        let connections_max = bounds.connections_max;
        *self.bounds.write() = bounds;
        self.freed.notify_one();
        self.connections().saturating_sub(connections_max)
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counts.lock().all
    }

    /// Counts a new connection, and returns how long it must wait for its rate to be kept.
    #[must_use]
    pub fn too_soon_by(&self, now_ms: i64) -> Duration {
        let rate_max = self.bounds.read().rate_max;
        rate_max.map_or(Duration::ZERO, |max| self.created.lock().record(now_ms, max))
    }

    /// Counts a connection once there may be one more.
    ///
    /// # Errors
    /// Its host has as many as it may have.
    pub async fn enter(self: &Arc<Self>, host: IpAddr) -> Result<Slot, TooMany> {
        while !self.try_count() {
            self.freed.notified().await;
        }
        let mut slot = Slot { quotas: Arc::clone(self), host: None };
        let host = host.to_canonical();
        let max = {
            let bounds = self.bounds.read();
            bounds.of_host_max.get(&host).copied().unwrap_or(bounds.per_host_max)
        };
        let mut counts = self.counts.lock();
        let count = counts.by_host.entry(host).or_default();
        if *count >= max {
            if *count == 0 {
                counts.by_host.remove(&host);
            }
            drop(counts);
            return Err(TooMany(max));
        }
        *count += 1;
        drop(counts);
        slot.host = Some(host);
        Ok(slot)
    }

    fn try_count(&self) -> bool {
        let connections_max = self.bounds.read().connections_max;
        let mut counts = self.counts.lock();
        let has_room = counts.all < connections_max;
        counts.all += usize::from(has_room);
        if has_room && counts.all < connections_max {
            // Two that ended may have left one sign: whoever comes in and leaves room lets the next one look.
            self.freed.notify_one();
        }
        has_room
    }
}

/// A connection that is counted, until this is dropped.
pub struct Slot {
    quotas: Arc<Quotas>,
    /// None: not counted for its host.
    host: Option<IpAddr>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.quotas.counts.lock();
        counts.all -= 1;
        if let Some(host) = self.host
            && let Some(count) = counts.by_host.get_mut(&host)
        {
            *count -= 1;
            if *count == 0 {
                counts.by_host.remove(&host);
            }
        }
        drop(counts);
        self.quotas.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(limits: Limits) -> Arc<Quotas> {
        Arc::new(Quotas::new(&limits))
    }

    #[tokio::test]
    async fn a_host_gets_no_more_than_its_share_and_what_it_gives_back() {
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let overrides = [(b, 0)].into();
        let quotas =
            quotas(Limits { connections_per_host_max: 2, connections_of_host_max: overrides, ..Limits::default() });
        let first = quotas.enter(a).await.unwrap();
        let _second = quotas.enter(mapped).await.unwrap();
        assert_eq!(quotas.enter(a).await.err(), Some(TooMany(2)));
        assert_eq!(quotas.enter(b).await.err(), Some(TooMany(0)));
        drop(first);
        let _third = quotas.enter(a).await.unwrap();
        assert_eq!(quotas.counts.lock().all, 2);
        assert_eq!(quotas.counts.lock().by_host.len(), 1);
    }

    /// Two wait, each for its listener; both come in with a bound that lets them.
    #[tokio::test]
    async fn who_waits_comes_in_by_another_bound() {
        let host: IpAddr = "10.0.0.1".parse().unwrap();
        let limits = Limits { connections_max: 1, ..Limits::default() };
        let quotas = quotas(limits.clone());
        let _first = quotas.enter(host).await.unwrap();
        let (second, third, _) = tokio::join!(biased; quotas.enter(host), quotas.enter(host), async { quotas.alter(&Limits { connections_max: 3, ..limits.clone() }) });
        let _both = (second.unwrap(), third.unwrap());
        assert_eq!(quotas.alter(&limits), 2);
    }

    #[tokio::test]
    async fn the_next_comes_in_when_one_has_gone() {
        let host: IpAddr = "10.0.0.1".parse().unwrap();
        let quotas = quotas(Limits { connections_max: 1, ..Limits::default() });
        let first = quotas.enter(host).await.unwrap();
        let mut next = Box::pin(quotas.enter(host));
        tokio::select! {
            biased;
            _ = &mut next => panic!("there was no room"),
            () = std::future::ready(()) => {}
        }
        drop(first);
        next.await.unwrap();
    }
}
