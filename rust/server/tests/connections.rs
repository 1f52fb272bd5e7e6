//! How many connections there may be, how long they live, and what those cost that send or take nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use std::io::Read;
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use common::{Client, FetchAsk, HEARTBEAT, Harness, await_that, batch, fetch_body, fetched, produce_body, produced};
use ottla_log::PartitionConfig;
use ottla_server::activity::STALL;
use ottla_server::limits::Limits;
use ottla_server::memory::Kind;
use ottla_server::rate::Windows;
use rustix::net::{AddressFamily, SocketFlags, SocketType, getpeername, sockopt};

const IDLE: Duration = Duration::from_secs(10);
const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}

fn ask_versions(client: &mut Client) {
    client.ask(API_VERSIONS, 0, |_| {});
}

/// Says a few things on a connection, so that the broker has had time to do something else that it should not do.
fn talk(client: &mut Client) {
    (0..50).for_each(|_| ask_versions(client));
}

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
