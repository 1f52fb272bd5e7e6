//! Records as Arrow's: a stream of the Arrow C data interface, which pyarrow, polars, DuckDB and others take. This file has `unsafe`: the
//! interface is C structs with pointers and callbacks.
//!
//! ```text
//! offset     int64                                  timestamp  timestamp[ms, UTC], null where there is none
//! key        binary view, may be null               value      binary view, may be null
//! headers    list of struct (key: utf8, value: binary)
//! ```
//!
//! Keys and values of more than 12 bytes are places in the batches they came in, which live as long as the Arrow array does. A batch of
//! records is a record batch's at the most: no more than `ROWS` rows, and whole pieces of about a megabyte.

#![expect(unsafe_code, reason = "the Arrow C data interface is structs with pointers and callbacks")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use ottla_log::batch::records::{RecordRef, Records as Walk};
use ottla_log::local::{Batches, CURSOR_HEADER};
use ottla_log::{ReadError, StorageError};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use super::log::Log;
use super::native::Native;
use super::process::Owned;
use super::refusal;
use crate::gil::released;

/// Of one record batch, about: a batch of the log stays whole.
const ROWS: usize = 65_536;
const BYTES: usize = 32 << 20;
/// `EIO`: the interface knows errors by numbers, and a text.
const FAILED: c_int = 5;
/// What a view has in it without a place.
const INLINE_BYTES: usize = 12;

const NULLABLE: i64 = 2;

#[repr(C)]
struct ArrowSchema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut ArrowSchema,
    dictionary: *mut ArrowSchema,
    release: Option<unsafe extern "C" fn(*mut ArrowSchema)>,
    private_data: *mut c_void,
}

#[repr(C)]
struct ArrowArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut ArrowArray,
    dictionary: *mut ArrowArray,
    release: Option<unsafe extern "C" fn(*mut ArrowArray)>,
    private_data: *mut c_void,
}

#[repr(C)]
struct ArrowArrayStream {
    get_schema: Option<unsafe extern "C" fn(*mut ArrowArrayStream, *mut ArrowSchema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut ArrowArrayStream, *mut ArrowArray) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut ArrowArrayStream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut ArrowArrayStream)>,
    private_data: *mut c_void,
}

// SAFETY: a stream is used by one thread at a time, whichever: what it points to is ours, and `Send`.
unsafe impl Send for ArrowArrayStream {}

// ---- schema

/// What a field is made of; `children` are its own.
struct Field {
    name: &'static CStr,
    format: &'static CStr,
    flags: i64,
    children: Vec<Field>,
}

struct HeldSchema {
    children: Vec<*mut ArrowSchema>,
}

impl Field {
    const fn leaf(name: &'static CStr, format: &'static CStr, flags: i64) -> Field {
        Field { name, format, flags, children: Vec::new() }
    }

    fn into_schema(self) -> ArrowSchema {
        let children = self.children.into_iter().map(|child| Box::into_raw(Box::new(child.into_schema()))).collect();
        let held = Box::into_raw(Box::new(HeldSchema { children }));
        // SAFETY: made just now.
        let children = unsafe { &mut (*held).children };
        ArrowSchema {
            format: self.format.as_ptr(),
            name: self.name.as_ptr(),
            metadata: ptr::null(),
            flags: self.flags,
            n_children: children.len() as i64,
            children: children.as_mut_ptr(),
            dictionary: ptr::null_mut(),
            release: Some(release_schema),
            private_data: held.cast(),
        }
    }
}

unsafe extern "C" fn release_schema(schema: *mut ArrowSchema) {
    // SAFETY: called once for a schema that `into_schema` made, by whoever has it.
    unsafe {
        let held = Box::from_raw((*schema).private_data.cast::<HeldSchema>());
        for child in &held.children {
            if let Some(release) = (**child).release {
                release(*child);
            }
            drop(Box::from_raw(*child));
        }
        (*schema).release = None;
    }
}

fn schema() -> ArrowSchema {
    let header = Field {
        name: c"item",
        format: c"+s",
        flags: 0,
        children: vec![Field::leaf(c"key", c"u", 0), Field::leaf(c"value", c"z", NULLABLE)],
    };
    let fields = vec![
        Field::leaf(c"offset", c"l", 0),
        Field::leaf(c"timestamp", c"tsm:UTC", NULLABLE),
        Field::leaf(c"key", c"vz", NULLABLE),
        Field::leaf(c"value", c"vz", NULLABLE),
        Field { name: c"headers", format: c"+l", flags: 0, children: vec![header] },
    ];
    Field { name: c"", format: c"+s", flags: 0, children: fields }.into_schema()
}

// ---- arrays

/// Memory an array points to.
enum Buffer {
    None,
    Bits(Vec<u8>),
    Longs(Vec<i64>),
    Ints(Vec<i32>),
    Views(Vec<u128>),
    Shared(Arc<Vec<u8>>),
}

impl Buffer {
    fn pointer(&self) -> *const c_void {
        match self {
            Buffer::None => ptr::null(),
            Buffer::Bits(bytes) => bytes.as_ptr().cast(),
            Buffer::Longs(numbers) => numbers.as_ptr().cast(),
            Buffer::Ints(numbers) => numbers.as_ptr().cast(),
            Buffer::Views(views) => views.as_ptr().cast(),
            Buffer::Shared(bytes) => bytes.as_ptr().cast(),
        }
    }
}

struct HeldArray {
    /// Kept for `pointers`.
    _buffers: Vec<Buffer>,
    pointers: Vec<*const c_void>,
    children: Vec<*mut ArrowArray>,
}

fn array(length: usize, null_count: usize, buffers: Vec<Buffer>, children: Vec<ArrowArray>) -> ArrowArray {
    let pointers = buffers.iter().map(Buffer::pointer).collect();
    let children = children.into_iter().map(|child| Box::into_raw(Box::new(child))).collect();
    let held = Box::into_raw(Box::new(HeldArray { _buffers: buffers, pointers, children }));
    // SAFETY: made just now; its vectors are not changed any more, so that what points into them stays good.
    let inside = unsafe { &mut *held };
    ArrowArray {
        length: length as i64,
        null_count: null_count as i64,
        offset: 0,
        n_buffers: inside.pointers.len() as i64,
        n_children: inside.children.len() as i64,
        buffers: inside.pointers.as_mut_ptr(),
        children: inside.children.as_mut_ptr(),
        dictionary: ptr::null_mut(),
        release: Some(release_array),
        private_data: held.cast(),
    }
}

unsafe extern "C" fn release_array(array: *mut ArrowArray) {
    // SAFETY: called once for an array that `array` made, by whoever has it. A child that was moved away has no `release` any more.
    unsafe {
        let held = Box::from_raw((*array).private_data.cast::<HeldArray>());
        for child in &held.children {
            if let Some(release) = (**child).release {
                release(*child);
            }
            drop(Box::from_raw(*child));
        }
        (*array).release = None;
    }
}

/// Which are there: a bit for each; nothing is written as long as all are.
#[derive(Default)]
struct Validity {
    bits: Vec<u8>,
    length: usize,
    nulls: usize,
}

impl Validity {
    fn push(&mut self, is_there: bool) {
        if !is_there && self.nulls == 0 {
            self.bits = vec![0xff; self.length / 8 + 1];
        }
        self.nulls += usize::from(!is_there);
        if self.nulls > 0 {
            self.bits.resize(self.length / 8 + 1, 0);
            let (byte, bit) = (&mut self.bits[self.length / 8], 1 << (self.length % 8));
            if is_there { *byte |= bit } else { *byte &= !bit }
        }
        self.length += 1;
    }

    fn into_buffer(self) -> Buffer {
        if self.nulls == 0 { Buffer::None } else { Buffer::Bits(self.bits) }
    }
}

/// Keys or values.
#[derive(Default)]
struct Views {
    validity: Validity,
    views: Vec<u128>,
}

impl Views {
    /// `place`: which of the pieces it lies in, and where.
    fn push(&mut self, bytes: Option<&[u8]>, place: impl FnOnce(&[u8]) -> (i32, i32)) {
        self.validity.push(bytes.is_some());
        let mut view = [0; 16];
        if let Some(bytes) = bytes {
            view[..4].copy_from_slice(&(bytes.len() as i32).to_ne_bytes());
            if bytes.len() <= INLINE_BYTES {
                view[4..4 + bytes.len()].copy_from_slice(bytes);
            } else {
                let (piece, at) = place(bytes);
                view[4..8].copy_from_slice(&bytes[..4]);
                view[8..12].copy_from_slice(&piece.to_ne_bytes());
                view[12..].copy_from_slice(&at.to_ne_bytes());
            }
        }
        self.views.push(u128::from_ne_bytes(view));
    }

    fn into_array(self, pieces: &[Arc<Vec<u8>>]) -> ArrowArray {
        let (length, nulls) = (self.views.len(), self.validity.nulls);
        let mut buffers = vec![self.validity.into_buffer(), Buffer::Views(self.views)];
        buffers.extend(pieces.iter().cloned().map(Buffer::Shared));
        buffers.push(Buffer::Longs(pieces.iter().map(|piece| piece.len() as i64).collect()));
        array(length, nulls, buffers, Vec::new())
    }
}

#[derive(Default)]
struct Headers {
    ends: Vec<i32>,
    key_ends: Vec<i32>,
    keys: Vec<u8>,
    validity: Validity,
    value_ends: Vec<i32>,
    values: Vec<u8>,
}

impl Headers {
    fn push<'a>(&mut self, headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) {
        for (key, value) in headers.filter(|(key, _)| *key != CURSOR_HEADER.as_bytes()) {
            self.keys.extend_from_slice(String::from_utf8_lossy(key).as_bytes());
            self.key_ends.push(self.keys.len() as i32);
            self.validity.push(value.is_some());
            self.values.extend_from_slice(value.unwrap_or_default());
            self.value_ends.push(self.values.len() as i32);
        }
        self.ends.push(self.key_ends.len() as i32);
    }

    fn into_array(self) -> ArrowArray {
        let places = |ends: Vec<i32>| Buffer::Ints(std::iter::once(0).chain(ends).collect());
        let (length, count, nulls) = (self.ends.len(), self.key_ends.len(), self.validity.nulls);
        let keys = array(count, 0, vec![Buffer::None, places(self.key_ends), Buffer::Bits(self.keys)], Vec::new());
        let values = vec![self.validity.into_buffer(), places(self.value_ends), Buffer::Bits(self.values)];
        let values = array(count, nulls, values, Vec::new());
        let headers = array(count, 0, vec![Buffer::None], vec![keys, values]);
        array(length, 0, vec![Buffer::None, places(self.ends)], vec![headers])
    }
}

// ---- stream

struct Stream {
    batches: Owned<Batches>,
    start: i64,
    stop: i64,
    error: CString,
}

impl Stream {
    /// The next record batch; None at the end.
    fn next(&mut self) -> Result<Option<ArrowArray>, String> {
        let batches = self.batches.get_mut().map_err(|error| error.to_string())?;
        gather(batches, self.start, self.stop).map_err(|error| error.to_string())
    }
}

/// Records below `stop`, as many as a record batch takes; None: there are none.
fn gather(batches: &mut Batches, start: i64, stop: i64) -> Result<Option<ArrowArray>, ReadError> {
    let (mut offsets, mut times, mut time_validity) = (Vec::new(), Vec::new(), Validity::default());
    let (mut keys, mut values, mut headers) = (Views::default(), Views::default(), Headers::default());
    let mut pieces: Vec<Arc<Vec<u8>>> = Vec::new();
    let mut bytes = 0;
    while offsets.len() < ROWS && bytes < BYTES {
        let Some(batch) = batches.next(stop)? else { break };
        if pieces.last().is_none_or(|piece| !Arc::ptr_eq(piece, &batch.bytes)) {
            pieces.push(batch.bytes.clone());
            bytes += batch.bytes.len();
        }
        let (piece, begin) = (pieces.len() as i32 - 1, batch.bytes.as_ptr() as usize);
        let place = |part: &[u8]| (piece, (part.as_ptr() as usize - begin) as i32);
        for view in Walk::new(&batch.bytes[batch.at..batch.end], batch.header.record_count) {
            let view = view.map_err(|what| damaged(batches, what))?;
            let record = RecordRef::new(&batch.header, view);
            if !(start..stop).contains(&record.offset) {
                continue;
            }
            offsets.push(record.offset);
            time_validity.push(record.timestamp_ms >= 0);
            times.push(record.timestamp_ms);
            keys.push(record.key, place);
            values.push(record.value, place);
            headers.push(record.headers());
        }
    }
    let length = offsets.len();
    if length == 0 {
        return Ok(None);
    }
    let nulls = time_validity.nulls;
    let columns = vec![
        array(length, 0, vec![Buffer::None, Buffer::Longs(offsets)], Vec::new()),
        array(length, nulls, vec![time_validity.into_buffer(), Buffer::Longs(times)], Vec::new()),
        keys.into_array(&pieces),
        values.into_array(&pieces),
        headers.into_array(),
    ];
    Ok(Some(array(length, 0, vec![Buffer::None], columns)))
}

fn damaged(batches: &Batches, what: impl std::fmt::Display) -> ReadError {
    ReadError::Storage(StorageError::Corrupt {
        path: batches.path().to_path_buf(),
        position: 0,
        what: what.to_string(),
    })
}

unsafe extern "C" fn get_schema(_stream: *mut ArrowArrayStream, out: *mut ArrowSchema) -> c_int {
    // SAFETY: `out` is the caller's to be written.
    unsafe { ptr::write(out, schema()) };
    0
}

unsafe extern "C" fn get_next(stream: *mut ArrowArrayStream, out: *mut ArrowArray) -> c_int {
    // SAFETY: the stream is one of `stream_of`, not released yet, and used by one thread at a time.
    let this = unsafe { &mut *(*stream).private_data.cast::<Stream>() };
    // A panic must not go through C.
    let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| this.next()));
    let failed = match next {
        Ok(Ok(found)) => {
            // Its end is an array that is released already.
            let array = found.unwrap_or(ArrowArray {
                length: 0,
                null_count: 0,
                offset: 0,
                n_buffers: 0,
                n_children: 0,
                buffers: ptr::null_mut(),
                children: ptr::null_mut(),
                dictionary: ptr::null_mut(),
                release: None,
                private_data: ptr::null_mut(),
            });
            // SAFETY: `out` is the caller's to be written.
            unsafe { ptr::write(out, array) };
            return 0;
        }
        Ok(Err(error)) => error,
        Err(_) => "a bug in Ottla: reading panicked".to_owned(),
    };
    this.error = CString::new(failed.replace('\0', " ")).unwrap_or_default();
    FAILED
}

unsafe extern "C" fn get_last_error(stream: *mut ArrowArrayStream) -> *const c_char {
    // SAFETY: as in `get_next`; the text lives until the next call, as the interface has it.
    unsafe { (*(*stream).private_data.cast::<Stream>()).error.as_ptr() }
}

unsafe extern "C" fn release_stream(stream: *mut ArrowArrayStream) {
    // SAFETY: called once for a stream of `stream_of`, by whoever has it.
    unsafe {
        drop(Box::from_raw((*stream).private_data.cast::<Stream>()));
        (*stream).release = None;
    }
}

fn stream_of(stream: Stream) -> ArrowArrayStream {
    ArrowArrayStream {
        get_schema: Some(get_schema),
        get_next: Some(get_next),
        get_last_error: Some(get_last_error),
        release: Some(release_stream),
        private_data: Box::into_raw(Box::new(stream)).cast(),
    }
}

/// A capsule that nobody took the stream out of releases it.
impl Drop for ArrowArrayStream {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: who takes a stream over leaves none here.
            unsafe { release(self) };
        }
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct ArrowRecords {
    log: Owned<Native>,
    start: i64,
    stop: i64,
}

#[pymethods]
impl ArrowRecords {
    #[new]
    #[pyo3(signature = (log, start=None, stop=None))]
    fn new(py: Python<'_>, log: &Log, start: Option<i64>, stop: Option<i64>) -> PyResult<Self> {
        let (start, stop) = log.range(py, start, stop)?;
        Ok(Self { log: Owned::new(log.open()?.clone()), start, stop })
    }

    /// Another schema may be asked for, and need not be given.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let (log, start) = (self.log.get()?, self.start);
        let batches = released(py, || log.batches(start)).map_err(|error| refusal::storage(&error))?;
        let stream = Stream { batches: Owned::new(batches), start, stop: self.stop, error: CString::default() };
        PyCapsule::new_with_value(py, stream_of(stream), c"arrow_array_stream")
    }
}
