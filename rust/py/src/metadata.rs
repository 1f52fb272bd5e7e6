//! A log of metadata as Python gets it: a broker's, and that of a directory which a program keeps itself.

use ottla_log::metadata_log::MetadataLog;
use ottla_log::{ReadError, StorageError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::gil::released;

/// End offset, epoch and values.
pub type SnapshotTuple<'py> = (i64, i32, Bound<'py, PyList>);

/// Tuples of offset, leader epoch, timestamp and value; none at the end alone.
pub fn read<'py>(
    py: Python<'py>,
    log: &MetadataLog,
    start_offset: i64,
    max_bytes: u32,
    refused: impl FnOnce(&ReadError) -> PyErr,
) -> PyResult<Bound<'py, PyList>> {
    let records = released(py, || {
        let mut at = start_offset;
        loop {
            let (records, next) = log.read(at, max_bytes)?;
            // A stretch of control records is not the end.
            if !records.is_empty() || next == at {
                return Ok(records);
            }
            at = next;
        }
    })
    .map_err(|error: ReadError| refused(&error))?;
    let list = PyList::empty(py);
    for record in records {
        let value = PyBytes::new(py, &record.value);
        list.append((record.offset, record.leader_epoch, record.timestamp_ms, value))?;
    }
    Ok(list)
}

pub fn latest_snapshot<'py>(
    py: Python<'py>,
    log: &MetadataLog,
    refused: impl FnOnce(&StorageError) -> PyErr,
) -> PyResult<Option<SnapshotTuple<'py>>> {
    let snapshot = released(py, || log.latest_snapshot()).map_err(|error| refused(&error))?;
    let Some(snapshot) = snapshot else { return Ok(None) };
    let values = PyList::new(py, snapshot.values.iter().map(|value| PyBytes::new(py, value)))?;
    Ok(Some((snapshot.end_offset, snapshot.epoch, values)))
}

pub fn write_snapshot(
    py: Python<'_>,
    log: &MetadataLog,
    (end_offset, epoch): (i64, i32),
    values: &[Bound<'_, PyBytes>],
    timestamp_ms: i64,
    refused: impl FnOnce(&StorageError) -> PyErr,
) -> PyResult<()> {
    let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
    released(py, || log.write_snapshot(end_offset, epoch, &values, timestamp_ms)).map_err(|error| refused(&error))
}
