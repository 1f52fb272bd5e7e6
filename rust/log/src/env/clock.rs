//! Time from outside. Deadlines are on the monotonic scale; records and retention use the wall.
//!
//! A thread that waits for a deadline asks [`Clock::real_time_until`]: a real clock says how long to sleep, a virtual one says None,
//! which means "wait until somebody wakes you", and wakes through [`Clock::on_turn`] when a test turns it.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// Called after a virtual clock was turned. Must not block and must not turn the clock.
pub type TurnListener = Box<dyn Fn() + Send + Sync>;

pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall clock, milliseconds since 1970 UTC.
    fn now_ms(&self) -> i64;
    /// Never goes back; its zero means nothing.
    fn monotonic_ms(&self) -> i64;
    /// The same scale, as fine as the clock is: for measuring, not for deadlines.
    fn monotonic_us(&self) -> i64 {
        self.monotonic_ms().saturating_mul(1000)
    }
    /// How long a thread should really sleep for a deadline on the monotonic scale; None: only a turn will bring it.
    fn real_time_until(&self, deadline_ms: i64) -> Option<Duration>;
    /// Registers a listener for turns. A real clock never calls it.
    fn on_turn(&self, listener: TurnListener);
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    pub fn new() -> SystemClock {
        SystemClock { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn monotonic_us(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    fn real_time_until(&self, deadline_ms: i64) -> Option<Duration> {
        let wait_ms = deadline_ms.saturating_sub(self.monotonic_ms()).max(0);
        Some(Duration::from_millis(wait_ms.unsigned_abs()))
    }

    fn on_turn(&self, _listener: TurnListener) {}
}

/// A clock that stands still until [`VirtualClock::turn`].
pub struct VirtualClock {
    wall_ms: AtomicI64,
    monotonic_ms: AtomicI64,
    listeners: Mutex<Vec<TurnListener>>,
}

impl VirtualClock {
    pub fn new(wall_ms: i64) -> VirtualClock {
        VirtualClock {
            wall_ms: AtomicI64::new(wall_ms),
            monotonic_ms: AtomicI64::new(0),
            listeners: Mutex::new(Vec::new()),
        }
    }

    /// Moves both scales forward and wakes every listener.
    pub fn turn(&self, by_ms: i64) {
        let by_ms = by_ms.max(0);
        self.wall_ms.fetch_add(by_ms, Ordering::SeqCst);
        self.monotonic_ms.fetch_add(by_ms, Ordering::SeqCst);
        for listener in self.listeners.lock().iter() {
            listener();
        }
    }
}

impl fmt::Debug for VirtualClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "VirtualClock({} ms)", self.now_ms())
    }
}

impl Clock for VirtualClock {
    fn now_ms(&self) -> i64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn monotonic_ms(&self) -> i64 {
        self.monotonic_ms.load(Ordering::SeqCst)
    }

    fn real_time_until(&self, _deadline_ms: i64) -> Option<Duration> {
        None
    }

    fn on_turn(&self, listener: TurnListener) {
        self.listeners.lock().push(listener);
    }
}
