//! `_core.Log`.

mod appending;

use std::sync::Arc;
use std::time::Duration;

use ottla_log::batch::builder::BatchBuilder;
use ottla_log::batch::{Compression, NewRecord};
use ottla_log::compaction::Pace;
use ottla_log::local::{LocalLog, check_name};
use ottla_log::{AppendError, CompressionSetting, Durability, Offsets, ReadError};
use ottla_server::engine::partition_config;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use self::appending::{moves_of, too_long};
use super::columns::{ColumnView, Columns, Gathered, GivenColumn, timestamps_of};
use super::directory::{LogDirectory, random_bytes};
use super::encode::{Draft, Field, Shape, headers_of, timestamp_of};
use super::native::{LogFollower, Native};
use super::process::Owned;
use super::records::{Patience, Records};
use super::refusal;
use crate::errors;
use crate::gil::{SIGNALS_EVERY, Signals, heard, released};

/// See `_core.pyi`.
#[pyclass(subclass, frozen, module = "ottla._core")]
pub struct Log {
    native: Owned<Native>,
    /// Of a log of one's own.
    shape: Shape,
    is_fsync: bool,
}

/// A program that let go of its log has closed it.
impl Drop for Log {
    fn drop(&mut self) {
        let Ok(native) = self.native.get() else { return };
        if native.is_closed() {
            return;
        }
        // Without an interpreter to attach to there is none whose threads the closing could hold up.
        let closed = Python::try_attach(|py| released(py, || native.close())).unwrap_or_else(|| native.close());
        if let Err(error) = closed {
            tracing::error!(path = %native.path().display(), %error, "a log that was let go of was not closed cleanly");
        }
    }
}

/// So many items of an iterable go into an atomic batch before the clock is looked at.
const ITEMS_AT_ONCE: usize = 256;

/// Asks for signals on the way.
struct Interrupted {
    signals: Signals,
    stopped: Option<PyErr>,
}

impl Pace for Interrupted {
    fn spend(&mut self, _bytes: usize) -> bool {
        self.stopped = self.stopped.take().or_else(|| self.signals.check().err());
        self.stopped.is_none()
    }
}

impl Log {
    pub fn open(&self) -> PyResult<&Native> {
        let native = self.native.get()?;
        if native.is_closed() { Err(refusal::closed()) } else { Ok(native) }
    }

    /// To be written.
    fn own(&self) -> PyResult<&Arc<LocalLog>> {
        self.open()?.own()
    }

    /// An append may hold the partition's lock while it writes: asked without the GIL.
    fn offsets(&self, py: Python<'_>) -> PyResult<Offsets> {
        let native = self.open()?;
        released(py, || native.offsets()).map_err(|error| refusal::storage(&error))
    }

    /// `offset` is none that the log has.
    fn out_of_range(&self, offset: i64, offsets: &Offsets) -> PyErr {
        match self.native.get() {
            Ok(native) => errors::out_of_range(offset, offsets.log_start, offsets.log_end, native.path()),
            Err(forked) => forked,
        }
    }

    pub fn range(&self, py: Python<'_>, start: Option<i64>, stop: Option<i64>) -> PyResult<(i64, i64)> {
        let offsets = self.offsets(py)?;
        let start = start.unwrap_or(offsets.log_start);
        if start < offsets.log_start || start > offsets.log_end {
            return Err(self.out_of_range(start, &offsets));
        }
        match stop {
            Some(stop) if stop < 0 => Err(self.out_of_range(stop, &offsets)),
            stop => Ok((start, stop.unwrap_or(i64::MAX).min(offsets.last_stable))),
        }
    }
}

#[pymethods]
impl Log {
    /// A directory to be opened with all that follows, or a follower and nothing else.
    #[new]
    #[pyo3(signature = (source, topic="", topic_id=[0; 16], leader_epoch=-1, settings=Vec::new()))]
    fn new(
        py: Python<'_>,
        source: &Bound<'_, PyAny>,
        topic: &str,
        topic_id: [u8; 16],
        leader_epoch: i32,
        settings: Vec<(String, String)>,
    ) -> PyResult<Self> {
        if let Ok(follower) = source.cast::<LogFollower>() {
            let native = Native::Other(follower.get().native()?);
            let shape = Shape { compression: Compression::None, level: 0, segment_bytes: 0 };
            return Ok(Self { native: Owned::new(native), shape, is_fsync: false });
        }
        let directory = source.cast::<LogDirectory>()?;
        let config = partition_config(settings.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .map_err(PyValueError::new_err)?;
        let compression = match config.compression {
            CompressionSetting::Always(compression) => compression,
            CompressionSetting::Producer => Compression::None,
        };
        let shape =
            Shape { compression, level: config.level_of(compression), segment_bytes: config.segment_bytes as usize };
        let is_fsync = config.durability == Durability::Fsync;
        let native = directory.get().take()?;
        let log = released(py, || native.open_log(topic, topic_id, leader_epoch, config, random_bytes()))
            .map_err(|error: AppendError| refusal::append(&error))?;
        Ok(Self { native: Owned::new(Native::Own(Arc::new(log))), shape, is_fsync })
    }

    #[pyo3(signature = (value, *, key=None, headers=None, timestamp=None, cursors=None, wait=true))]
    #[expect(clippy::too_many_arguments, reason = "one keyword for each part of a record")]
    fn append(
        &self,
        py: Python<'_>,
        value: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        headers: Option<&Bound<'_, PyAny>>,
        timestamp: Option<&Bound<'_, PyAny>>,
        cursors: Option<&Bound<'_, PyDict>>,
        wait: bool,
    ) -> PyResult<i64> {
        let native = self.own()?;
        let draft = Draft {
            key: Field::given("key", key)?,
            value: Field::of("value", value)?,
            headers: headers_of(headers)?,
            timestamp_ms: timestamp.map_or(Ok(None), timestamp_of)?,
        };
        let moves = moves_of(cursors)?;
        self.shape.check_fits(draft.need_bytes() - 64)?;
        let mut builder = self.shape.builder();
        draft.push(&mut builder, native.now_ms(), &moves);
        self.append_and_settle(py, builder, &moves, wait)
    }

    #[pyo3(signature = (records, *, atomic=false, cursors=None, wait=true))]
    fn append_many(
        &self,
        py: Python<'_>,
        records: &Bound<'_, PyAny>,
        atomic: bool,
        cursors: Option<&Bound<'_, PyDict>>,
        wait: bool,
    ) -> PyResult<Option<i64>> {
        let native = self.own()?;
        let moves = moves_of(cursors)?;
        if !moves.is_empty() && !atomic {
            return Err(refusal::invalid("cursors go with one batch: give atomic=True"));
        }
        let mut last = None;
        let mut builder = self.shape.builder();
        let mut now_ms = native.now_ms();
        let mut bytes = 0;
        // Held back by one: the last record of a batch carries its cursors.
        let mut held: Option<Draft<'_>> = None;
        let mut signals = Signals::new();
        for (count, item) in records.try_iter()?.enumerate() {
            if atomic && count % ITEMS_AT_ONCE == 0 {
                signals.breathe(py)?;
            }
            let draft = Draft::of(&item?)?;
            let need = draft.need_bytes();
            self.shape.check_fits(need - 64)?;
            if atomic {
                bytes += need;
                // What a batch cannot be is found out before all of it is in memory.
                if bytes > i32::MAX as usize {
                    return Err(too_long());
                }
                if let Some(before) = held.replace(draft) {
                    before.push(&mut builder, now_ms, &[]);
                }
                continue;
            }
            if self.shape.is_full(&builder, need) {
                let full = std::mem::replace(&mut builder, self.shape.builder());
                last = Some(self.append_built(py, full, &moves)?);
                py.check_signals()?;
                now_ms = native.now_ms();
            }
            draft.push(&mut builder, now_ms, &[]);
        }
        if let Some(draft) = held {
            draft.push(&mut builder, now_ms, &moves);
        }
        if !builder.is_empty() {
            last = Some(self.append_built(py, builder, &moves)?);
        } else if !moves.is_empty() {
            return Err(refusal::invalid("cursors go with a record, and there is none: call commit"));
        }
        if let Some(last) = last {
            self.settle(py, last, wait)?;
        }
        Ok(last)
    }

    #[pyo3(signature = (values, *, keys=None, timestamps=None, wait=true))]
    fn append_columns(
        &self,
        py: Python<'_>,
        values: &Bound<'_, PyAny>,
        keys: Option<&Bound<'_, PyAny>>,
        timestamps: Option<&Bound<'_, PyAny>>,
        wait: bool,
    ) -> PyResult<Option<i64>> {
        let native = self.own()?;
        let given = (GivenColumn::of(values)?, keys.map(GivenColumn::of).transpose()?);
        let (values, keys) = (given.0.view(), given.1.as_ref().map(GivenColumn::view));
        let count = values.count();
        if let Some(keys) = keys.filter(|keys| keys.count() != count) {
            return Err(PyValueError::new_err(format!("{} keys for {count} values", keys.count())));
        }
        let timestamps = timestamps.map(|given| timestamps_of(given, count)).transpose()?;
        let mut largest = 0;
        for index in 0..count {
            let of = |column: ColumnView<'_>| column.get(index).map_or(0, <[u8]>::len);
            largest = largest.max(of(values) + keys.map_or(0, of));
        }
        self.shape.check_fits(largest)?;
        let shape = self.shape;
        let append = || -> PyResult<Option<i64>> {
            let (mut last, mut builder, now_ms) = (None, shape.builder(), native.now_ms());
            let mut signals = Signals::new();
            let mut send = |builder: BatchBuilder| -> PyResult<()> {
                let mut batch = builder.finish().ok_or_else(too_long)?;
                while !native.wait_for_room(SIGNALS_EVERY).map_err(|error| refusal::storage(&error))? {
                    signals.check()?;
                }
                last = Some(native.append(&mut batch, &[]).map_err(|error| refusal::append(&error))?.last_offset);
                signals.check()
            };
            for index in 0..count {
                let key = keys.and_then(|keys| keys.get(index));
                let value = values.get(index);
                let need = 64 + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
                if shape.is_full(&builder, need) {
                    send(std::mem::replace(&mut builder, shape.builder()))?;
                }
                let timestamp_ms = timestamps.as_ref().map_or(now_ms, |timestamps| timestamps[index]);
                builder.push(&NewRecord { timestamp_ms, key, value, headers: &[] });
            }
            if !builder.is_empty() {
                send(builder)?;
            }
            Ok(last)
        };
        let last = released(py, append)?;
        if let Some(last) = last {
            self.settle(py, last, wait)?;
        }
        Ok(last)
    }

    #[pyo3(signature = (start=None, stop=None, *, max_bytes=67_108_864))]
    fn read_columns(
        &self,
        py: Python<'_>,
        start: Option<i64>,
        stop: Option<i64>,
        max_bytes: usize,
    ) -> PyResult<Columns> {
        let native = self.open()?;
        let (start, stop) = self.range(py, start, stop)?;
        let (gathered, next) = released(py, || {
            let mut batches = native.batches(start).map_err(|error| refusal::storage(&error))?;
            Gathered::read(&mut batches, start, stop, max_bytes, &mut Signals::new())
        })?;
        Columns::new(py, gathered, next)
    }

    #[pyo3(signature = (start=None, stop=None))]
    fn read(slf: &Bound<'_, Self>, start: Option<i64>, stop: Option<i64>) -> PyResult<Records> {
        let (start, stop) = slf.get().range(slf.py(), start, stop)?;
        Records::new(slf, start, stop, Patience::None)
    }

    #[pyo3(signature = (start=None, timeout_ms=None))]
    fn follow_records(slf: &Bound<'_, Self>, start: Option<i64>, timeout_ms: Option<u64>) -> PyResult<Records> {
        let this = slf.get();
        let start = match start {
            Some(start) => this.range(slf.py(), Some(start), None)?.0,
            None => this.offsets(slf.py())?.last_stable,
        };
        let patience =
            timeout_ms.map_or(Patience::ForEver, |timeout_ms| Patience::For(Duration::from_millis(timeout_ms)));
        Records::new(slf, start, i64::MAX, patience)
    }

    #[getter]
    fn start_offset(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.offsets(py)?.log_start)
    }

    #[getter]
    fn end_offset(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.offsets(py)?.log_end)
    }

    #[getter]
    fn readable_offset(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.offsets(py)?.last_stable)
    }

    #[getter]
    fn durable_offset(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.offsets(py)?.durable)
    }

    fn offset_at(&self, py: Python<'_>, timestamp: i64) -> PyResult<i64> {
        let native = self.open()?;
        let found = released(py, || native.lookup_timestamp(timestamp))
            .map_err(|error| refusal::read(&error, native.path()))?;
        let end = self.offsets(py)?.last_stable;
        Ok(found.map_or(end, |found| found.offset.min(end)))
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        let native = self.own()?.clone();
        heard(py, move || native.sync())?.map_err(|error| refusal::storage(&error))
    }

    #[pyo3(signature = (offset, *, cursors=None))]
    fn truncate(&self, py: Python<'_>, offset: i64, cursors: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let native = self.own()?;
        let moves = moves_of(cursors)?;
        released(py, || native.truncate(offset, &moves))
            .map_err(|error| refusal::truncate(&error, offset, native.partition().path()))
    }

    fn delete_before(&self, py: Python<'_>, offset: i64) -> PyResult<i64> {
        let native = self.own()?;
        if offset < 0 {
            let offsets = self.offsets(py)?;
            return Err(self.out_of_range(offset, &offsets));
        }
        released(py, || native.delete_before(offset)).map_err(|error| refusal::read(&error, native.partition().path()))
    }

    fn compact(&self, py: Python<'_>) -> PyResult<(u64, u64)> {
        let native = self.own()?;
        if !native.partition().config().cleanup_policy.compact {
            return Err(refusal::invalid("this log keeps every record: open it with compacted=True"));
        }
        // What is compacted must be on the disk: little is left to be synced then.
        self.sync(py)?;
        let mut pace = Interrupted { signals: Signals::new(), stopped: None };
        let done = released(py, || native.compact(&mut pace));
        match pace.stopped {
            Some(stopped) => Err(stopped),
            None => done.map_err(|error| refusal::storage(&error)),
        }
    }

    fn cursor(&self, py: Python<'_>, name: &str) -> PyResult<Option<i64>> {
        check_name(name).map_err(|error| refusal::cursor(&error))?;
        let native = self.open()?;
        released(py, || native.cursor(name)).map_err(|error| refusal::read(&error, native.path()))
    }

    fn commit(&self, py: Python<'_>, cursors: &Bound<'_, PyDict>) -> PyResult<()> {
        let native = self.own()?;
        let moves = moves_of(Some(cursors))?;
        released(py, || native.commit(&moves)).map_err(|error| refusal::cursor(&error))
    }

    fn forget_cursor(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        let native = self.own()?;
        released(py, || native.forget(name)).map_err(|error| refusal::cursor(&error))
    }

    fn status_values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let values = PyDict::new(py);
        let native = match self.open()? {
            Native::Own(native) => native,
            Native::Other(native) => {
                let (status, cursors) = released(py, || Ok((native.status()?, native.cursors()?)))
                    .map_err(|error: ReadError| refusal::read(&error, native.path()))?;
                let page = status.page;
                let end = page.readable.max(page.log_start);
                values.set_item("path", native.path().display().to_string())?;
                values.set_item("read_only", true)?;
                values.set_item("has_writer", page.is_open)?;
                values.set_item("start_offset", page.log_start)?;
                for name in ["end_offset", "readable_offset", "durable_offset"] {
                    values.set_item(name, end)?;
                }
                values.set_item("segments", status.segments)?;
                values.set_item("bytes", status.bytes)?;
                values.set_item("unsynced_bytes", 0)?;
                values.set_item("clean_start", py.None())?;
                values.set_item("offline", py.None())?;
                values.set_item("cursors", cursors)?;
                return Ok(values);
            }
        };
        let status = released(py, || native.status());
        let offsets = status.partition.offsets;
        values.set_item("path", native.partition().path().display().to_string())?;
        values.set_item("read_only", false)?;
        values.set_item("has_writer", true)?;
        values.set_item("start_offset", offsets.log_start)?;
        values.set_item("end_offset", offsets.log_end)?;
        values.set_item("readable_offset", offsets.last_stable)?;
        values.set_item("durable_offset", offsets.durable)?;
        values.set_item("segments", status.partition.segments)?;
        values.set_item("bytes", status.partition.bytes)?;
        values.set_item("unsynced_bytes", status.unsynced_bytes)?;
        values.set_item("clean_start", status.was_clean)?;
        values.set_item("offline", native.ended().map(|error| error.to_string()))?;
        values.set_item("cursors", status.cursors.into_iter().collect::<std::collections::BTreeMap<_, _>>())?;
        Ok(values)
    }

    #[getter]
    fn read_only(&self) -> PyResult<bool> {
        Ok(matches!(self.native.get()?, Native::Other(_)))
    }

    #[getter]
    fn closed(&self) -> PyResult<bool> {
        Ok(self.native.get()?.is_closed())
    }

    /// Nothing happens in a forked child: the log is its parent's.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if !self.native.is_ours() {
            return Ok(());
        }
        let native = self.native.get()?;
        released(py, || native.close()).map_err(|error| refusal::storage(&error))
    }
}
