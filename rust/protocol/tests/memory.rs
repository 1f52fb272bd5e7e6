//! What a frame may cost in memory, measured by an allocator that counts: 32 times its size with the worst schema.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; this one counts and hands on")]

mod common;

use common::{every_version, from_bytes, to_bytes};
use ottla_protocol::codec::{Budget, DecodeError, Value};
use ottla_protocol::native::{
    describe_topic_partitions, fetch, list_offsets, metadata, offset_for_leader_epoch, produce,
};
use ottla_protocol::schema::{Kind, Message, Struct, by_name};
use ottla_protocol::wire::{self, Reader};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// One test at a time: what another one takes would be counted too.
static ALONE: Mutex<()> = Mutex::new(());

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
    let _alone = ALONE.lock();
    let (mut taken, mut refused) = (0, 0);
    for (message, version) in every_version() {
        for value in stuffed(message.root(), version, 1000) {
            if check(message, version, &value) { taken += 1 } else { refused += 1 }
        }
    }
    assert!(taken > 1000 && refused > 10, "{taken} taken, {refused} refused");
}

/// The native reader of a request and the versions it serves. What it has read is kept until the peak was taken.
type NativeReader = (&'static str, i16, fn(&mut Reader<'_>, i16) -> wire::Result<()>);

const NATIVE_READERS: [NativeReader; 6] = [
    ("ProduceRequest", 3, |reader, version| produce::ProduceRequest::read(reader, version).map(drop)),
    ("FetchRequest", 4, |reader, version| fetch::FetchRequest::read(reader, version).map(drop)),
    ("ListOffsetsRequest", 1, |reader, version| list_offsets::ListOffsetsRequest::read(reader, version).map(drop)),
    ("MetadataRequest", 0, |reader, version| metadata::MetadataRequest::read(reader, version).map(drop)),
    ("OffsetForLeaderEpochRequest", 2, |reader, version| {
        offset_for_leader_epoch::read_request(reader, version).map(drop)
    }),
    ("DescribeTopicPartitionsRequest", 0, |reader, _| {
        describe_topic_partitions::DescribeTopicPartitionsRequest::read(reader).map(drop)
    }),
];

/// Checks one frame and says whether it was read or why it was not.
fn read_natively((name, _, read): NativeReader, version: i16, frame: &[u8]) -> Option<wire::ErrorKind> {
    let (result, peak) = peak_of(|| read(&mut Reader::new(frame), version));
    let limit = (frame.len() * Budget::TIMES_FRAME).max(Budget::BYTES_MIN);
    assert!(peak <= limit, "{name} v{version}: {peak} bytes for a frame of {}", frame.len());
    result.err().map(|error| error.kind)
}

/// The readers of the native APIs keep the same promise, whole frames or cut ones; and what is whole is refused for
/// nothing but its weight, so the smallest sizes they check counts against are no larger than the schema's.
#[test]
fn no_native_reader_takes_more_than_32_times_its_frame() {
    let _alone = ALONE.lock();
    let (mut taken, mut refused) = (0, 0);
    for reader in NATIVE_READERS {
        let message = by_name(reader.0).unwrap();
        for version in reader.1..=message.versions.high {
            for value in stuffed(message.root(), version, 20_000) {
                let frame = to_bytes(message, version, &value);
                match read_natively(reader, version, &frame) {
                    None => taken += 1,
                    Some(wire::ErrorKind::TooMuchMemory) => refused += 1,
                    Some(other) => panic!("{} v{version}: {other}", reader.0),
                }
                for tenths in 1..10 {
                    read_natively(reader, version, &frame[..frame.len() * tenths / 10]);
                }
            }
        }
    }
    assert!(taken > 50 && refused > 10, "{taken} taken, {refused} refused");
}

/// What clients with something to say send is read: the shortest names, a partition each, the smallest batch there is.
#[test]
fn the_smallest_requests_that_mean_something_are_read() {
    const SMALLEST_BATCH: [u8; 68] = [0; 68];
    let _alone = ALONE.lock();
    for reader in NATIVE_READERS {
        let message = by_name(reader.0).unwrap();
        for version in reader.1..=message.versions.high {
            let request = terse(message.root(), version, &SMALLEST_BATCH, 5000);
            let frame = to_bytes(message, version, &request);
            assert_eq!(read_natively(reader, version, &frame), None, "{} v{version}", reader.0);
        }
    }
}

/// A struct whose lists have `count` elements, those within them one; names of two letters, bytes of a batch.
fn terse(shape: &'static Struct, version: i16, batch: &[u8], count: usize) -> Value {
    let fields = shape.fields.iter().map(|field| {
        if !field.versions.contains(version) || field.tag.is_some() {
            return Value::default_of(field);
        }
        let one = match field.kind {
            Kind::Nested(inner) => terse(inner, version, batch, 1),
            Kind::Str => Value::Str("ab".to_owned()),
            Kind::Bytes => Value::Bytes(batch.to_vec()),
            kind => smallest(kind),
        };
        if field.array { Value::List(vec![one; count]) } else { one }
    });
    Value::Struct(fields.collect())
}
