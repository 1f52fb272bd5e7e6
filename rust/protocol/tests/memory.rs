//! What a frame may cost in memory, measured by an allocator that counts: 32 times its size with the worst schema.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; this one counts and hands on")]

mod common;

use common::{every_version, from_bytes, to_bytes};
use ottla_protocol::codec::{Budget, DecodeError, Value};
use ottla_protocol::schema::{Kind, Message, Struct};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Relaxed) + layout.size();
        PEAK.fetch_max(now, Relaxed);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes taken at most while `work` runs, beyond those taken before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = work();
    (result, PEAK.load(Relaxed) - before)
}

/// Values with one array of that many elements, the smallest there are: once for each array of the struct, at any depth.
fn stuffed(shape: &'static Struct, version: i16, count: usize) -> Vec<Value> {
    let plain = || -> Vec<Value> { shape.fields.iter().map(Value::default_of).collect() };
    let mut made = Vec::new();
    for (place, field) in shape.fields.iter().enumerate().filter(|(_, field)| field.versions.contains(version)) {
        let mut put = |value: Value| {
            let mut fields = plain();
            fields[place] = value;
            made.push(Value::Struct(fields));
        };
        if field.array {
            put(Value::List(vec![smallest(field.kind); count]));
        }
        if let Kind::Nested(inner) = field.kind {
            for value in stuffed(inner, version, count) {
                put(if field.array { Value::List(vec![value]) } else { value });
            }
            // Many elements, each with an array of a few.
            if field.array {
                for value in stuffed(inner, version, 2) {
                    put(Value::List(vec![value; count / 4]));
                }
            }
        }
    }
    made
}

fn smallest(kind: Kind) -> Value {
    match kind {
        Kind::Nested(inner) => Value::Struct(inner.fields.iter().map(Value::default_of).collect()),
        Kind::Bool => Value::Bool(false),
        Kind::Float64 => Value::Float(0.0),
        Kind::Uuid => Value::Uuid([0; 16]),
        Kind::Str => Value::Str(String::new()),
        Kind::Bytes => Value::Bytes(Vec::new()),
        _ => Value::Int(0),
    }
}

fn check(message: &'static Message, version: i16, value: &Value) -> bool {
    let frame = to_bytes(message, version, value);
    let (result, peak) = peak_of(|| from_bytes(message, version, &frame));
    let limit = (frame.len() * Budget::TIMES_FRAME).max(Budget::BYTES_MIN);
    // The decoder's own stack of fields, which no frame makes longer.
    let own = 4096;
    assert!(peak <= limit + own, "{} v{version}: {peak} bytes for a frame of {}", message.name, frame.len());
    match result {
        Ok(_) => true,
        Err(DecodeError::TooMuchMemory { .. }) => false,
        Err(error) => panic!("{} v{version}: {error}", message.name),
    }
}

/// No frame takes more than 32 times its size, whatever message it holds; some hold so much that they are refused.
#[test]
fn no_message_takes_more_than_32_times_its_frame() {
    let (mut taken, mut refused) = (0, 0);
    for (message, version) in every_version() {
        for value in stuffed(message.root(), version, 1000) {
            if check(message, version, &value) { taken += 1 } else { refused += 1 }
        }
    }
    assert!(taken > 1000 && refused > 10, "{taken} taken, {refused} refused");
}
