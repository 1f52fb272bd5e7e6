//! What connections cost that send a part of a request, or take nothing of an answer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use std::io::Read;
use std::time::Duration;

use bytes::BytesMut;
use common::{
    API_VERSIONS, Client, FetchAsk, HEARTBEAT, Harness, await_that, batch, fetch_body, fetched, ms, produce_body,
    produced, talk,
};
use ottla_log::PartitionConfig;
use ottla_server::activity::STALL;
use ottla_server::limits::Limits;
use ottla_server::memory::Kind;
use rustix::net::sockopt;

const IDLE: Duration = Duration::from_secs(10);
const METADATA: i16 = 3;

/// A Produce of about so many bytes.
fn large_produce(client: &mut Client, bytes: usize) -> BytesMut {
    let sent = batch(&[&"x".repeat(bytes)]);
    client.frame(0, 7, |w| produce_body(w, None, 1, "t", 0, &sent))
}

/// A broker whose answer to Metadata is long, and whose sockets take little of it.
fn with_long_answers(limits: Limits) -> Harness {
    let harness = Harness::with(Limits { send_buffer_bytes: Some(8192), ..limits });
    let name = |number: u8| format!("{number:03}-{}", "x".repeat(200));
    let topics = (1..=250).map(|number| common::topic(&name(number), [number; 16], 20, PartitionConfig::default()));
    harness.publish(2, topics.collect(), vec![]);
    harness
}

fn ask_metadata(client: &mut Client) {
    client.send(METADATA, 1, |w| w.array(false, None).unwrap());
}

/// A client that asks for a long answer and takes nothing of it.
fn slow_reader(harness: &Harness) -> Client {
    let mut client = harness.connect();
    sockopt::set_socket_recv_buffer_size(client.stream(), 4096).unwrap();
    ask_metadata(&mut client);
    await_that("the answer does not leave", || harness.plane.unsent.bytes() > 0);
    client
}

/// What the client still gets ends inside the answer.
fn expect_cut(client: &Client) {
    let mut stream = client.stream();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut rest = Vec::new();
    // An end in the middle or a reset: what lay in the broker's socket may be lost.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < usize::try_from(i32::from_be_bytes(length)).unwrap());
}

/// A client that takes nothing of its answer is idle, whatever else it has asked.
#[test]
fn an_answer_that_is_not_taken_ends_its_connection() {
    let harness = with_long_answers(Limits { idle_max: Some(IDLE), ..Limits::default() });
    let mut slow = slow_reader(&harness);
    slow.send(HEARTBEAT, 0, |w| w.raw(&[1]));
    await_that("it was closed", || {
        harness.clock.turn(ms(IDLE));
        harness.plane.counters.connections_idle.get() == 1
    });
    expect_cut(&slow);
    await_that("its memory is free", || harness.plane.unsent.bytes() == 0);
}

/// `queued.max.request.bytes`: however many requests come at once, those that are received hold no more than that and
/// one request; all of them are served.
#[test]
fn requests_that_are_received_are_bounded() {
    const BYTES_MAX: usize = 1_000_000;
    const FRAME_BYTES: usize = 400_000;
    let harness = Harness::with(Limits { produce_bytes_max: BYTES_MAX, ..Limits::default() });
    let within = |what: &str| {
        let used = harness.plane.request_bytes();
        assert!(used <= BYTES_MAX + FRAME_BYTES + 1000, "{what}: {used} bytes");
    };
    let mut clients: Vec<_> = (0..8).map(|_| harness.connect()).collect();
    let frames: Vec<_> = clients.iter_mut().map(|client| large_produce(client, FRAME_BYTES)).collect();
    for (client, frame) in clients.iter_mut().zip(&frames) {
        client.send_raw(&frame[..FRAME_BYTES / 2]);
    }
    await_that("some wait for memory", || harness.plane.memory(Kind::Produce).is_waited_for());
    within("halves");
    for (client, frame) in clients.iter_mut().zip(&frames) {
        client.send_raw(&frame[FRAME_BYTES / 2..]);
        within("wholes");
    }
    let mut offsets: Vec<_> = clients.iter_mut().map(|client| produced(&client.receive().1)).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (0..8).map(|offset| (0, offset)).collect::<Vec<_>>());
    assert_eq!(harness.plane.request_bytes(), 0);
}

/// Who sends a length and little more gets little memory.
#[test]
fn a_length_alone_takes_no_memory() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let frame = large_produce(&mut client, 900_000);
    client.send_raw(&frame[..20_000]);
    await_that("it is received", || harness.plane.request_bytes() > 0);
    talk(&mut harness.connect());
    assert!(harness.plane.request_bytes() < 100_000);
    client.send_raw(&frame[20_000..]);
    assert_eq!(produced(&client.receive().1), (0, 0));
}

/// One that sends no more of its request is closed when another needs the memory, and not before.
#[test]
fn a_request_that_does_not_come_gives_way() {
    let harness = Harness::with(Limits { produce_bytes_max: 100_000, idle_max: None, ..Limits::default() });
    let (mut stalled, mut next) = (harness.connect(), harness.connect());
    let frame = large_produce(&mut stalled, 90_000);
    stalled.send_raw(&frame[..80_000]);
    await_that("it has its memory", || harness.plane.request_bytes() > 80_000);
    harness.clock.turn(ms(STALL) * 100);
    talk(&mut next);
    assert!(stalled.hears_nothing());
    let frame = large_produce(&mut next, 50_000);
    next.send_raw(&frame);
    await_that("it was closed", || {
        harness.clock.turn(ms(STALL));
        harness.plane.counters.connections_stalled.get() == 1
    });
    stalled.expect_closed();
    assert_eq!(produced(&next.receive().1), (0, 0));
    assert_eq!(harness.plane.request_bytes(), 0);
}

/// The same, of one that came to a halt when others had long been waiting.
#[test]
fn a_request_that_comes_to_a_halt_later_gives_way() {
    let harness = Harness::with(Limits { queued_bytes_max: 100_000, idle_max: None, ..Limits::default() });
    let (mut first, mut stalled, mut next) = (harness.connect(), harness.connect(), harness.connect());
    let waiting = |what, clients| await_that(what, || harness.plane.memory(Kind::Other).waiting() == clients);
    first.send(HEARTBEAT, 0, |w| w.raw(&[1; 60_000]));
    await_that("it has its memory", || harness.plane.request_bytes() > 60_000);
    let frame = stalled.frame(HEARTBEAT, 0, |w| w.raw(&[2; 90_000]));
    stalled.send_raw(&frame[..70_000]);
    waiting("the second waits", 1);
    next.send(HEARTBEAT, 0, |w| w.raw(&[3; 60_000]));
    waiting("the third waits", 2);
    // Nobody is due, nor will be while the first has its memory.
    harness.clock.turn(ms(STALL));
    talk(&mut harness.connect());
    harness.questions.request().reply.send(vec![7]).unwrap();
    first.receive();
    waiting("only the third waits", 1);
    await_that("the second was closed", || {
        harness.clock.turn(ms(STALL));
        harness.plane.counters.connections_stalled.get() == 1
    });
    stalled.expect_closed();
    harness.questions.request().reply.send(vec![7]).unwrap();
    next.receive();
}

/// Requests that nobody picks up keep no Produce from its memory, however many they are.
#[test]
fn what_the_control_plane_leaves_lying_keeps_no_records_out() {
    let harness = Harness::with(Limits { queued_bytes_max: 100_000, produce_bytes_max: 100_000, ..Limits::default() });
    let mut members: Vec<_> = (0..3).map(|_| harness.connect()).collect();
    for member in &mut members {
        member.send(HEARTBEAT, 0, |w| w.raw(&[1; 60_000]));
    }
    await_that("there is no memory for another", || harness.plane.memory(Kind::Other).is_waited_for());
    let mut producer = harness.connect();
    let frame = large_produce(&mut producer, 90_000);
    producer.send_raw(&frame);
    assert_eq!(produced(&producer.receive().1), (0, 0));
    for _ in &members {
        harness.questions.request().reply.send(vec![7]).unwrap();
    }
    for member in &mut members {
        assert_eq!(member.receive().1, [7]);
    }
}

/// What must wait for an earlier request of its connection takes no memory until it can begin.
#[test]
fn a_request_behind_another_takes_no_memory() {
    let harness = Harness::start();
    let (mut consumer, mut producer) = (harness.connect(), harness.connect());
    let ask = FetchAsk { max_wait_ms: i32::MAX, ..FetchAsk::default() };
    consumer.send(1, 7, |w| fetch_body(w, &ask));
    await_that("the Fetch waits", || harness.plane.deadlines.waiting() == 1);
    let frame = large_produce(&mut consumer, 500_000);
    consumer.send_raw(&frame);
    talk(&mut producer);
    assert_eq!(harness.plane.request_bytes(), 0);
    let sent = batch(&["x"]);
    assert_eq!(produced(&producer.ask(0, 7, |w| produce_body(w, None, 1, "t", 0, &sent))), (0, 0));
    assert_eq!(fetched(&consumer.receive().1).partitions.len(), 1);
    assert_eq!(produced(&consumer.receive().1), (0, 1));
}

/// `ottla.unsent.bytes.max`: with more, no long answer is begun, records flow on, and who takes nothing is closed.
#[test]
fn answers_that_are_not_taken_are_bounded() {
    let harness = with_long_answers(Limits { unsent_bytes_max: 10_000, idle_max: None, ..Limits::default() });
    let slow = slow_reader(&harness);
    let (mut next, mut producer) = (harness.connect(), harness.connect());
    next.send(API_VERSIONS, 0, |_| {});
    let sent = batch(&["x"]);
    for offset in 0..50 {
        assert_eq!(produced(&producer.ask(0, 7, |w| produce_body(w, None, 1, "t", 0, &sent))), (0, offset));
    }
    assert!(next.hears_nothing());
    assert_eq!(harness.plane.counters.requests.get(), 51);
    await_that("the slow one was closed", || {
        harness.clock.turn(ms(STALL));
        harness.plane.counters.connections_stalled.get() == 1
    });
    next.receive();
    expect_cut(&slow);
    await_that("its memory is free", || harness.plane.unsent.bytes() == 0);
}

/// Records that a client does not take lie in their files and nowhere else, also where there is no sendfile.
#[test]
fn records_that_are_not_taken_hold_no_memory() {
    let harness = Harness::with(Limits { send_buffer_bytes: Some(8192), ..Limits::default() });
    let mut producer = harness.connect();
    let sent = batch(&[&"x".repeat(30_000)]);
    for offset in 0..3 {
        assert_eq!(produced(&producer.ask(0, 7, |w| produce_body(w, None, 1, "t", 0, &sent))), (0, offset));
    }
    let mut slow = harness.connect();
    sockopt::set_socket_recv_buffer_size(slow.stream(), 4096).unwrap();
    let ask = FetchAsk { max_bytes: 1 << 24, partition_max_bytes: 1 << 24, ..FetchAsk::default() };
    slow.send(1, 7, |w| fetch_body(w, &ask));
    await_that("the answer does not leave", || harness.plane.unsent.bytes() > 0);
    talk(&mut producer);
    assert!(harness.plane.unsent.bytes() < 1000, "{}", harness.plane.unsent.bytes());
    sockopt::set_socket_recv_buffer_size(slow.stream(), 1 << 20).unwrap();
    let (_, _, _, records) = fetched(&slow.receive().1).partitions.remove(0);
    assert_eq!(records.len(), 3 * sent.len());
    assert!(records[61..].iter().filter(|byte| **byte == b'x').count() >= 90_000);
}
