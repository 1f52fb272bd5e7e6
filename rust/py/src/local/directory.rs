//! `_core.LogDirectory`.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use ottla_log::AppendError;
use ottla_log::commit::HostSettings;
use ottla_log::env::{Clock, Env};
use ottla_log::local::LocalDirectory;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::process::Owned;
use super::refusal;
use crate::engine::{VirtualClock, append_error, storage_error};
use crate::gil::released;
use crate::metadata;

/// One thread syncs one log; the other its metadata.
const COMMIT_THREADS: usize = 2;

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct LogDirectory {
    /// None once a log was opened in it, or it was closed.
    native: Owned<ArcSwapOption<LocalDirectory>>,
}

impl LogDirectory {
    fn native(&self) -> PyResult<Arc<LocalDirectory>> {
        self.native.get()?.load_full().ok_or_else(refusal::closed)
    }

    /// For the log, or nobody, to keep.
    pub fn take(&self) -> PyResult<Arc<LocalDirectory>> {
        self.native.get()?.swap(None).ok_or_else(refusal::closed)
    }
}

pub fn random_bytes() -> [u8; 16] {
    ottla_server::random::random_bytes()
}

#[pymethods]
impl LogDirectory {
    #[new]
    #[pyo3(signature = (path, *, virtual_clock=None))]
    fn new(py: Python<'_>, path: PathBuf, virtual_clock: Option<&VirtualClock>) -> PyResult<Self> {
        let env = match virtual_clock {
            Some(clock) => Env::system().with_clock(Arc::clone(clock.native()) as Arc<dyn Clock>),
            None => Env::system(),
        };
        let settings = HostSettings { commit_threads: COMMIT_THREADS, ..HostSettings::default() };
        let native = released(py, || LocalDirectory::open(env, &path, settings, &mut random_bytes))
            .map_err(|error| refusal::opening(&error))?;
        Ok(Self { native: Owned::new(ArcSwapOption::from_pointee(native)) })
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Ok(native) = self.take() else { return Ok(()) };
        released(py, || native.close()).map_err(|error| refusal::storage(&error))
    }

    #[getter]
    fn node_id(&self) -> PyResult<i32> {
        Ok(self.native()?.node_id())
    }

    #[getter]
    fn clean_shutdown(&self) -> PyResult<bool> {
        Ok(self.native()?.was_clean())
    }

    #[getter]
    fn log_end_offset(&self, py: Python<'_>) -> PyResult<i64> {
        let native = self.native()?;
        Ok(released(py, || native.metadata().partition().offsets().log_end))
    }

    #[getter]
    fn leader_epoch(&self) -> PyResult<i32> {
        Ok(self.native()?.metadata().leader_epoch())
    }

    fn now_ms(&self) -> PyResult<i64> {
        Ok(self.native()?.env().clock().now_ms())
    }

    fn monotonic_ms(&self) -> PyResult<i64> {
        Ok(self.native()?.env().clock().monotonic_ms())
    }

    /// Returns once it is on the disk.
    fn append(&self, py: Python<'_>, values: Vec<Bound<'_, PyBytes>>, timestamp_ms: i64) -> PyResult<i64> {
        let native = self.native()?;
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        released(py, || {
            let offset = native.metadata().append(&values, timestamp_ms)?;
            native.metadata().sync()?;
            Ok::<_, AppendError>(offset)
        })
        .map_err(|error: AppendError| append_error(&error))
    }

    fn read<'py>(&self, py: Python<'py>, start_offset: i64, max_bytes: u32) -> PyResult<Bound<'py, PyList>> {
        let native = self.native()?;
        // What the opening wrote is read too.
        released(py, || native.metadata().sync()).map_err(|error| refusal::storage(&error))?;
        let log = native.metadata();
        metadata::read(py, log, start_offset, max_bytes, |error| refusal::read(error, log.partition().path()))
    }

    fn latest_snapshot<'py>(&self, py: Python<'py>) -> PyResult<Option<metadata::SnapshotTuple<'py>>> {
        metadata::latest_snapshot(py, self.native()?.metadata(), refusal::storage)
    }

    fn write_snapshot(
        &self,
        py: Python<'_>,
        end_offset: i64,
        epoch: i32,
        values: Vec<Bound<'_, PyBytes>>,
        timestamp_ms: i64,
    ) -> PyResult<()> {
        let log = self.native()?;
        metadata::write_snapshot(py, log.metadata(), (end_offset, epoch), &values, timestamp_ms, storage_error)
    }
}
