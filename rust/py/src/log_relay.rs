//! Native log lines into Python's `logging`, without a network thread ever waiting for the GIL.
//!
//! `tracing` events become `log` records (its `log` feature); they are put into a bounded queue, and one thread takes
//! them to Python. A full queue drops lines and says how many, rather than stall whoever logged.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use log::{Level, LevelFilter, Log, Metadata, Record};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyModule;

/// Lines that may wait for Python.
const QUEUE_LINES: usize = 4096;

enum Message {
    Line {
        level: Level,
        target: String,
        text: String,
    },
    /// Everything before it has been handed to Python once this is answered.
    Flush(SyncSender<()>),
    Stop,
}

struct Relay {
    sender: SyncSender<Message>,
    dropped: AtomicU64,
    /// The process whose thread this is; a forked child has the memory but not the thread.
    process_id: u32,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

static RELAY: OnceLock<Relay> = OnceLock::new();

impl Relay {
    fn is_ours(&self) -> bool {
        self.process_id == std::process::id()
    }
}

impl Log for Relay {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.is_ours() && metadata.target().starts_with("ottla") && metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let line = Message::Line {
            level: record.level(),
            // Rust's path becomes the logger's name below `ottla`.
            target: record.target().replace("::", "."),
            text: record.args().to_string(),
        };
        match self.sender.try_send(line) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn flush(&self) {}
}

/// Starts the relay once per process and ends it before the interpreter does.
pub fn install(py: Python<'_>) -> PyResult<()> {
    if RELAY.get().is_some() {
        return Ok(());
    }
    let (sender, receiver) = sync_channel(QUEUE_LINES);
    let thread = std::thread::Builder::new().name("ottla-logging".to_owned()).spawn(move || carry(&receiver))?;
    let relay = RELAY.get_or_init(|| Relay {
        sender,
        dropped: AtomicU64::new(0),
        process_id: std::process::id(),
        thread: Mutex::new(Some(thread)),
    });
    // Another library of this process may own the facade; then its logger gets our lines.
    if log::set_logger(relay).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
    let at_exit = PyModule::import(py, "atexit")?;
    at_exit.call_method1("register", (pyo3::wrap_pyfunction!(stop_log_relay, &at_exit)?,))?;
    Ok(())
}

/// Ends the relay's thread; called by `atexit`, after which native lines are dropped.
#[pyfunction]
fn stop_log_relay(py: Python<'_>) {
    py.detach(|| {
        let Some(relay) = RELAY.get().filter(|relay| relay.is_ours()) else { return };
        let Some(thread) = relay.thread.lock().take() else { return };
        // The thread is the receiver: it is alive until it sees this.
        if relay.sender.send(Message::Stop).is_ok() {
            let _ = thread.join();
        }
    });
}

/// Waits until Python's logging has every native line logged before this call.
#[pyfunction]
pub fn flush_logs(py: Python<'_>) {
    py.detach(|| {
        let Some(relay) = RELAY.get().filter(|relay| relay.is_ours()) else { return };
        let (done, wait) = sync_channel(1);
        if relay.sender.send(Message::Flush(done)).is_ok() {
            // An error means the relay has stopped: nothing more will come.
            let _ = wait.recv();
        }
    });
}

/// Sets the least severe level that is relayed, by Python's number (10 debug, 20 info, 30 warning, 40 error).
#[pyfunction]
pub fn set_log_level(level: u32) {
    log::set_max_level(match level {
        0..=5 => LevelFilter::Trace,
        6..=10 => LevelFilter::Debug,
        11..=20 => LevelFilter::Info,
        21..=30 => LevelFilter::Warn,
        31..=50 => LevelFilter::Error,
        _ => LevelFilter::Off,
    });
}

fn carry(receiver: &Receiver<Message>) {
    while let Ok(message) = receiver.recv() {
        match message {
            Message::Stop => return,
            // The asker may have given up.
            Message::Flush(done) => drop(done.send(())),
            Message::Line { level, target, text } => Python::attach(|py| {
                let dropped = RELAY.get().map_or(0, |relay| relay.dropped.swap(0, Ordering::Relaxed));
                if dropped > 0 {
                    let lost = format!("{dropped} log lines were dropped: Python's logging was too slow for them");
                    hand_over(py, Level::Warn, "ottla", &lost);
                }
                hand_over(py, level, &target, &text);
            }),
        }
    }
}

fn hand_over(py: Python<'_>, level: Level, target: &str, text: &str) {
    let number = match level {
        Level::Error => 40,
        Level::Warn => 30,
        Level::Info => 20,
        Level::Debug => 10,
        Level::Trace => 5,
    };
    let result = PyModule::import(py, "logging")
        .and_then(|logging| logging.call_method1("getLogger", (target,)))
        .and_then(|logger| logger.call_method1("log", (number, "%s", text)));
    if let Err(error) = result {
        error.write_unraisable(py, None);
    }
}
