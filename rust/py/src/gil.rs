//! The one door that releases the GIL, and where long work hears Ctrl-C.
//!
//! Every call from Python that may take a lock, touch a disk or wait goes through [`released`]: a thread that waits
//! inside Rust never keeps Python from running, and no Rust lock is ever taken while the GIL is held, so that the two
//! cannot deadlock.
//!
//! Python runs the handlers of signals in its main thread, between two of its instructions. What takes long in Rust
//! asks for them: a loop by [`Signals`], work in one piece by [`heard`].

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::marker::Ungil;
use pyo3::{PyResult, Python};

/// How long Ctrl-C may wait.
pub const SIGNALS_EVERY: Duration = Duration::from_millis(50);

/// Runs `work` without the GIL.
pub fn released<T: Ungil + Send>(py: Python<'_>, work: impl FnOnce() -> T + Ungil + Send) -> T {
    py.detach(work)
}

/// Asks now and then.
#[derive(Debug)]
pub struct Signals {
    asked: Instant,
}

impl Signals {
    pub fn new() -> Signals {
        Signals { asked: Instant::now() }
    }

    fn is_due(&mut self) -> bool {
        let is_due = self.asked.elapsed() >= SIGNALS_EVERY;
        if is_due {
            self.asked = Instant::now();
        }
        is_due
    }

    /// From work that goes on without the GIL.
    ///
    /// # Errors
    /// What a handler raises: the work is to stop.
    pub fn check(&mut self) -> PyResult<()> {
        if !self.is_due() {
            return Ok(());
        }
        // None while the interpreter ends: then no handler runs any more.
        Python::try_attach(|py| py.check_signals()).unwrap_or(Ok(()))
    }

    /// The same from work that holds it; other threads get it, too.
    pub fn breathe(&mut self, py: Python<'_>) -> PyResult<()> {
        if !self.is_due() {
            return Ok(());
        }
        released(py, || ());
        py.check_signals()
    }
}

/// Runs `work`, which cannot ask, on a thread of its own while this one does.
///
/// # Errors
/// What a handler raises. The work goes on to its end then, and nobody gets what it returns.
pub fn heard<T: Send + 'static>(py: Python<'_>, work: impl FnOnce() -> T + Send + 'static) -> PyResult<T> {
    let (bell, end) = channel::<()>();
    let work = Arc::new(Mutex::new(Some(work)));
    let theirs = work.clone();
    let run = move || {
        // Dropped behind the work, also by a panic.
        let _bell = bell;
        take(&theirs)
    };
    let done = released(py, move || -> PyResult<Option<T>> {
        let Ok(thread) = thread::Builder::new().name("ottla-heard".to_owned()).spawn(run) else {
            // No thread is left: here, then, and unheard.
            return Ok(take(&work));
        };
        let mut signals = Signals::new();
        while end.recv_timeout(SIGNALS_EVERY) == Err(RecvTimeoutError::Timeout) {
            signals.check()?;
        }
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })?;
    Ok(done.unwrap_or_else(|| unreachable!("the work was there to be done")))
}

fn take<T>(work: &Mutex<Option<impl FnOnce() -> T>>) -> Option<T> {
    let work = work.lock().take();
    work.map(|work| work())
}
