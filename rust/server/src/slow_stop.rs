//! Says what a stop waits for, when it takes long. It has no time limit: what was acknowledged in memory alone must reach the disk, and only
//! a person can tell whether a disk that does not answer will.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use ottla_log::env::Env;
use parking_lot::{Condvar, Mutex};
use tracing::{error, warn};

const SAY_EVERY_MS: i64 = 5_000;

/// As long as it lives, somebody waits.
pub(crate) struct SlowStop {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waits_for: String,
    /// Partitions that are being closed, by number, and of how many.
    closing: BTreeMap<usize, PathBuf>,
    closed: usize,
    count: usize,
    is_over: bool,
}

impl State {
    fn words(&self) -> String {
        match self.closing.first_key_value() {
            None => self.waits_for.clone(),
            Some((_, path)) => {
                let (path, closed, count) = (path.display(), self.closed, self.count);
                format!("{path} to be on the disk, after {closed} of {count} partitions")
            }
        }
    }
}

impl SlowStop {
    pub(crate) fn begin(env: &Env) -> Self {
        let shared = Arc::new(Shared::default());
        let listener = Arc::downgrade(&shared);
        env.clock().on_turn(Box::new(move || {
            if let Some(shared) = listener.upgrade() {
                drop(shared.state.lock());
                shared.changed.notify_all();
            }
        }));
        let (env, told) = (env.clone(), Arc::clone(&shared));
        let spawned = std::thread::Builder::new().name("ottla-slow-stop".into()).spawn(move || told.say(&env));
        if let Err(failure) = &spawned {
            error!("cannot start the thread that says what a stop waits for: {failure}");
        }
        Self { shared, thread: spawned.ok() }
    }

    /// From here on the stop waits for that.
    pub(crate) fn waits_for(&self, what: String) {
        self.shared.state.lock().waits_for = what;
    }

    /// The partition there, one of `count`, is being closed.
    pub(crate) fn closing(&self, number: usize, path: &Path, count: usize) {
        let mut state = self.shared.state.lock();
        state.count = count;
        state.closing.insert(number, path.to_owned());
    }

    pub(crate) fn closed(&self, number: usize) {
        let mut state = self.shared.state.lock();
        state.closing.remove(&number);
        state.closed += 1;
    }
}

impl Drop for SlowStop {
    fn drop(&mut self) {
        self.shared.state.lock().is_over = true;
        self.shared.changed.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            error!("the thread that says what a stop waits for panicked");
        }
    }
}

impl Shared {
    fn say(&self, env: &Env) {
        let clock = env.clock();
        let began_ms = clock.monotonic_ms();
        let mut due_ms = began_ms + SAY_EVERY_MS;
        let mut state = self.state.lock();
        while !state.is_over {
            let now_ms = clock.monotonic_ms();
            if now_ms >= due_ms {
                warn!("stopping for {} s: waiting for {}", (now_ms - began_ms) / 1000, state.words());
                due_ms = now_ms + SAY_EVERY_MS;
            }
            match clock.real_time_until(due_ms) {
                Some(wait) => {
                    self.changed.wait_for(&mut state, wait);
                }
                None => self.changed.wait(&mut state),
            }
        }
    }
}
