//! How much memory requests may hold together: `queued.max.request.bytes`. Produce has its own part of it: a control plane that
//! picks nothing up must not keep records out.
//!
//! Theory of operation. A request that is larger than the first read of its connection takes a [`Lease`], which grows
//! with what has arrived of it, and which it keeps until it needs its bytes no more: a Produce until it is appended, what
//! goes up until the control plane has picked it up. A length alone gets no memory to speak of. When there is none left,
//! who wants more waits in the order of coming, and is not read from meanwhile.
//!
//! Could those who wait and hold some wait for each other? Whoever is not in the queue goes on and gives back, in the end
//! or when it is found stalled (`activity.rs`). If all are in the queue, one goes on: the first that holds anything gets what
//! completes its request, beyond the bound. There is one such request at a time, so that the whole never exceeds the bound
//! by more than `socket.request.max.bytes` (Kafka's pool exceeds its own in the same way).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::control::Peer;

/// Whose memory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Produce,
    /// Requests that are answered by the control plane, or without records.
    Other,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Produce, Self::Other];
}

pub struct Memory {
    kind: Kind,
    bytes_max: usize,
    state: Mutex<State>,
    /// Told when somebody begins to wait.
    pressed: Notify,
}

#[derive(Default)]
struct State {
    used: usize,
    /// Whether one lease goes beyond the bound.
    is_overdrawn: bool,
    queue: VecDeque<Arc<Waiter>>,
    /// How many in the queue hold some already.
    holders_waiting: usize,
}

impl State {
    fn left(&mut self, waiter: &Waiter) {
        self.holders_waiting -= usize::from(waiter.holds_some);
    }
}

/// A lease that waits for more. What it is granted is written under the lock of the state.
struct Waiter {
    holds_some: bool,
    step: usize,
    /// From what it holds to the whole request.
    rest: usize,
    granted: AtomicUsize,
    is_overdraft: AtomicBool,
    notify: Notify,
}

impl Waiter {
    /// It is out of the queue.
    fn grant(&self, state: &mut State, bytes: usize, is_overdraft: bool) {
        state.left(self);
        state.used += bytes;
        state.is_overdrawn |= is_overdraft;
        self.is_overdraft.store(is_overdraft, Ordering::Relaxed);
        self.granted.store(bytes, Ordering::Release);
        self.notify.notify_one();
    }
}

impl Memory {
    #[must_use]
    pub fn new(kind: Kind, bytes_max: usize) -> Self {
        Self { kind, bytes_max, state: Mutex::default(), pressed: Notify::new() }
    }

    /// Bytes that requests hold now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.state.lock().used
    }

    /// How many requests wait for more.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.lock().queue.len()
    }

    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.waiting() > 0
    }

    /// Returns when somebody has begun to wait since the last call.
    pub async fn pressed(&self) {
        self.pressed.notified().await;
    }

    #[must_use]
    pub fn lease(self: &Arc<Self>, peer: &Arc<Peer>) -> Lease {
        peer.activity.leases(self.kind).fetch_add(1, Ordering::Relaxed);
        Lease { memory: Arc::clone(self), peer: Arc::clone(peer), bytes: 0, is_overdraft: false, waiter: None }
    }

    /// What is larger than everything there is goes when nothing else does.
    fn fits(&self, state: &State, bytes: usize) -> bool {
        state.used == 0 || state.used + bytes <= self.bytes_max
    }

    /// Gives those who wait what there is.
    fn serve(&self, state: &mut State) {
        while let Some(first) = state.queue.pop_front() {
            if !self.fits(state, first.step) {
                state.queue.push_front(first);
                break;
            }
            let bytes = first.step;
            first.grant(state, bytes, false);
        }
        if !state.is_overdrawn
            && state.holders_waiting > 0
            && let Some(place) = state.queue.iter().position(|waiter| waiter.holds_some)
            && let Some(waiter) = state.queue.remove(place)
        {
            let bytes = waiter.rest;
            waiter.grant(state, bytes, true);
        }
    }
}

/// Memory of one request; dropping it gives it back.
pub struct Lease {
    memory: Arc<Memory>,
    peer: Arc<Peer>,
    bytes: usize,
    is_overdraft: bool,
    /// Its place in the queue, kept while the connection sees to other things.
    waiter: Option<Arc<Waiter>>,
}

impl Lease {
    /// Takes memory for `to` bytes of a request that has `whole`, if it is there at once.
    pub fn try_grow(&mut self, to: usize, whole: usize) -> bool {
        if self.bytes >= to {
            return true;
        }
        if self.waiter.is_some() {
            return self.take_granted() && self.try_grow(to, whole);
        }
        let step = to - self.bytes;
        let mut state = self.memory.state.lock();
        if state.queue.is_empty() && self.memory.fits(&state, step) {
            state.used += step;
            self.bytes = to;
            return true;
        }
        let waiter = Arc::new(Waiter {
            holds_some: self.bytes > 0,
            step,
            rest: whole - self.bytes,
            granted: AtomicUsize::new(0),
            is_overdraft: AtomicBool::new(false),
            notify: Notify::new(),
        });
        state.holders_waiting += usize::from(waiter.holds_some);
        state.queue.push_back(Arc::clone(&waiter));
        self.memory.serve(&mut state);
        drop(state);
        self.waiter = Some(waiter);
        self.memory.pressed.notify_one();
        self.take_granted()
    }

    /// The same, once it is there. Cancel safe: the place in the queue is kept.
    pub async fn grow(&mut self, to: usize, whole: usize) {
        while !self.try_grow(to, whole) {
            if let Some(waiter) = &self.waiter {
                waiter.notify.notified().await;
            }
        }
    }

    fn take_granted(&mut self) -> bool {
        let Some(waiter) = &self.waiter else { return true };
        let granted = waiter.granted.load(Ordering::Acquire);
        if granted == 0 {
            return false;
        }
        self.bytes += granted;
        self.is_overdraft |= waiter.is_overdraft.load(Ordering::Relaxed);
        self.waiter = None;
        true
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let memory = Arc::clone(&self.memory);
        let mut state = memory.state.lock();
        if !self.take_granted()
            && let Some(waiter) = &self.waiter
        {
            state.queue.retain(|queued| !Arc::ptr_eq(queued, waiter));
            state.left(waiter);
        }
        self.peer.activity.leases(memory.kind).fetch_sub(1, Ordering::Relaxed);
        state.used -= self.bytes;
        if self.is_overdraft {
            state.is_overdrawn = false;
        }
        memory.serve(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(bytes_max: usize) -> Arc<Memory> {
        Arc::new(Memory::new(Kind::Produce, bytes_max))
    }

    fn lease(memory: &Arc<Memory>) -> Lease {
        memory.lease(&Arc::new(Peer::new(1, [127, 0, 0, 1].into(), "PLAINTEXT".into())))
    }

    fn taken(memory: &Arc<Memory>, bytes: usize) -> Lease {
        let mut lease = lease(memory);
        assert!(lease.try_grow(bytes, bytes));
        lease
    }

    #[test]
    fn the_bound_holds_and_what_is_given_back_goes_to_the_next_in_order() {
        let memory = new(100);
        let first = taken(&memory, 60);
        let (mut large, mut small) = (lease(&memory), lease(&memory));
        assert!(!large.try_grow(50, 50));
        assert!(!small.try_grow(10, 10), "it would fit, but the large one came first");
        assert!(memory.is_waited_for());
        drop(first);
        assert!(small.try_grow(10, 10) && large.try_grow(50, 50));
        assert_eq!(memory.used(), 60);
        drop((large, small));
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn one_that_is_larger_than_everything_goes_alone() {
        let memory = new(100);
        let small = taken(&memory, 1);
        let mut large = lease(&memory);
        assert!(!large.try_grow(1000, 1000));
        drop(small);
        assert!(large.try_grow(1000, 1000));
        assert!(!lease(&memory).try_grow(1, 1));
    }

    /// Those who have something and want more do not wait for each other: one gets its whole, then the next.
    #[test]
    fn requests_in_pieces_do_not_wait_for_each_other() {
        let memory = new(100);
        let mut pieces: Vec<Lease> = (0..10).map(|_| taken(&memory, 10)).collect();
        let done: Vec<bool> = pieces.iter_mut().map(|lease| lease.try_grow(20, 80)).collect();
        assert_eq!(done.iter().filter(|done| **done).count(), 1);
        let mut most = 0;
        while !pieces.is_empty() {
            most = most.max(memory.used());
            let place = pieces
                .iter_mut()
                .position(|lease| lease.try_grow(80, 80))
                .unwrap_or_else(|| panic!("{} requests wait for each other", pieces.len()));
            drop(pieces.remove(place));
        }
        assert!(most <= 100 + 80, "{most}");
        assert_eq!(memory.used(), 0);
    }

    /// One who leaves the queue leaves nothing behind, whether it was served meanwhile or not.
    #[test]
    fn who_stops_waiting_gives_back_what_it_was_granted() {
        let memory = new(100);
        let first = taken(&memory, 100);
        let (mut second, mut third) = (lease(&memory), lease(&memory));
        assert!(!second.try_grow(100, 100) && !third.try_grow(100, 100));
        drop(second);
        drop(first);
        assert_eq!(memory.used(), 100, "the third has been granted its share");
        drop(third);
        assert_eq!(memory.used(), 0);
        assert!(!memory.is_waited_for());
    }

    #[tokio::test]
    async fn a_place_in_the_queue_is_kept_by_one_that_sees_to_other_things() {
        let memory = new(100);
        let first = taken(&memory, 100);
        let (mut second, mut third) = (lease(&memory), lease(&memory));
        tokio::select! {
            biased;
            () = second.grow(100, 100) => panic!("there is no memory"),
            () = std::future::ready(()) => {}
        }
        assert!(!third.try_grow(100, 100));
        drop(first);
        second.grow(100, 100).await;
        assert!(!third.try_grow(100, 100));
    }
}
