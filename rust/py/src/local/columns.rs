//! `_core.Columns`: many records as a few buffers, in one crossing.

use ottla_log::StorageError;
use ottla_log::batch::records::RecordRef;
use ottla_log::batch::records::Records as Walk;
use ottla_log::local::Batches;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PyTuple};

use super::encode::Field;
use super::refusal;
use crate::gil::Signals;

/// Values end to end, and where each begins; the last place is the end. Null where `nulls` says so.
#[derive(Default)]
struct Column {
    data: Vec<u8>,
    places: Vec<i64>,
    nulls: Vec<u8>,
    has_nulls: bool,
}

impl Column {
    fn push(&mut self, value: Option<&[u8]>) {
        if self.places.is_empty() {
            self.places.push(0);
        }
        self.data.extend_from_slice(value.unwrap_or_default());
        self.places.push(self.data.len() as i64);
        self.nulls.push(u8::from(value.is_none()));
        self.has_nulls |= value.is_none();
    }
}

/// What a read of columns collects.
#[derive(Default)]
pub struct Gathered {
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: Column,
    values: Column,
}

impl Gathered {
    /// Whole batches below `stop`, until there are `bytes_max` of data. The offset to go on from.
    pub fn read(
        batches: &mut Batches,
        start: i64,
        stop: i64,
        bytes_max: usize,
        signals: &mut Signals,
    ) -> PyResult<(Gathered, i64)> {
        let mut gathered = Gathered::default();
        while gathered.values.data.len() + gathered.keys.data.len() < bytes_max {
            signals.check()?;
            let Some(batch) = batches.next(stop).map_err(|error| refusal::read(&error, batches.path()))? else { break };
            for view in Walk::new(&batch.bytes[batch.at..batch.end], batch.header.record_count) {
                let view = view.map_err(|what| {
                    let (path, position) = (batches.path().to_path_buf(), 0);
                    refusal::storage(&StorageError::Corrupt { path, position, what: what.to_string() })
                })?;
                let record = RecordRef::new(&batch.header, view);
                if (start..stop).contains(&record.offset) {
                    gathered.offsets.push(record.offset);
                    gathered.timestamps.push(record.timestamp_ms);
                    gathered.keys.push(record.key);
                    gathered.values.push(record.value);
                }
            }
        }
        let next = batches.next_offset().min(stop);
        Ok((gathered, next))
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct Columns {
    #[pyo3(get)]
    count: usize,
    #[pyo3(get)]
    next_offset: i64,
    offsets: Py<PyBytes>,
    timestamps: Py<PyBytes>,
    keys: Taken,
    values: Taken,
}

struct Taken {
    data: Py<PyBytes>,
    places: Py<PyBytes>,
    nulls: Option<Py<PyBytes>>,
}

fn numbers(py: Python<'_>, numbers: &[i64]) -> PyResult<Py<PyBytes>> {
    let bytes = PyBytes::new_with(py, numbers.len() * 8, |to| {
        for (to, number) in to.chunks_exact_mut(8).zip(numbers) {
            to.copy_from_slice(&number.to_ne_bytes());
        }
        Ok(())
    })?;
    Ok(bytes.unbind())
}

fn integers<'py>(py: Python<'py>, bytes: &Py<PyBytes>) -> PyResult<Bound<'py, PyAny>> {
    PyMemoryView::from(bytes.bind(py).as_any())?.call_method1("cast", ("q",))
}

impl Taken {
    fn new(py: Python<'_>, mut column: Column) -> PyResult<Taken> {
        if column.places.is_empty() {
            column.places.push(0);
        }
        Ok(Taken {
            data: PyBytes::new(py, &column.data).unbind(),
            places: numbers(py, &column.places)?,
            nulls: column.has_nulls.then(|| PyBytes::new(py, &column.nulls).unbind()),
        })
    }

    fn get<'py>(&self, py: Python<'py>) -> PyResult<ColumnTuple<'py>> {
        let nulls = self.nulls.as_ref().map(|nulls| nulls.bind(py).clone());
        Ok((self.data.bind(py).clone(), integers(py, &self.places)?, nulls))
    }
}

/// Data, places, nulls.
type ColumnTuple<'py> = (Bound<'py, PyBytes>, Bound<'py, PyAny>, Option<Bound<'py, PyBytes>>);

impl Columns {
    pub fn new(py: Python<'_>, gathered: Gathered, next_offset: i64) -> PyResult<Columns> {
        Ok(Columns {
            count: gathered.offsets.len(),
            next_offset,
            offsets: numbers(py, &gathered.offsets)?,
            timestamps: numbers(py, &gathered.timestamps)?,
            keys: Taken::new(py, gathered.keys)?,
            values: Taken::new(py, gathered.values)?,
        })
    }
}

#[pymethods]
impl Columns {
    #[getter]
    fn offsets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        integers(py, &self.offsets)
    }

    #[getter]
    fn timestamps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        integers(py, &self.timestamps)
    }

    #[getter]
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<ColumnTuple<'py>> {
        self.keys.get(py)
    }

    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> PyResult<ColumnTuple<'py>> {
        self.values.get(py)
    }

    fn __len__(&self) -> usize {
        self.count
    }
}

/// A column that is given: data end to end, and places.
pub struct GivenColumn<'py> {
    data: Field<'py>,
    places: Vec<i64>,
    nulls: Field<'py>,
}

/// Its bytes, wherever they lie.
#[derive(Clone, Copy)]
pub struct ColumnView<'a> {
    data: &'a [u8],
    places: &'a [i64],
    nulls: Option<&'a [u8]>,
}

fn integers_of(what: &str, given: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    let wrong = || PyTypeError::new_err(format!("{what} are a buffer of 64-bit integers"));
    let view = PyMemoryView::from(given).map_err(|_| wrong())?;
    let format: String = view.getattr("format")?.extract()?;
    if !matches!(format.as_str(), "q" | "l" | "n" | "<q" | "=q") || view.getattr("itemsize")?.extract::<usize>()? != 8 {
        return Err(wrong());
    }
    let bytes = view.call_method0("tobytes")?.cast_into::<PyBytes>()?;
    Ok(bytes.as_bytes().chunks_exact(8).map(|chunk| i64::from_ne_bytes(chunk.try_into().unwrap_or_default())).collect())
}

impl<'py> GivenColumn<'py> {
    /// (data, places), or (data, places, nulls).
    pub fn of(given: &Bound<'py, PyAny>) -> PyResult<GivenColumn<'py>> {
        let wrong = || PyTypeError::new_err("a column is (data, places) or (data, places, nulls)");
        let fields = given.cast::<PyTuple>().map_err(|_| wrong())?;
        if !(2..=3).contains(&fields.len()) {
            return Err(wrong());
        }
        let data = Field::of("column's data", &fields.get_item(0)?)?;
        let places = integers_of("places", &fields.get_item(1)?)?;
        let nulls = if fields.len() > 2 { Field::of("column's nulls", &fields.get_item(2)?)? } else { Field::Null };
        let length = data.bytes().ok_or_else(wrong)?.len() as i64;
        let is_ordered = places.windows(2).all(|pair| pair[0] <= pair[1]);
        let is_inside =
            places.first().is_some_and(|first| *first >= 0) && places.last().is_some_and(|last| *last <= length);
        if !is_ordered || !is_inside {
            return Err(PyValueError::new_err(
                "places of a column begin at 0 or later, do not fall, and end within its data",
            ));
        }
        if nulls.bytes().is_some_and(|nulls| nulls.len() + 1 != places.len()) {
            return Err(PyValueError::new_err("a column has one null byte for each value"));
        }
        Ok(GivenColumn { data, places, nulls })
    }

    pub fn view(&self) -> ColumnView<'_> {
        ColumnView { data: self.data.bytes().unwrap_or_default(), places: &self.places, nulls: self.nulls.bytes() }
    }
}

impl<'a> ColumnView<'a> {
    pub fn count(&self) -> usize {
        self.places.len() - 1
    }

    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        if self.nulls.is_some_and(|nulls| nulls[index] != 0) {
            return None;
        }
        Some(&self.data[self.places[index] as usize..self.places[index + 1] as usize])
    }
}

/// As many as there are values.
pub fn timestamps_of(given: &Bound<'_, PyAny>, count: usize) -> PyResult<Vec<i64>> {
    let timestamps = integers_of("timestamps", given)?;
    if timestamps.len() != count {
        return Err(PyValueError::new_err(format!("{} timestamps for {count} values", timestamps.len())));
    }
    if let Some(early) = timestamps.iter().find(|timestamp| **timestamp < 0) {
        return Err(refusal::invalid(format!("timestamp {early} is before 1970")));
    }
    Ok(timestamps)
}
