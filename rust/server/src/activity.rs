//! What each connection is doing, and the end of those that do nothing (`connections.max.idle.ms`) or hold memory that
//! others need.
//!
//! Theory of operation. A connection's task notes what it does in its [`Activity`]; one task of the server ([`watch`]) looks at
//! all of them when the first could be due, and tells those that are to end. What is due:
//!
//! | the connection | ends |
//! |---|---|
//! | moved no byte, and waits for its client: for a request, for the rest of one, for an answer to be taken | after `connections.max.idle.ms` |
//! | holds memory of requests, and gets nothing more of one or takes nothing of an answer, while others wait for that memory | after [`STALL`] |
//! | has moved no byte for longer than all others, and `max.connections` was made less than there are | at once |
//! | sends an answer of which nothing is taken, while unsent answers have more memory than they may | after [`STALL`] |
//!
//! One whose request is in work is not idle, however long that takes (Kafka ends it too: its selector sees no event of a
//! connection that it does not read from). Peers that vanish meanwhile are found by TCP's keep-alive, as in Kafka.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::control::Peer;
use crate::memory::Kind;
use crate::plane::Plane;

/// How long a connection may hold memory that others wait for without moving a byte.
pub const STALL: Duration = Duration::from_secs(5);
/// All connections are looked at no more often than this, nor than a hundredth of the idle time.
const LOOKS_APART_MAX: Duration = Duration::from_secs(1);

/// A request is being answered: what is waited for is ours to do.
const IN_WORK: u8 = 1;
/// Waits for room that others take.
const CROWDED: u8 = 2;
/// Waits for the rest of a request that has memory.
const RECEIVING: u8 = 4;
/// Holds an answer that the socket does not take.
const SENDING: u8 = 8;

/// Why a connection is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Idle,
    RequestStalled,
    AnswerStalled,
    OneTooMany,
}

/// Written by the task of one connection, read by [`watch`].
#[derive(Debug, Default)]
pub struct Activity {
    flags: AtomicU8,
    /// When a byte was moved last, in the engine's monotonic milliseconds.
    moved_ms: AtomicI64,
    /// How many of its requests have memory of either kind.
    leases: [AtomicU32; 2],
    /// There may not be so many connections any more.
    is_one_too_many: AtomicBool,
    due: Notify,
}

impl Activity {
    /// Only the connection's own task writes, so that no update is lost.
    fn put(&self, flag: u8, is_set: bool) {
        let flags = self.flags.load(Ordering::Relaxed);
        self.flags.store(if is_set { flags | flag } else { flags & !flag }, Ordering::Relaxed);
    }

    pub fn moved(&self, now_ms: i64) {
        self.moved_ms.store(now_ms, Ordering::Relaxed);
    }

    pub fn in_work(&self, is_set: bool) {
        self.put(IN_WORK, is_set);
    }

    pub fn crowded(&self, is_set: bool) {
        self.put(CROWDED, is_set);
    }

    /// From here on nothing of a large request comes.
    pub fn begins_to_receive(&self, now_ms: i64) {
        if self.flags.load(Ordering::Relaxed) & RECEIVING == 0 {
            self.moved(now_ms);
            self.put(RECEIVING, true);
        }
    }

    pub fn does_not_receive(&self) {
        self.put(RECEIVING, false);
    }

    pub fn sending(&self, is_set: bool) {
        self.put(SENDING, is_set);
    }

    pub(crate) fn leases(&self, kind: Kind) -> &AtomicU32 {
        &self.leases[kind as usize]
    }

    /// Returns when [`watch`] found this connection due; who is told asks [`Rules::due`] again.
    pub async fn ended(&self) {
        self.due.notified().await;
    }
}

/// What is due now.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub now_ms: i64,
    /// None: idle connections stay.
    pub idle_max: Option<Duration>,
    /// Others wait for memory to receive requests of either kind.
    pub requests_wait: [bool; 2],
    /// Unsent answers have more memory than they may.
    pub answers_exceed: bool,
}

impl Rules {
    #[must_use]
    pub fn of(plane: &Plane) -> Self {
        Self {
            now_ms: plane.now_ms(),
            idle_max: plane.limits.idle_max,
            requests_wait: Kind::ALL.map(|kind| plane.memory(kind).is_waited_for()),
            answers_exceed: plane.unsent.is_over(),
        }
    }

    /// Whether there are others to be thought of.
    fn is_pressed(&self) -> bool {
        self.answers_exceed || self.requests_wait.contains(&true)
    }

    /// Whether a connection is due, and if not, in how long it could be.
    fn judge(&self, activity: &Activity) -> Result<Due, Option<Duration>> {
        if activity.is_one_too_many.load(Ordering::Relaxed) {
            return Ok(Due::OneTooMany);
        }
        let flags = activity.flags.load(Ordering::Relaxed);
        let has = |flag| flags & flag != 0;
        let still = self.now_ms.saturating_sub(activity.moved_ms.load(Ordering::Relaxed));
        let still = Duration::from_millis(u64::try_from(still).unwrap_or(0));
        let is_ours = (has(CROWDED) || has(IN_WORK)) && !has(SENDING);
        let holds_needed = || {
            let needed = |kind| self.requests_wait[kind as usize] && activity.leases(kind).load(Ordering::Relaxed) > 0;
            Kind::ALL.into_iter().any(needed)
        };
        let bounds = [
            (Due::RequestStalled, Some(STALL).filter(|_| (has(RECEIVING) || has(SENDING)) && holds_needed())),
            (Due::AnswerStalled, Some(STALL).filter(|_| self.answers_exceed && has(SENDING))),
            (Due::Idle, self.idle_max.filter(|_| !is_ours)),
        ];
        let left = |max: Duration| max.saturating_sub(still);
        match bounds.into_iter().find(|(_, max)| max.is_some_and(|max| left(max).is_zero())) {
            Some((due, _)) => Ok(due),
            None => Err(bounds.into_iter().filter_map(|(_, max)| max.map(left)).min()),
        }
    }

    #[must_use]
    pub fn due(&self, activity: &Activity) -> Option<Due> {
        self.judge(activity).ok()
    }
}

/// Every connection there is.
#[derive(Default)]
pub struct Connections {
    peers: Mutex<HashMap<u64, Arc<Peer>>>,
}

impl Connections {
    /// Notes a connection that begins now.
    pub fn add(&self, peer: &Arc<Peer>, now_ms: i64) {
        peer.activity.moved(now_ms);
        self.peers.lock().insert(peer.connection_id, Arc::clone(peer));
    }

    pub fn remove(&self, peer: &Peer) {
        self.peers.lock().remove(&peer.connection_id);
    }

    /// Ends so many, those that have been still for longest, as Kafka does.
    pub fn end_stillest(&self, count: usize) {
        if count == 0 {
            return;
        }
        let peers: Vec<_> = self.peers.lock().values().map(Arc::clone).collect();
        // Those that were told before may still be there.
        let (told, mut others): (Vec<_>, Vec<_>) =
            peers.into_iter().partition(|peer| peer.activity.is_one_too_many.load(Ordering::Relaxed));
        others.sort_unstable_by_key(|peer| (peer.activity.moved_ms.load(Ordering::Relaxed), peer.connection_id));
        for peer in others.iter().take(count.saturating_sub(told.len())) {
            peer.activity.is_one_too_many.store(true, Ordering::Relaxed);
            peer.activity.due.notify_one();
        }
    }

    /// Tells those that are due, and returns in how long the next can be.
    fn tell_due(&self, rules: &Rules) -> Option<Duration> {
        // One that holds what others wait for may come to a halt from now on.
        let stall = Some(STALL).filter(|_| rules.is_pressed());
        let mut next = rules.idle_max.into_iter().chain(stall).min();
        for peer in self.peers.lock().values() {
            match rules.judge(&peer.activity) {
                Ok(_) => peer.activity.due.notify_one(),
                Err(left) => next = left.into_iter().chain(next).min(),
            }
        }
        next
    }
}

/// Looks for connections that are due until the server stops.
pub async fn watch(plane: Arc<Plane>, mut stop: watch::Receiver<bool>) {
    let apart = plane.limits.idle_max.map_or(LOOKS_APART_MAX, |idle_max| LOOKS_APART_MAX.min(idle_max / 100));
    let apart = apart.max(Duration::from_millis(1));
    while !*stop.borrow() {
        let rules = Rules::of(&plane);
        let next = plane.connections.tell_due(&rules);
        let is_newly_pressed = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = passed(&plane, next.map(|next| next.max(apart))) => false,
            () = pressed(&plane), if !rules.is_pressed() => true,
        };
        if is_newly_pressed {
            // However often that is: all connections are looked at now and then, not with every request.
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = passed(&plane, Some(apart)) => {}
            }
        }
    }
}

async fn passed(plane: &Plane, delay: Option<Duration>) {
    match delay {
        Some(delay) => plane.deadlines.own_after(delay).passed().await,
        None => std::future::pending().await,
    }
}

async fn pressed(plane: &Plane) {
    tokio::select! {
        () = plane.memory(Kind::Produce).pressed() => {}
        () = plane.memory(Kind::Other).pressed() => {}
        () = plane.unsent.pressed() => {}
    }
}
