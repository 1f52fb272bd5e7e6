//! `_core.Load` and `_core.MarkersWritten`: work of the engine's own threads for coordinators, and what came of it.
//!
//! Each is made with a token. When the work is done, or will never be, `("committed", token)` comes up the bridge; the result is in the
//! object then.

use std::sync::Arc;
use std::vec::IntoIter;

use ottla_log::ReadError;
use ottla_log::batch::Marker;
use ottla_log::partition::{FoldedRecord, ProducerStatus};
use ottla_server::coordination::Ending;
use ottla_server::engine::Engine;
use ottla_server::error_code::ErrorCode;
use ottla_server::replica::Replica;
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::bridge::Queue;
use crate::errors;
use crate::gil::released;
use crate::journal::read_error;

pub fn marker(committed: bool) -> Marker {
    if committed { Marker::Commit } else { Marker::Abort }
}

/// Id, epoch, last sequence, last timestamp, coordinator epoch, first offset of the open transaction.
pub type ProducerTuple = (i64, i16, i32, i64, i32, i64);

/// -1 where there is no open transaction, as on the wire.
pub fn producers_of(found: Result<Vec<ProducerStatus>, ErrorCode>) -> (i16, Vec<ProducerTuple>) {
    let described = |producer: ProducerStatus| {
        (
            producer.producer_id,
            producer.epoch,
            producer.last_sequence,
            producer.last_timestamp_ms,
            producer.coordinator_epoch,
            producer.transaction_start.unwrap_or(-1),
        )
    };
    match found {
        Ok(producers) => (ErrorCode::NONE.0, producers.into_iter().map(described).collect()),
        Err(code) => (code.0, Vec::new()),
    }
}

enum Loading {
    Running,
    Failed(Option<ReadError>),
    /// What has not been taken yet.
    Loaded(IntoIter<FoldedRecord>),
}

struct LoadState {
    loading: Loading,
    end_offset: i64,
    records_read: u64,
    without_key: u64,
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct Load {
    state: Arc<Mutex<LoadState>>,
}

impl Load {
    pub fn begin(engine: &Engine, replica: &Arc<Replica>, queue: &Arc<Queue>, token: u64) -> Self {
        let state = LoadState { loading: Loading::Running, end_offset: -1, records_read: 0, without_key: 0 };
        let state = Arc::new(Mutex::new(state));
        let (result, queue) = (Arc::clone(&state), Arc::clone(queue));
        engine.fold(Arc::clone(replica), move |folded| {
            let mut state = result.lock();
            match folded {
                Some(Ok(folded)) => {
                    (state.end_offset, state.records_read) = (folded.end_offset, folded.records_read);
                    state.without_key = folded.without_key;
                    state.loading = Loading::Loaded(folded.records.into_iter());
                }
                Some(Err(error)) => state.loading = Loading::Failed(Some(error)),
                None => state.loading = Loading::Failed(None),
            }
            drop(state);
            queue.committed(token);
        });
        Self { state }
    }
}

/// Records of about `bytes_max` from what is left, at least one if there is one.
fn take(records: &mut IntoIter<FoldedRecord>, bytes_max: usize) -> Vec<FoldedRecord> {
    let mut taken = Vec::new();
    let mut bytes = 0;
    while bytes < bytes_max
        && let Some(record) = records.next()
    {
        bytes += record.key.len() + record.value.len();
        taken.push(record);
    }
    taken
}

#[pymethods]
impl Load {
    #[getter]
    fn end_offset(&self, py: Python<'_>) -> i64 {
        released(py, || self.state.lock().end_offset)
    }

    #[getter]
    fn records_read(&self, py: Python<'_>) -> u64 {
        released(py, || self.state.lock().records_read)
    }

    #[getter]
    fn without_key(&self, py: Python<'_>) -> u64 {
        released(py, || self.state.lock().without_key)
    }

    #[getter]
    fn is_over(&self, py: Python<'_>) -> bool {
        released(py, || match &self.state.lock().loading {
            Loading::Loaded(records) => records.as_slice().is_empty(),
            Loading::Running | Loading::Failed(_) => true,
        })
    }

    fn take<'py>(&self, py: Python<'py>, bytes_max: usize) -> PyResult<Bound<'py, PyList>> {
        let taken = released(py, || match &mut self.state.lock().loading {
            Loading::Loaded(records) => Ok(take(records, bytes_max)),
            Loading::Failed(Some(error)) => Err(read_error(error)),
            Loading::Failed(None) => Err(errors::storage("the log is not read any more")),
            Loading::Running => Err(errors::storage("the log is still being read")),
        })?;
        let list = PyList::empty(py);
        for record in taken {
            let (key, value) = (PyBytes::new(py, &record.key), PyBytes::new(py, &record.value));
            list.append((record.offset, key, value, record.producer_id, record.producer_epoch))?;
        }
        Ok(list)
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct MarkersWritten {
    codes: Arc<Mutex<Vec<i16>>>,
}

impl MarkersWritten {
    pub fn begin(
        engine: &Arc<Engine>,
        queue: &Arc<Queue>,
        ending: Ending,
        partitions: Vec<(String, i32)>,
        token: u64,
    ) -> Self {
        // What stands there if nobody will say more.
        let codes = Arc::new(Mutex::new(vec![ErrorCode::UNKNOWN_SERVER_ERROR.0; partitions.len()]));
        let (result, queue) = (Arc::clone(&codes), Arc::clone(queue));
        engine.write_markers(ending, partitions, move |written| {
            if let Some(written) = written {
                *result.lock() = written.into_iter().map(|code| code.0).collect();
            }
            queue.committed(token);
        });
        Self { codes }
    }
}

#[pymethods]
impl MarkersWritten {
    fn codes(&self, py: Python<'_>) -> Vec<i16> {
        released(py, || self.codes.lock().clone())
    }
}
