//! How many connections there may be, and how long they live.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use common::{
    API_VERSIONS, Client, FetchAsk, HEARTBEAT, Harness, ask_versions, await_that, batch, fetch_body, fetched, ms,
    produce_body, produced, talk,
};
use ottla_server::limits::Limits;
use ottla_server::rate::Windows;
use rustix::net::{AddressFamily, SocketFlags, SocketType, getpeername};

const IDLE: Duration = Duration::from_secs(10);

/// `connections.max.idle.ms`: one that asks nothing is closed, in the middle of a request too; one that does is not.
#[test]
fn idle_connections_are_closed() {
    let harness = Harness::with(Limits { idle_max: Some(IDLE), ..Limits::default() });
    let (mut silent, mut broken_off, mut busy) = (harness.connect(), harness.connect(), harness.connect());
    ask_versions(&mut silent);
    broken_off.send_raw(&[0, 0, 1]);
    await_that("all three are there", || harness.plane.quotas.connections() == 3);
    ask_versions(&mut busy);
    harness.clock.turn(ms(IDLE) - 1);
    ask_versions(&mut busy);
    // The last byte of the third may have come since.
    await_that("two were closed", || {
        harness.clock.turn(1);
        ask_versions(&mut busy);
        harness.plane.counters.connections_idle.get() == 2
    });
    silent.expect_closed();
    broken_off.expect_closed();
    ask_versions(&mut busy);
}

#[test]
fn without_a_limit_idle_connections_stay() {
    let harness = Harness::with(Limits { idle_max: None, ..Limits::default() });
    let mut silent = harness.connect();
    ask_versions(&mut silent);
    harness.clock.turn(ms(Duration::from_secs(1_000_000)));
    talk(&mut harness.connect());
    ask_versions(&mut silent);
}

/// A connection whose request is in work is not idle: neither a Fetch that waits nor a question to the control plane.
#[test]
fn a_request_in_work_is_not_idle() {
    let harness = Harness::with(Limits { idle_max: Some(IDLE), ..Limits::default() });
    let (mut consumer, mut member, mut silent) = (harness.connect(), harness.connect(), harness.connect());
    let ask = FetchAsk { max_wait_ms: i32::MAX, ..FetchAsk::default() };
    consumer.send(1, 7, |w| fetch_body(w, &ask));
    await_that("the Fetch waits", || harness.plane.deadlines.waiting() == 1);
    member.send(HEARTBEAT, 0, |w| w.raw(&[1]));
    let request = harness.questions.request();
    ask_versions(&mut silent);
    await_that("the idle one was closed", || {
        harness.clock.turn(ms(IDLE));
        harness.plane.counters.connections_idle.get() == 1
    });
    silent.expect_closed();
    request.reply.send(vec![7]).unwrap();
    assert_eq!(member.receive().1, [7]);
    let sent = batch(&["x"]);
    assert_eq!(produced(&harness.connect().ask(0, 7, |w| produce_body(w, None, 1, "t", 0, &sent))), (0, 0));
    assert_eq!(fetched(&consumer.receive().1).partitions.len(), 1);
}

/// `max.connections`: one too many is served when another has gone, and holds no stop up.
#[test]
fn connections_past_the_limit_wait() {
    let harness = Harness::with(Limits { connections_max: 2, ..Limits::default() });
    let (mut first, mut second, mut third) = (harness.connect(), harness.connect(), harness.connect());
    ask_versions(&mut first);
    ask_versions(&mut second);
    third.send(API_VERSIONS, 0, |_| {});
    talk(&mut first);
    assert!(third.hears_nothing());
    assert_eq!(harness.plane.quotas.connections(), 2);
    drop(first);
    third.receive();
    let mut fourth = harness.connect();
    fourth.send(API_VERSIONS, 0, |_| {});
    talk(&mut third);
    harness.server.stop(common::PATIENCE);
    fourth.expect_closed();
}

/// `max.connections` may become another: who waits comes in, and who has been still for longest goes.
#[test]
fn the_limit_of_connections_may_be_altered() {
    let limits = Limits { connections_max: 2, ..Limits::default() };
    let harness = Harness::with(limits.clone());
    let (mut first, mut second, mut third) = (harness.connect(), harness.connect(), harness.connect());
    for client in [&mut first, &mut second] {
        ask_versions(client);
        harness.clock.turn(1);
    }
    third.send(API_VERSIONS, 0, |_| {});
    talk(&mut second);
    assert!(third.hears_nothing());
    harness.plane.alter_connection_limits(&Limits { connections_max: 3, ..limits.clone() });
    third.receive();
    harness.clock.turn(1);
    ask_versions(&mut first);
    harness.plane.alter_connection_limits(&limits);
    second.expect_closed();
    ask_versions(&mut third);
    ask_versions(&mut first);
}

/// `max.connection.creation.rate`: one that comes too soon is served later, and holds no stop up.
#[test]
fn connections_that_come_too_soon_wait() {
    let windows = Windows { count: 2, each: Duration::from_secs(1) };
    let harness = Harness::with(Limits { connection_rate_max: Some(1), rate_windows: windows, ..Limits::default() });
    let (mut first, mut second, mut third) = (harness.connect(), harness.connect(), harness.connect());
    ask_versions(&mut first);
    for client in [&mut second, &mut third] {
        client.send(API_VERSIONS, 0, |_| {});
    }
    let counters = &harness.plane.counters;
    await_that("the second waits", || counters.connections_delayed.get() == 1);
    harness.clock.turn(999);
    talk(&mut first);
    assert!(second.hears_nothing());
    await_that("it was served", || {
        harness.clock.turn(1);
        !second.hears_nothing()
    });
    second.receive();
    await_that("the third waits", || counters.connections_delayed.get() == 2);
    talk(&mut second);
    assert!(third.hears_nothing());
    harness.server.stop(common::PATIENCE);
    third.expect_closed();
    assert_eq!(counters.connections_accepted.get(), 2);
}

/// `max.connections.per.ip` and its overrides: one too many is closed at once.
#[test]
fn a_host_has_its_share() {
    let limits = Limits { connections_per_host_max: 2, ..Limits::default() };
    let harness = Harness::with(limits);
    let (mut first, mut second) = (harness.connect(), harness.connect());
    ask_versions(&mut first);
    ask_versions(&mut second);
    harness.connect().expect_closed();
    assert_eq!(harness.plane.counters.connections_refused.get(), 1);
    drop(first);
    await_that("it has gone", || harness.plane.quotas.connections() == 1);
    ask_versions(&mut harness.connect());

    let host = harness.address.ip();
    let harness = Harness::with(Limits { connections_of_host_max: [(host, 0)].into(), ..Limits::default() });
    harness.connect().expect_closed();
}

/// Begins a connection without waiting for it.
fn begin(address: SocketAddr) -> TcpStream {
    let SocketAddr::V4(address) = address else { panic!("{address}") };
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
    let address: SocketAddrV4 = address;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => TcpStream::from(socket),
        Err(error) => panic!("{error}"),
    }
}

/// `socket.listen.backlog.size`: so many wait until they are accepted (and one more, as Linux counts).
#[test]
fn the_backlog_is_as_long_as_it_is_said_to_be() {
    let harness = Harness::with(Limits { connections_max: 1, backlog: 4, ..Limits::default() });
    ask_versions(&mut harness.connect());
    // This one is accepted, and waits for its turn.
    let _next = begin(harness.address);
    let waiting: Vec<_> = (0..20).map(|_| begin(harness.address)).collect();
    let established = || waiting.iter().filter(|stream| getpeername(stream).is_ok()).count();
    await_that("the queue is full", || (4..=6).contains(&established()));
}

/// A thousand at once: none is refused, none is forgotten.
#[test]
fn a_burst_of_connections_is_served() {
    let count = many();
    let harness = Harness::start();
    let begun: Vec<_> = (0..count).map(|_| begin(harness.address)).collect();
    let mut clients: Vec<_> = begun
        .into_iter()
        .map(|stream| {
            await_that("it is connected", || getpeername(&stream).is_ok());
            stream.set_nonblocking(false).unwrap();
            Client::over(stream)
        })
        .collect();
    for client in &mut clients {
        client.send(API_VERSIONS, 0, |_| {});
    }
    for client in &mut clients {
        client.receive();
    }
    assert_eq!(harness.plane.counters.connections_accepted.get(), count);
}

/// A thousand connections, or as many as there are descriptors for both ends.
fn many() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    limit.maximum.map_or(1000, |most| (most / 3).min(1000))
}

/// A stop answers a thousand connections whose requests are in work, more than may wait for the control plane at once.
#[test]
fn a_stop_answers_all_that_are_at_work() {
    let count = many();
    let harness = Harness::start();
    let mut clients: Vec<_> = (0..count).map(|_| harness.connect()).collect();
    for client in &mut clients {
        client.send(HEARTBEAT, 0, |w| w.raw(&[1]));
    }
    await_that("all were begun", || harness.plane.counters.requests.get() == count);
    std::thread::scope(|scope| {
        scope.spawn(|| harness.server.stop(common::PATIENCE));
        while TcpStream::connect(harness.address).is_ok() {
            std::thread::yield_now();
        }
        for _ in 0..count {
            let request = harness.questions.request();
            request.reply.send(vec![7]).unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.receive().1, [7]);
        }
        for client in &mut clients {
            client.expect_closed();
        }
    });
}

/// Peers that vanish are looked for: TCP's keep-alive is on, as in Kafka.
#[test]
fn connections_are_kept_alive() {
    let harness = Harness::start();
    let mut client = harness.connect();
    ask_versions(&mut client);
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next().unwrap(), 16).unwrap();
    let (here, there) = (client.stream().local_addr().unwrap().port(), harness.address.port());
    // Columns of /proc/net/tcp: local and remote address, then state, queues, and the timer; 02 is the one of keep-alive.
    await_that("its timer runs", || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        table
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .any(|columns| port(columns[1]) == there && port(columns[2]) == here && columns[5].starts_with("02:"))
    });
}
