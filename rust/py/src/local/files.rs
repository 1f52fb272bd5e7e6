//! `_core.PartitionFiles`: a partition's files, looked at without a log being opened. For `ottla log`.

use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
use std::path::PathBuf;
use std::sync::Arc;

use ottla_log::StorageError;
use ottla_log::batch::control::{self, Marker};
use ottla_log::batch::header::HEADER_BYTES;
use ottla_log::batch::records::{RecordRef, Records as Walk};
use ottla_log::batch::{BatchHeader, Compression, compression};
use ottla_log::compaction::swap::Ends;
use ottla_log::env::{DirLock, Disk, Env};
use ottla_log::inspect::{self, Action, Layout, Reader, Report, Walked};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use super::refusal;
use crate::errors;
use crate::gil::released;

/// Kafka's and ours: whoever writes in a data directory holds it.
const LOCK: &str = ".lock";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
const UNPACKED_BYTES_MAX: usize = 1 << 30;

fn io_error(path: &std::path::Path, action: &'static str, error: std::io::Error) -> PyErr {
    refusal::storage(&StorageError::Io { action, path: path.to_path_buf(), source: Arc::new(error) })
}

/// See `_core.pyi`.
#[pyfunction]
pub fn is_locked(py: Python<'_>, data_dir: PathBuf) -> PyResult<bool> {
    let path = data_dir.join(LOCK);
    released(py, || Env::system().disk().is_locked(&path)).map_err(|error| io_error(&path, "look at", error))
}

/// See `_core.pyi`.
#[pyfunction]
pub fn check_format(py: Python<'_>, data_dir: PathBuf) -> PyResult<()> {
    released(py, || ottla_log::directory::check_format(Env::system().disk().as_ref(), &data_dir))
        .map_err(|error| refusal::storage(&error))
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct DirectoryLock {
    _held: Box<dyn DirLock>,
}

#[pymethods]
impl DirectoryLock {
    #[new]
    fn new(py: Python<'_>, data_dir: PathBuf) -> PyResult<Self> {
        let path = data_dir.join(LOCK);
        match released(py, || Env::system().disk().lock(&path)) {
            Ok(held) => Ok(Self { _held: held }),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let owner = String::new();
                Err(refusal::storage(&StorageError::DirectoryInUse { path: data_dir, owner }))
            }
            Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem) => {
                let error = StorageError::Io { action: "lock", path, source: Arc::new(error) };
                let advice = "`ottla log verify` only reads; to mend it, copy it to where you may write";
                Err(errors::storage(format!("{error}. {advice}")))
            }
            Err(error) => Err(io_error(&path, "lock", error)),
        }
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct PartitionFiles {
    path: PathBuf,
    disk: Arc<dyn Disk>,
}

#[pymethods]
impl PartitionFiles {
    #[new]
    fn new(path: PathBuf) -> Self {
        Self { path, disk: Arc::clone(Env::system().disk()) }
    }

    /// (base offset, bytes) of each.
    fn segments(&self, py: Python<'_>) -> PyResult<Vec<(i64, u64)>> {
        let layout = released(py, || Layout::take(self.disk.as_ref(), &self.path, &mut Ends::default()))
            .map_err(|error| refusal::storage(&error))?;
        Ok(layout.segments.iter().map(|files| (files.base_offset, files.bytes)).collect())
    }

    #[pyo3(signature = (is_live, progress=None))]
    fn verify<'py>(&self, py: Python<'py>, is_live: bool, progress: Option<Py<PyAny>>) -> PyResult<Bound<'py, PyDict>> {
        let report = self.report(py, is_live, progress.as_ref())?;
        let described = PyDict::new(py);
        described.set_item("segments", segments_of(py, &report)?)?;
        described.set_item("findings", findings_of(py, &report)?)?;
        described.set_item("on_its_way_bytes", report.on_its_way_bytes)?;
        Ok(described)
    }

    /// The whole of it, if `is_wanted`; else what would be done.
    #[pyo3(signature = (is_wanted, progress=None))]
    fn repair(&self, py: Python<'_>, is_wanted: bool, progress: Option<Py<PyAny>>) -> PyResult<Vec<String>> {
        let report = self.report(py, false, progress.as_ref())?;
        let actions = inspect::plan(&report);
        if is_wanted && !actions.is_empty() {
            released(py, || {
                // The next start looks at everything again.
                if let Some(data_dir) = self.path.parent() {
                    let clean = data_dir.join(CLEAN_SHUTDOWN);
                    // On the disk before anything is changed.
                    match self.disk.remove_file(&clean).and_then(|()| self.disk.sync_dir(data_dir)) {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                            let (action, source) = ("remove", Arc::new(error));
                            return Err(StorageError::Io { action, path: clean, source });
                        }
                        _ => {}
                    }
                }
                inspect::repair(self.disk.as_ref(), &self.path, &actions)
            })
            .map_err(|error| refusal::storage(&error))?;
        }
        Ok(actions.iter().map(Action::to_string).collect())
    }

    /// The batches from `start` on.
    fn batches(&self, start: i64, is_live: bool) -> FileBatches {
        let reader = Reader::new(Arc::clone(&self.disk), self.path.clone(), start, is_live);
        FileBatches { reader: Mutex::new(reader) }
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct FileBatches {
    reader: Mutex<Reader>,
}

#[pymethods]
impl FileBatches {
    /// Up to `count` of them, and the bytes gone through since the last call.
    fn next<'py>(&self, py: Python<'py>, count: usize, with_records: bool) -> PyResult<(Bound<'py, PyList>, u64)> {
        let (found, passed_bytes) = released(py, || {
            let (mut reader, mut found) = (self.reader.lock(), Vec::new());
            reader.read(count, |walked| {
                found.push(match walked {
                    Walked::Batch { position, header, batch } => {
                        let records = with_records.then(|| unpacked(header, batch));
                        let marker = control::end_marker_of(header, &batch[HEADER_BYTES..]).map(|(marker, _)| marker);
                        Found::Batch { position, bytes: batch.len(), header: Box::new(*header), marker, records }
                    }
                    Walked::Damage(damage) => Found::Damage(damage),
                });
            })?;
            Ok((found, reader.take_passed_bytes()))
        })
        .map_err(|error| refusal::storage(&error))?;
        let list = PyList::empty(py);
        for item in found {
            list.append(item.described(py)?)?;
        }
        Ok((list, passed_bytes))
    }
}

impl PartitionFiles {
    fn report(&self, py: Python<'_>, is_live: bool, progress: Option<&Py<PyAny>>) -> PyResult<Report> {
        let mut interrupted = None;
        let report = released(py, || {
            inspect::verify(self.disk.as_ref(), &self.path, is_live, &mut |bytes| {
                // Ctrl-C is heard here too, and told when the segment is through.
                let told = Python::attach(|py| {
                    py.check_signals()?;
                    progress.map_or(Ok(()), |progress| progress.call1(py, (bytes,)).map(|_| ()))
                });
                if let Err(error) = told {
                    interrupted.get_or_insert(error);
                }
            })
        });
        match interrupted {
            Some(error) => Err(error),
            None => report.map_err(|error| refusal::storage(&error)),
        }
    }
}

enum Found {
    Batch {
        position: u32,
        bytes: usize,
        header: Box<BatchHeader>,
        marker: Option<Marker>,
        records: Option<Result<Vec<u8>, String>>,
    },
    Damage(inspect::Damage),
}

fn word_of(marker: Marker) -> &'static str {
    match marker {
        Marker::Abort => "abort",
        Marker::Commit => "commit",
    }
}

fn unpacked(header: &BatchHeader, batch: &[u8]) -> Result<Vec<u8>, String> {
    let packed = &batch[HEADER_BYTES..];
    match header.compression() {
        None => Err("its compression is unknown".to_owned()),
        Some(Compression::None) => Ok(packed.to_vec()),
        Some(codec) => {
            let mut bytes = Vec::new();
            compression::decompress(codec, packed, UNPACKED_BYTES_MAX, &mut bytes).map_err(|what| what.to_string())?;
            Ok(bytes)
        }
    }
}

impl Found {
    fn described<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        match self {
            Found::Damage(damage) => {
                fields.set_item("position", damage.bytes.start)?;
                fields.set_item("bytes", damage.bytes.end - damage.bytes.start)?;
                fields.set_item("next_offset", damage.offsets.end)?;
                fields.set_item("damage", damage.what)?;
            }
            Found::Batch { position, bytes, header, marker, records } => {
                let name = header.compression().map_or("unknown", Compression::name);
                fields.set_item("position", position)?;
                fields.set_item("bytes", bytes)?;
                fields.set_item("base_offset", header.base_offset)?;
                fields.set_item("last_offset", header.last_offset())?;
                fields.set_item("next_offset", header.next_offset())?;
                fields.set_item("count", header.record_count)?;
                fields.set_item("compression", name)?;
                fields.set_item("base_timestamp", header.base_timestamp_ms)?;
                fields.set_item("max_timestamp", header.max_timestamp_ms)?;
                fields.set_item("log_append_time", header.is_log_append_time())?;
                fields.set_item("transactional", header.is_transactional())?;
                fields.set_item("control", header.is_control())?;
                fields.set_item("marker", marker.map(word_of))?;
                fields.set_item("leader_epoch", header.leader_epoch)?;
                fields.set_item("producer_id", header.producer_id)?;
                fields.set_item("producer_epoch", header.producer_epoch)?;
                fields.set_item("base_sequence", header.base_sequence)?;
                fields.set_item("crc", header.crc)?;
                match records {
                    None => {}
                    Some(Err(what)) => fields.set_item("damage", what)?,
                    Some(Ok(bytes)) => fields.set_item("records", records_of(py, &header, &bytes)?)?,
                }
            }
        }
        Ok(fields)
    }
}

fn records_of<'py>(py: Python<'py>, header: &BatchHeader, bytes: &[u8]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for view in Walk::new(bytes, header.record_count) {
        let view = view.map_err(|what| {
            let (path, position, what) = (PathBuf::new(), 0, what.to_string());
            refusal::storage(&StorageError::Corrupt { path, position, what })
        })?;
        let record = RecordRef::new(header, view);
        let headers = PyList::empty(py);
        for (key, value) in record.headers() {
            let key = PyString::new(py, &String::from_utf8_lossy(key));
            headers.append((key, value.map(|value| PyBytes::new(py, value))))?;
        }
        let of = |bytes: Option<&[u8]>| bytes.map(|bytes| PyBytes::new(py, bytes));
        list.append((record.offset, record.timestamp_ms, of(record.key), of(record.value), headers))?;
    }
    Ok(list)
}

fn segments_of<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for segment in &report.segments {
        let fields = PyDict::new(py);
        fields.set_item("base_offset", segment.base_offset)?;
        fields.set_item("next_offset", segment.next_offset)?;
        fields.set_item("bytes", segment.bytes)?;
        fields.set_item("batches", segment.batches)?;
        fields.set_item("control_batches", segment.control_batches)?;
        fields.set_item("records", segment.records)?;
        fields.set_item("first_offset", segment.first_offset)?;
        fields.set_item("min_timestamp", segment.min_timestamp_ms)?;
        fields.set_item("max_timestamp", segment.max_timestamp_ms)?;
        let compressed = PyDict::new(py);
        for (code, count) in (0..).zip(segment.compressed) {
            if let Some(codec) = Compression::from_bits(code).filter(|_| count > 0) {
                compressed.set_item(codec.name(), count)?;
            }
        }
        fields.set_item("compression", compressed)?;
        fields.set_item("unpacked_bytes", segment.unpacked_bytes)?;
        fields.set_item("key_bytes", segment.key_bytes)?;
        fields.set_item("value_bytes", segment.value_bytes)?;
        fields.set_item("null_keys", segment.null_keys)?;
        fields.set_item("null_values", segment.null_values)?;
        list.append(fields)?;
    }
    Ok(list)
}

fn findings_of<'py>(py: Python<'py>, report: &Report) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for finding in &report.findings {
        let fields = PyDict::new(py);
        fields.set_item("kind", finding.kind.name())?;
        fields.set_item("path", finding.path.display().to_string())?;
        fields.set_item("position", finding.position)?;
        fields.set_item("what", &finding.what)?;
        list.append(fields)?;
    }
    Ok(list)
}
