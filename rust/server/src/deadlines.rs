//! The one deadline queue of the native side.
//!
//! Every protocol deadline (a parked fetch, an acknowledgement that may time out) is an entry here, on the engine's
//! clock, and not a tokio timer: a test with a virtual clock turns the clock and sees exactly the entries fire that are
//! due. One thread sleeps until the earliest entry; a virtual clock wakes it when it is turned.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ottla_log::env::Env;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// Orders entries by moment (monotonic milliseconds), then by arrival, so that each key is unique.
type Key = (i64, u64);

/// What the queue's thread and the waiters share.
struct Shared {
    env: Env,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    entries: BTreeMap<Key, Entry>,
    next_sequence: u64,
    stopped: bool,
}

struct Entry {
    notify: Arc<Notify>,
    /// Not one of the broker's own.
    is_of_request: bool,
}

/// Handle to the queue; dropping it ends its thread and fires what is left, so that no waiter hangs.
pub struct Deadlines {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Deadlines {
    /// Starts the queue's thread.
    ///
    /// # Errors
    /// The operating system refused a thread.
    pub fn start(env: Env) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            env,
            state: Mutex::new(State { entries: BTreeMap::new(), next_sequence: 0, stopped: false }),
            changed: Condvar::new(),
        });
        let turned = Arc::downgrade(&shared);
        shared.env.clock().on_turn(Box::new(move || {
            if let Some(shared) = turned.upgrade() {
                // The lock is taken so that a turn between the thread's look at the clock and its wait is not missed.
                drop(shared.state.lock());
                shared.changed.notify_all();
            }
        }));
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("ottla-deadlines".to_owned())
            .spawn(move || fire_until_stopped(&worker))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// An entry `delay` from now; it leaves the queue when the returned guard is dropped.
    #[must_use]
    pub fn after(&self, delay: Duration) -> Deadline {
        self.enter(delay, true)
    }

    /// The same for what the broker does by itself.
    #[must_use]
    pub fn own_after(&self, delay: Duration) -> Deadline {
        self.enter(delay, false)
    }

    fn enter(&self, delay: Duration, is_of_request: bool) -> Deadline {
        let notify = Arc::new(Notify::new());
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        let at = self.shared.env.clock().monotonic_ms().saturating_add(delay_ms);
        let mut state = self.shared.state.lock();
        let key = (at, state.next_sequence);
        state.next_sequence += 1;
        if state.stopped {
            notify.notify_one();
        } else {
            let is_earliest = state.entries.first_key_value().is_none_or(|(first, _)| key < *first);
            state.entries.insert(key, Entry { notify: Arc::clone(&notify), is_of_request });
            if is_earliest {
                self.shared.changed.notify_all();
            }
        }
        Deadline { shared: Arc::clone(&self.shared), key, notify }
    }

    /// How many deadlines of requests wait, for `status()`.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.state.lock().entries.values().filter(|entry| entry.is_of_request).count()
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        self.shared.state.lock().stopped = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was reported by the panic hook; there is nothing to add here.
            let _ = thread.join();
        }
    }
}

fn fire_until_stopped(shared: &Shared) {
    let mut state = shared.state.lock();
    loop {
        let now = shared.env.clock().monotonic_ms();
        while let Some(entry) = state.entries.first_entry() {
            if entry.key().0 > now {
                break;
            }
            entry.remove().notify.notify_one();
        }
        if state.stopped {
            while let Some((_, entry)) = state.entries.pop_first() {
                entry.notify.notify_one();
            }
            return;
        }
        let wait = state.entries.first_key_value().map(|((at, _), _)| *at);
        match wait.and_then(|at| shared.env.clock().real_time_until(at)) {
            Some(remaining) => {
                shared.changed.wait_for(&mut state, remaining);
            }
            None => shared.changed.wait(&mut state),
        }
    }
}

/// One entry of the queue, awaited by the request it belongs to.
pub struct Deadline {
    shared: Arc<Shared>,
    key: Key,
    notify: Arc<Notify>,
}

impl Deadline {
    /// Returns when the deadline has passed; keeps its permit, so that it may be awaited in a `select!` repeatedly.
    pub async fn passed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.shared.state.lock().entries.remove(&self.key);
    }
}
