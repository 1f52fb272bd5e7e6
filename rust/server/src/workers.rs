//! Threads for what waits for the disk: neither the control plane's thread nor the network's may do it.
//!
//! A thread is made when there is work and none is idle, up to a bound; the work is done in the order it was asked for.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tracing::error;

/// Tells whoever waits for it what came of it, also when it is dropped without having been done.
type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    threads: usize,
    idle: usize,
    /// At work.
    busy: usize,
    is_stopped: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    /// Nobody is at work any more.
    quiet: Condvar,
}

/// See the module. Dropped, its threads end after what they are at.
pub struct Workers {
    name: &'static str,
    most: usize,
    shared: Arc<Shared>,
}

impl Workers {
    #[must_use]
    pub fn new(name: &'static str, most: usize) -> Self {
        Self { name, most, shared: Arc::default() }
    }

    /// Does `job` on one of the threads; drops it if they were stopped, or if the system has no thread left.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.state.lock();
        if state.is_stopped {
            return;
        }
        state.waiting.push_back(Box::new(job));
        if state.waiting.len() > state.idle && state.threads < self.most {
            let shared = Arc::clone(&self.shared);
            match std::thread::Builder::new().name(self.name.to_owned()).spawn(move || shared.serve()) {
                Ok(_) => state.threads += 1,
                Err(failure) if state.threads == 0 => {
                    error!("no thread can be started for {}: {failure}", self.name);
                    let dropped = std::mem::take(&mut state.waiting);
                    drop(state);
                    drop(dropped);
                    return;
                }
                Err(_) => {}
            }
        }
        drop(state);
        self.shared.work.notify_one();
    }

    /// Drops what was not begun; nothing is begun any more.
    pub fn stop(&self) {
        let mut state = self.shared.state.lock();
        state.is_stopped = true;
        let dropped = std::mem::take(&mut state.waiting);
        drop(state);
        self.shared.work.notify_all();
        drop(dropped);
    }

    /// The same, and returns once what was begun has ended.
    pub fn stop_and_wait(&self) {
        self.stop();
        let mut state = self.shared.state.lock();
        while state.busy > 0 {
            self.shared.quiet.wait(&mut state);
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn serve(&self) {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.waiting.pop_front() {
                state.busy += 1;
                drop(state);
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    // The panic's own words went to the log; others wait for this thread.
                    error!("work of {} failed", std::thread::current().name().unwrap_or("a thread"));
                }
                state = self.state.lock();
                state.busy -= 1;
                if state.busy == 0 {
                    self.quiet.notify_all();
                }
            } else if state.is_stopped {
                return;
            } else {
                state.idle += 1;
                self.work.wait(&mut state);
                state.idle -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    /// No more threads than allowed, however much there is to do, and a job that panics takes none of them away.
    #[test]
    fn bounded() {
        let workers = Workers::new("test", 2);
        let (told, tell) = channel();
        for number in 0..50 {
            let told = told.clone();
            workers.run(move || {
                assert!(number % 10 != 3, "on purpose");
                told.send(std::thread::current().id()).unwrap();
            });
        }
        drop(told);
        let by: std::collections::HashSet<_> = tell.iter().collect();
        assert!(by.len() <= 2);
        assert!(workers.shared.state.lock().threads <= 2);
    }

    /// What was not begun is dropped when they are stopped, so that who waits for it is told.
    #[test]
    fn stopped() {
        let workers = Workers::new("test", 1);
        let (begun, begins) = channel();
        let (go, gone) = channel::<()>();
        workers.run(move || {
            begun.send(()).unwrap();
            let _ = gone.recv();
        });
        begins.recv().unwrap();
        let (told, tell) = channel::<()>();
        let late = told.clone();
        workers.run(move || drop(told));
        workers.stop();
        workers.run(move || drop(late));
        assert!(tell.recv().is_err());
        drop(go);
    }

    /// Who must know that nothing goes on any more waits for what has begun.
    #[test]
    fn stopped_and_waited_for() {
        let workers = Workers::new("test", 1);
        let shared = Arc::clone(&workers.shared);
        let (begun, begins) = channel();
        let (told, tell) = channel();
        let done = told.clone();
        workers.run(move || {
            begun.send(()).unwrap();
            while !shared.state.lock().is_stopped {
                std::thread::yield_now();
            }
            (0..1000).for_each(|_| std::thread::yield_now());
            done.send("done").unwrap();
        });
        begins.recv().unwrap();
        workers.stop_and_wait();
        told.send("stopped").unwrap();
        assert_eq!([tell.recv(), tell.recv()], [Ok("done"), Ok("stopped")]);
    }
}
