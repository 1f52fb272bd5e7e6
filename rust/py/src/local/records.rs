//! `_core.Records`: the records of a log from a place on, one after another. One that follows waits for more.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla_log::StorageError;
use ottla_log::batch::records::Records as Walk;
use ottla_log::local::{Batches, Move, Subscription, UnpackedBatch, Wait};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use super::log::Log;
use super::native::Native;
use super::process::Owned;
use super::record::Record;
use super::refusal;
use crate::gil::{SIGNALS_EVERY, released};
use crate::wake::Wake;

struct Current {
    batch: UnpackedBatch,
    left: i32,
}

/// What follows waits at most so long for the next record.
#[derive(Clone, Copy)]
pub enum Patience {
    /// Ends with the log's end as it was.
    None,
    For(Duration),
    ForEver,
}

/// See `_core.pyi`.
#[pyclass(module = "ottla._core")]
pub struct Records {
    log: Owned<Native>,
    /// A log that nobody else has is not closed while its records are read. None once the garbage collector took it.
    keeper: Option<Py<Log>>,
    batches: Batches,
    current: Option<Current>,
    start: i64,
    stop: i64,
    /// Behind the last record that was given out of `current`.
    passed: i64,
    patience: Patience,
}

impl Records {
    pub fn new(keeper: &Bound<'_, Log>, start: i64, stop: i64, patience: Patience) -> PyResult<Records> {
        let (py, log) = (keeper.py(), keeper.get().open()?);
        let batches = released(py, || log.batches(start)).map_err(|error| refusal::storage(&error))?;
        Ok(Records {
            log: Owned::new(log.clone()),
            keeper: Some(keeper.clone().unbind()),
            batches,
            current: None,
            start,
            stop,
            passed: start,
            patience,
        })
    }

    /// The next record in memory.
    fn take(&mut self) -> PyResult<Option<Record>> {
        while let Some(current) = &mut self.current {
            let batch = &mut current.batch;
            let mut walk = Walk::new(&batch.bytes[batch.at..batch.end], current.left);
            let view = match walk.next() {
                None => {
                    self.current = None;
                    return Ok(None);
                }
                Some(view) => view.map_err(|what| refusal::storage(&damaged(&self.log, what.to_string())))?,
            };
            let (header, read) = (&batch.header, walk.position());
            let offset = header.base_offset.wrapping_add(i64::from(view.offset_delta));
            let timestamp_ms = if header.is_log_append_time() {
                header.max_timestamp_ms
            } else {
                header.base_timestamp_ms.wrapping_add(view.timestamp_delta)
            };
            let record = (offset >= self.start && offset < self.stop)
                .then(|| Record::new(&batch.bytes, offset, timestamp_ms, &view));
            batch.at += read;
            current.left -= 1;
            self.passed = self.passed.max(offset.saturating_add(1));
            if let Some(record) = record {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Reads the next batch, if there is one.
    fn load(&mut self, py: Python<'_>) -> PyResult<bool> {
        if self.log.get()?.is_closed() {
            return Err(refusal::closed());
        }
        // A loop in C runs nothing else that would ask.
        py.check_signals()?;
        let (batches, stop) = (&mut self.batches, self.stop);
        let batch = released(py, || batches.next(stop)).map_err(|error| refusal::read(&error, batches.path()))?;
        self.current = batch.map(|batch| Current { left: batch.header.record_count, batch });
        Ok(self.current.is_some())
    }

    /// False: nothing came in time, or nothing will.
    fn wait(&mut self, py: Python<'_>) -> PyResult<bool> {
        let until = match self.patience {
            Patience::None => return Ok(false),
            Patience::For(patience) => Instant::now().checked_add(patience),
            Patience::ForEver => None,
        };
        let next = self.batches.next_offset();
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match wait_for(py, self.log.get()?, Wait::Readable(next), left.unwrap_or(SIGNALS_EVERY)) {
                Move::Reached | Move::Changed => return Ok(true),
                Move::Ended(StorageError::Closed { .. }) => return Ok(false),
                Move::Ended(error) => return Err(refusal::storage(&error)),
                // What was taken away between the look and the wait is found now.
                Move::NotYet => match self.load(py) {
                    Ok(true) => return Ok(true),
                    Ok(false) => {}
                    Err(_) if self.log.get()?.is_closed() => return Ok(false),
                    Err(error) => return Err(error),
                },
            }
            py.check_signals()?;
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(false);
            }
        }
    }
}

/// Waits for a moment.
pub fn wait_for(py: Python<'_>, log: &Native, what: Wait, left: Duration) -> Move {
    released(py, || log.wait_for(what, left.min(SIGNALS_EVERY)))
}

fn damaged(log: &Owned<Native>, what: String) -> StorageError {
    let path = log.get().map(|log| log.path().to_path_buf()).unwrap_or_default();
    StorageError::Corrupt { path, position: 0, what }
}

#[pymethods]
impl Records {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.keeper.as_ref().map_or(Ok(()), |keeper| visit.call(keeper))
    }

    fn __clear__(&mut self) {
        self.keeper = None;
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Record>> {
        loop {
            if let Some(record) = self.take()? {
                return Ok(Some(record));
            }
            let follows = !matches!(self.patience, Patience::None);
            let loaded = match self.load(py) {
                // Closed by another thread, whenever that was: the end of what is followed.
                Err(_) if follows && self.log.get()?.is_closed() => return Ok(None),
                loaded => loaded?,
            };
            if !loaded && !self.wait(py)? {
                return Ok(None);
            }
        }
    }

    fn take_ready(&mut self, py: Python<'_>) -> PyResult<Option<Record>> {
        loop {
            if let Some(record) = self.take()? {
                return Ok(Some(record));
            }
            if !self.load(py)? {
                return Ok(None);
            }
        }
    }

    #[getter]
    fn next_offset(&self) -> i64 {
        // Inside a batch the next record may have any offset behind the last one: compaction leaves gaps.
        let next = if self.current.is_some() { self.passed } else { self.passed.max(self.batches.next_offset()) };
        next.min(self.stop.max(self.start))
    }

    fn arrival(&self, py: Python<'_>) -> PyResult<Arrival> {
        Arrival::new(py, self.log.get()?)
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct Arrival {
    wake: Arc<Wake>,
    /// None only while it is dropped.
    subscription: Owned<Option<Subscription>>,
}

impl Arrival {
    fn new(py: Python<'_>, log: &Native) -> PyResult<Arrival> {
        let wake = Arc::new(Wake::new().map_err(PyOSError::new_err)?);
        let bell = Arc::clone(&wake);
        let subscription = released(py, || log.subscribe(move || bell.ring()));
        Ok(Arrival { wake, subscription: Owned::new(Some(subscription)) })
    }
}

/// Unsubscribing waits for a lock.
impl Drop for Arrival {
    fn drop(&mut self) {
        let taken = self.subscription.get_mut().ok().and_then(Option::take);
        // Without an interpreter to attach to nobody else can hold it.
        let _ = Python::try_attach(|py| released(py, || drop(taken)));
    }
}

#[pymethods]
impl Arrival {
    fn fileno(&self) -> RawFd {
        self.wake.fileno()
    }

    fn clear(&self) {
        self.wake.clear();
    }
}
