//! `_core.Journal` and `_core.MetadataLog`: partitions as the control plane writes and replays them.

use std::sync::Arc;

use ottla_log::batch::{Compression, NO_SEQUENCE, NewRecord};
use ottla_log::partition::{PartitionObserver, VerificationGuard};
use ottla_log::{Offsets, Partition, ReadError, StorageError};
use ottla_server::engine::Engine as NativeEngine;
use ottla_server::error_code::ErrorCode;
use ottla_server::replica::Replica;
use ottla_server::waiting::Waiters;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::bridge::Queue;
use crate::coordination::{Load, marker};
use crate::engine::{append_error, storage_error};
use crate::errors;
use crate::gil::released;
use crate::metadata;

pub fn read_error(error: &ReadError) -> PyErr {
    match error {
        ReadError::Storage(error) => storage_error(error),
        other @ (ReadError::OffsetOutOfRange { .. } | ReadError::WouldWait) => errors::storage(other),
    }
}

/// True if `offset` is committed; else the queue gets the token when it is. The notice is left before the look, so
/// that a commit between the two is not missed: then both would tell, and the notice is told to keep quiet.
fn watch(partition: &Partition, waiters: &Arc<Waiters>, queue: &Arc<Queue>, offset: i64, token: u64) -> bool {
    if partition.offsets().high_watermark > offset {
        return true;
    }
    let queue = Arc::clone(queue);
    waiters.notify_at(offset + 1, move || queue.committed(token));
    // A commit before the notice was left has woken nobody; tell them now.
    waiters.advanced_to(partition.offsets().high_watermark);
    false
}

/// Tells the queue when `offset` is committed, or that it never will be. Of a partition that is deleted nothing is told:
/// who led it learns that from the image, and another may have its name by now.
fn look_for_commit(replica: &Arc<Replica>, queue: Arc<Queue>, offset: i64, token: u64) {
    // It is the replica that keeps the look.
    let watched = Arc::downgrade(replica);
    replica.waiters().look_at(offset + 1, move || {
        let Some(replica) = watched.upgrade() else { return };
        if replica.high_watermark() > offset {
            queue.committed(token);
            return;
        }
        match replica.failure() {
            Some(ErrorCode::KAFKA_STORAGE_ERROR) => queue.never_committed(token),
            Some(_) => {}
            // Something else changed.
            None => look_for_commit(&replica, queue, offset, token),
        }
    });
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct Journal {
    engine: Arc<NativeEngine>,
    replica: Arc<Replica>,
    queue: Arc<Queue>,
}

impl Journal {
    pub fn new(engine: Arc<NativeEngine>, replica: Arc<Replica>, queue: Arc<Queue>) -> Self {
        Self { engine, replica, queue }
    }

    fn partition(&self) -> PyResult<&Arc<Partition>> {
        self.replica.partition().map_err(|error| storage_error(&error))
    }
}

/// Key and value, either may be None.
type RecordTuple<'py> = (Option<Bound<'py, PyBytes>>, Option<Bound<'py, PyBytes>>);
/// Id, epoch, and what a verification returned.
type ProducerOfBatch = (i64, i16, Option<u64>);

#[pymethods]
impl Journal {
    #[getter]
    fn log_start_offset(&self, py: Python<'_>) -> PyResult<i64> {
        released(py, || Ok(self.partition()?.offsets().log_start))
    }

    #[getter]
    fn high_watermark(&self, py: Python<'_>) -> PyResult<i64> {
        released(py, || Ok(self.partition()?.offsets().high_watermark))
    }

    #[pyo3(signature = (records, timestamp_ms, producer=None))]
    fn append(
        &self,
        py: Python<'_>,
        records: Vec<RecordTuple<'_>>,
        timestamp_ms: i64,
        producer: Option<ProducerOfBatch>,
    ) -> PyResult<i64> {
        let records: Vec<NewRecord<'_>> = records
            .iter()
            .map(|(key, value)| NewRecord {
                timestamp_ms,
                key: key.as_ref().map(|key| key.as_bytes()),
                value: value.as_ref().map(|value| value.as_bytes()),
                headers: &[],
            })
            .collect();
        released(py, || {
            let partition = self.partition()?;
            let appended = match producer {
                None => partition.append_records(&records, Compression::None),
                Some((id, epoch, guard)) => {
                    partition.append_in_transaction(&records, id, epoch, guard.map(VerificationGuard::from_number))
                }
            };
            appended.map(|appended| appended.last_offset).map_err(|error| append_error(&error))
        })
    }

    fn append_marker(
        &self,
        py: Python<'_>,
        producer_id: i64,
        producer_epoch: i16,
        committed: bool,
        coordinator_epoch: i32,
        transaction_version: i16,
    ) -> PyResult<i64> {
        let marker = marker(committed);
        released(py, || {
            self.partition()?
                .append_marker(producer_id, producer_epoch, marker, coordinator_epoch, transaction_version)
                .map(|appended| appended.last_offset)
                .map_err(|error| append_error(&error))
        })
    }

    fn start_verification(
        &self,
        py: Python<'_>,
        producer_id: i64,
        producer_epoch: i16,
        bumps_epoch: bool,
    ) -> PyResult<Option<u64>> {
        released(py, || {
            let partition = self.partition()?;
            if partition.is_zombie(producer_id, producer_epoch) {
                let what = format!("producer {producer_id} has a newer epoch than {producer_epoch}");
                return Err(errors::request(ErrorCode::INVALID_PRODUCER_EPOCH.0, what));
            }
            let guard = if bumps_epoch {
                partition.start_verification_v2(producer_id, producer_epoch, NO_SEQUENCE)
            } else {
                partition.start_verification(producer_id, producer_epoch, NO_SEQUENCE)
            };
            Ok(guard.map(VerificationGuard::number))
        })
    }

    fn watch(&self, py: Python<'_>, offset: i64, token: u64) -> PyResult<bool> {
        released(py, || {
            if self.partition()?.offsets().high_watermark > offset {
                return Ok(true);
            }
            look_for_commit(&self.replica, Arc::clone(&self.queue), offset, token);
            // What happened before the look was left has told nobody.
            if self.replica.failure().is_some() {
                self.replica.waiters().wake_all();
            } else {
                self.replica.waiters().advanced_to(self.replica.high_watermark());
            }
            Ok(false)
        })
    }

    fn load(&self, py: Python<'_>, token: u64) -> Load {
        released(py, || Load::begin(&self.engine, &self.replica, &self.queue, token))
    }
}

/// Wakes those who wait for metadata to be committed, and tells the control plane if that will never be.
struct Committed {
    waiters: Arc<Waiters>,
    queue: Arc<Queue>,
}

impl PartitionObserver for Committed {
    fn readable_advanced(&self, _partition: &Arc<Partition>, offsets: Offsets) {
        self.waiters.advanced_to(offsets.high_watermark);
    }

    fn went_offline(&self, _partition: &Arc<Partition>, reason: &StorageError) {
        self.queue.metadata_offline(reason.to_string());
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct MetadataLog {
    engine: Arc<NativeEngine>,
    queue: Arc<Queue>,
    waiters: Arc<Waiters>,
}

impl MetadataLog {
    pub fn new(engine: Arc<NativeEngine>, queue: Arc<Queue>) -> Self {
        let waiters = Arc::<Waiters>::default();
        let observer = Committed { waiters: Arc::clone(&waiters), queue: Arc::clone(&queue) };
        engine.metadata().partition().set_observer(Arc::new(observer));
        Self { engine, queue, waiters }
    }

    fn offsets(&self) -> Offsets {
        self.engine.metadata().partition().offsets()
    }
}

#[pymethods]
impl MetadataLog {
    #[getter]
    fn log_start_offset(&self, py: Python<'_>) -> i64 {
        released(py, || self.offsets().log_start)
    }

    #[getter]
    fn log_end_offset(&self, py: Python<'_>) -> i64 {
        released(py, || self.offsets().log_end)
    }

    #[getter]
    fn high_watermark(&self, py: Python<'_>) -> i64 {
        released(py, || self.offsets().high_watermark)
    }

    #[getter]
    fn leader_epoch(&self) -> i32 {
        self.engine.metadata().leader_epoch()
    }

    fn append(&self, py: Python<'_>, values: Vec<Bound<'_, PyBytes>>, timestamp_ms: i64) -> PyResult<i64> {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        released(py, || self.engine.metadata().append(&values, timestamp_ms)).map_err(|error| append_error(&error))
    }

    fn watch(&self, py: Python<'_>, offset: i64, token: u64) -> bool {
        released(py, || watch(self.engine.metadata().partition(), &self.waiters, &self.queue, offset, token))
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        released(py, || self.engine.metadata().sync()).map_err(|error| storage_error(&error))
    }

    fn read<'py>(&self, py: Python<'py>, start_offset: i64, max_bytes: u32) -> PyResult<Bound<'py, PyList>> {
        metadata::read(py, self.engine.metadata(), start_offset, max_bytes, read_error)
    }

    fn latest_snapshot<'py>(&self, py: Python<'py>) -> PyResult<Option<metadata::SnapshotTuple<'py>>> {
        metadata::latest_snapshot(py, self.engine.metadata(), storage_error)
    }

    fn write_snapshot(
        &self,
        py: Python<'_>,
        end_offset: i64,
        epoch: i32,
        values: Vec<Bound<'_, PyBytes>>,
        timestamp_ms: i64,
    ) -> PyResult<()> {
        let log = self.engine.metadata();
        metadata::write_snapshot(py, log, (end_offset, epoch), &values, timestamp_ms, storage_error)
    }
}
