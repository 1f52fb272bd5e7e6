//! What one client, or many, may take from the others: turns, memory, places in the queue to the control plane.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use std::sync::Arc;

use common::{HEARTBEAT, Harness, await_that, batch, produce_body, produced};
use ottla_server::connection::Connection;
use ottla_server::control::Peer;
use ottla_server::limits::Limits;

/// A connection whose requests are never waited for lets others on its thread have their turn.
#[test]
fn a_flood_without_answers_is_interrupted() {
    const REQUESTS: u64 = 300;
    let harness = Harness::start();
    let sent = batch(&["x"]);
    // The partition is there, so that nothing else lets go of the thread.
    assert_eq!(produced(&harness.connect().ask(0, 7, |w| produce_body(w, None, 1, "t", 0, &sent))), (0, 0));
    let before = harness.plane.counters.requests.get();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = common::Client::to(listener.local_addr().unwrap());
    for _ in 0..REQUESTS {
        client.send(0, 7, |w| produce_body(w, None, 0, "t", 0, &sent));
    }
    let (accepted, from) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let plane = Arc::clone(&harness.plane);
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let seen = runtime.block_on(runtime.spawn(async move {
        let stream = tokio::net::TcpStream::from_std(accepted).unwrap();
        let peer = Arc::new(Peer::new(99, from.ip(), "PLAINTEXT".into()));
        tokio::spawn(Connection::new(stream, peer, Arc::clone(&plane), stopped).run());
        let mut seen = Vec::new();
        loop {
            let served = plane.counters.requests.get() - before;
            seen.push(served);
            if served == REQUESTS {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    }));
    assert!(seen.unwrap().iter().any(|served| (1..REQUESTS).contains(served)), "it was never interrupted");
}

/// `queued.max.requests`: no more requests wait for the control plane; the others come as those are picked up, and
/// every one is answered.
#[test]
fn requests_that_wait_for_the_control_plane_are_bounded() {
    const CLIENTS: u64 = 20;
    let harness = Harness::with(Limits { queued_requests_max: 4, ..Limits::default() });
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| harness.connect()).collect();
    for client in &mut clients {
        client.send(HEARTBEAT, 0, |w| w.raw(&[1]));
    }
    await_that("all were read", || harness.plane.counters.requests.get() == CLIENTS);
    assert_eq!(harness.questions.waiting(), 4);
    // Picked up, a request has no place any more, even if its answer takes its time.
    let mut picked_up = Vec::new();
    for _ in 0..CLIENTS {
        let request = harness.questions.request();
        drop(request.ticket);
        picked_up.push(request.reply);
        assert!(harness.questions.waiting() <= 4);
    }
    for reply in picked_up {
        reply.send(vec![7]).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.receive().1, [7]);
    }
}

/// Clients that send and go leave no more behind than `queued.max.request.bytes` while the control plane stands still,
/// and what they left unread behind their request does not keep the connection.
#[test]
fn clients_that_have_gone_leave_little_behind() {
    const BODY_BYTES: usize = 100_000;
    let harness = Harness::with(Limits { queued_bytes_max: 1_000_000, ..Limits::default() });
    let shared = Arc::strong_count(&harness.plane);
    // The bound, less what no further body fits into.
    let most = 1_000_000 / (BODY_BYTES + 20);
    for round in 0..200 {
        let mut client = harness.connect();
        client.send(HEARTBEAT, 0, |w| w.raw(&[1; BODY_BYTES]));
        if round >= 100 {
            client.send(HEARTBEAT, 0, |w| w.raw(&[1]));
        }
        if round == 99 {
            await_that("the room is full", || harness.questions.waiting() == most);
        }
    }
    await_that("all connections ended", || {
        harness.plane.counters.connections_accepted.get() == 200 && Arc::strong_count(&harness.plane) == shared
    });
    assert_eq!(harness.questions.waiting(), most);
    // What waits is served, and then there is room again.
    while harness.questions.waiting() > 0 {
        drop(harness.questions.request());
    }
    let mut client = harness.connect();
    client.send(HEARTBEAT, 0, |w| w.raw(&[1; BODY_BYTES]));
    harness.questions.request().reply.send(vec![7]).unwrap();
    assert_eq!(client.receive().1, [7]);
}

/// A Metadata that names topics to be made waits for its place like every other question, names each once, and no more
/// than there may be in one go.
#[test]
fn topics_to_be_made_are_bounded() {
    let harness = Harness::with(Limits { queued_requests_max: 1, topics_created_max: 3, ..Limits::default() });
    let (mut first, mut second) = (harness.connect(), harness.connect());
    first.send(HEARTBEAT, 0, |w| w.raw(&[1]));
    let names = ["d", "b", "c", "b", "a", "d", "c"];
    let heartbeat = harness.questions.request();
    second.send(3, 1, |w| {
        w.array(false, Some(names.len())).unwrap();
        names.iter().for_each(|name| w.string(false, name).unwrap());
    });
    await_that("it was read", || harness.plane.counters.requests.get() == 2);
    assert_eq!(harness.questions.waiting(), 0, "there is no place for it");
    heartbeat.reply.send(vec![7]).unwrap();
    drop(heartbeat.ticket);
    let (asked, reply) = harness.questions.topics();
    assert_eq!(asked, ["a", "b", "c"]);
    reply.send(vec![]).unwrap();
    second.receive();
}

/// Only a Produce may be as long as `socket.request.max.bytes`; any other request is refused by its first bytes.
#[test]
fn requests_without_records_are_shorter() {
    let limits = Limits { control_frame_bytes_max: 1000, frame_bytes_max: 5000, ..Limits::default() };
    let harness = Harness::with(limits);
    for key in [1_u8, 2, 3, 12, 18, 23, 75] {
        let mut client = harness.connect();
        client.send_raw(&[0, 0, 3, 0xe9, 0, key]);
        client.expect_closed();
    }
    let mut client = harness.connect();
    let sent = batch(&[&"x".repeat(4000)]);
    assert_eq!(produced(&client.ask(0, 7, |w| produce_body(w, None, 1, "t", 0, &sent))), (0, 0));
    client.send_raw(&[0, 0, 0x13, 0x89]);
    client.expect_closed();
}
