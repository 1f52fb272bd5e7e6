//! What one client, or many, may take from the others: turns, memory, places in the queue to the control plane.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use std::sync::Arc;

use common::{Harness, batch, produce_body, produced};
use ottla_server::connection::Connection;
use ottla_server::control::Peer;

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
