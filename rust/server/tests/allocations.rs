//! How often a Produce asks for memory, counted by an allocator: requests of one record come by the ten thousand each second.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]
#![expect(unsafe_code, reason = "a global allocator is an unsafe trait; this one counts and hands on")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use bytes::BytesMut;
use common::{Harness, batch, topic};
use ottla_log::{Durability, PartitionConfig};
use ottla_protocol::header::write_request_header;
use ottla_protocol::wire::Writer;
use ottla_server::control::Peer;
use ottla_server::dispatch::{self, Outcome, Pending};
use ottla_server::frame::Frame;

struct Counting;

thread_local! {
    /// Of this thread: what the broker's others take is not counted.
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PARTITIONS: i32 = 20;
const TIMES: usize = 20;
const VERSION: i16 = 9;

fn frame(partitions: i32, records: &[u8]) -> BytesMut {
    let mut frame = BytesMut::new();
    let mut writer = Writer::new(&mut frame);
    write_request_header(&mut writer, dispatch::PRODUCE, VERSION, 1, Some("a client")).unwrap();
    writer.nullable_string(true, None).unwrap();
    writer.i16(-1);
    writer.i32(30_000);
    writer.array(true, Some(1)).unwrap();
    writer.string(true, "many").unwrap();
    writer.array(true, Some(partitions as usize)).unwrap();
    for partition in 0..partitions {
        writer.i32(partition);
        writer.bytes(true, records).unwrap();
        writer.no_tags(true);
    }
    writer.no_tags(true);
    writer.no_tags(true);
    frame
}

/// The fewest of some tries: now and then a list of the log grows, or the disk in memory does.
fn allocations(harness: &Harness, partitions: i32, records: &[u8]) -> usize {
    let peer = Arc::new(Peer::new(1, [127, 0, 0, 1].into(), "PLAINTEXT".into()));
    let serve = || {
        let frame = frame(partitions, records);
        let before = TAKEN.get();
        match dispatch::begin(&harness.plane, &peer, Frame::new(frame, None)) {
            Outcome::Pipelined(Pending::Ready(Some(answer))) => drop(answer),
            _ => panic!("a Produce that waits for nothing is answered at once"),
        }
        TAKEN.get() - before
    };
    (0..TIMES).map(|_| serve()).min().unwrap()
}

/// Three: the list of topics, that of partitions, and the answer. Neither more partitions nor more records make it more.
#[test]
fn a_produce_takes_memory_three_times() {
    let harness = Harness::start();
    let config = PartitionConfig { durability: Durability::Os, ..PartitionConfig::default() };
    harness.publish(2, vec![topic("many", [8; 16], PARTITIONS, config)], vec![]);
    let values: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    let many: Vec<&str> = values.iter().map(String::as_str).collect();
    for partitions in [1, PARTITIONS] {
        for values in [&["one"][..], &many] {
            let taken = allocations(&harness, partitions, &batch(values));
            assert_eq!(taken, 3, "{partitions} partitions, {} records", values.len());
        }
    }
}
