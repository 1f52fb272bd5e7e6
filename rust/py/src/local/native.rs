//! A log as it is read: one's own, or another process's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ottla_log::local::{Batches, Follower, LocalLog, Move, Subscription, Wait};
use ottla_log::partition::OffsetAt;
use ottla_log::{Offsets, ReadError, StorageError};
use pyo3::prelude::*;

use super::process::Owned;
use super::refusal;
use crate::gil::released;

/// See the module.
#[derive(Clone)]
pub enum Native {
    Own(Arc<LocalLog>),
    Other(Arc<Follower>),
}

impl Native {
    pub fn is_closed(&self) -> bool {
        match self {
            Native::Own(log) => log.is_closed(),
            Native::Other(log) => log.is_closed(),
        }
    }

    pub fn close(&self) -> Result<(), StorageError> {
        match self {
            Native::Own(log) => log.close(),
            Native::Other(log) => {
                log.close();
                Ok(())
            }
        }
    }

    /// Of the partition.
    pub fn path(&self) -> &Path {
        match self {
            Native::Own(log) => log.partition().path(),
            Native::Other(log) => log.path(),
        }
    }

    pub fn offsets(&self) -> Result<Offsets, StorageError> {
        match self {
            Native::Own(log) => Ok(log.offsets()),
            Native::Other(log) => log.offsets(),
        }
    }

    pub fn batches(&self, start: i64) -> Result<Batches, StorageError> {
        match self {
            Native::Own(log) => Ok(log.batches(start)),
            Native::Other(log) => log.batches(start),
        }
    }

    pub fn wait_for(&self, what: Wait, timeout: Duration) -> Move {
        match self {
            Native::Own(log) => log.wait_for(what, timeout),
            Native::Other(log) => log.wait_for(what, timeout),
        }
    }

    pub fn subscribe(&self, hook: impl Fn() + Send + 'static) -> Subscription {
        match self {
            Native::Own(log) => log.subscribe(hook),
            Native::Other(log) => log.subscribe(hook),
        }
    }

    pub fn lookup_timestamp(&self, timestamp_ms: i64) -> Result<Option<OffsetAt>, ReadError> {
        match self {
            Native::Own(log) => Ok(log.lookup_timestamp(timestamp_ms)?),
            Native::Other(log) => log.lookup_timestamp(timestamp_ms),
        }
    }

    pub fn cursor(&self, name: &str) -> Result<Option<i64>, ReadError> {
        match self {
            Native::Own(log) => Ok(log.cursor(name).map(|cursor| cursor.position)),
            Native::Other(log) => Ok(log.cursors()?.get(name).copied()),
        }
    }

    /// To be written.
    ///
    /// # Errors
    /// `ReadOnly`: it is another's.
    pub fn own(&self) -> PyResult<&Arc<LocalLog>> {
        match self {
            Native::Own(log) => Ok(log),
            Native::Other(_) => Err(refusal::read_only()),
        }
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct LogFollower {
    native: Owned<Arc<Follower>>,
}

impl LogFollower {
    pub fn native(&self) -> PyResult<Arc<Follower>> {
        self.native.get().cloned()
    }
}

#[pymethods]
impl LogFollower {
    #[new]
    #[pyo3(signature = (path, topic=None))]
    fn new(py: Python<'_>, path: std::path::PathBuf, topic: Option<&str>) -> PyResult<Self> {
        let env = ottla_log::env::Env::system();
        let native = released(py, || Follower::open(env, &path, topic)).map_err(|error| refusal::storage(&error))?;
        Ok(Self { native: Owned::new(native) })
    }

    #[getter]
    fn topic(&self) -> PyResult<String> {
        Ok(self.native.get()?.topic().to_owned())
    }
}
