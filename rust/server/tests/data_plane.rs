//! The data plane from the outside: raw bytes on a socket, a virtual clock, the disk in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use common::{FetchAsk, HEARTBEAT, Harness, TOPIC_ID, batch, fetch_body, fetched, produce_body, produced, topic};
use ottla_log::PartitionConfig;
use ottla_protocol::wire::Reader;
use ottla_server::image::TopicUpdate;
use ottla_server::limits::Limits;

/// What is produced comes back byte for byte but for base offset and leader epoch, which the broker sets.
#[test]
fn records_come_back_as_they_were_sent() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let sent = batch(&["a", "b", "c"]);
    for expected in [0, 3] {
        let answer = client.ask(0, 7, |w| produce_body(w, None, -1, "t", 0, &sent));
        assert_eq!(produced(&answer), (0, expected));
    }
    let answer = fetched(&client.ask(1, 7, |w| fetch_body(w, &FetchAsk::default())));
    let (partition, error, high_watermark, records) = &answer.partitions[0];
    assert_eq!((*partition, *error, *high_watermark), (0, 0, 6));
    assert_eq!(records.len(), 2 * sent.len());
    for (place, base_offset) in [(0, 0_i64), (sent.len(), 3)] {
        let stored = &records[place..place + sent.len()];
        assert_eq!(stored[..8], base_offset.to_be_bytes());
        assert_eq!(stored[8..12], sent[8..12], "length");
        assert_eq!(stored[12..16], 0_i32.to_be_bytes(), "leader epoch");
        assert_eq!(stored[16..], sent[16..], "magic, CRC and records are not touched");
    }
}

/// A parked fetch is woken by the append, not by time: the clock stands still.
#[test]
fn a_long_poll_is_woken_by_an_append() {
    let harness = Harness::start();
    let (mut consumer, mut producer) = (harness.connect(), harness.connect());
    let ask = FetchAsk { max_wait_ms: 60_000, partitions: vec![(0, 0), (1, 0)], ..FetchAsk::default() };
    consumer.send(1, 7, |w| fetch_body(w, &ask));
    let sent = batch(&["x"]);
    producer.ask(0, 7, |w| produce_body(w, None, 1, "t", 1, &sent));
    let answer = fetched(&consumer.receive().1);
    assert_eq!(answer.partitions[0].3, b"");
    assert_eq!(answer.partitions[1].3.len(), sent.len());
    assert_eq!(harness.plane.deadlines.waiting(), 0, "its deadline is gone with it");
}

/// Without an append the poll ends when its time is up, and not before.
#[test]
fn a_long_poll_ends_with_its_time() {
    let harness = Harness::start();
    let mut consumer = harness.connect();
    let ask = FetchAsk { max_wait_ms: 500, ..FetchAsk::default() };
    consumer.send(1, 7, |w| fetch_body(w, &ask));
    while harness.plane.deadlines.waiting() == 0 {
        std::thread::yield_now();
    }
    ottla_log::env::VirtualClock::turn(&harness.clock, 499);
    assert_eq!(harness.plane.deadlines.waiting(), 1);
    ottla_log::env::VirtualClock::turn(&harness.clock, 1);
    let answer = fetched(&consumer.receive().1);
    assert_eq!(answer.partitions[0], (0, 0, 0, vec![]));
}

/// Produces sent without waiting are appended in order and answered in order.
#[test]
fn pipelined_produces_keep_their_order() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let sent = batch(&["x"]);
    let ids: Vec<i32> = (0..200).map(|_| client.send(0, 7, |w| produce_body(w, None, -1, "t", 0, &sent))).collect();
    for (place, id) in ids.into_iter().enumerate() {
        let (received, answer) = client.receive();
        assert_eq!((received, produced(&answer)), (id, (0, place as i64)));
    }
}

/// A request behind one the control plane has not answered waits; a produce does too.
#[test]
fn nothing_overtakes_a_request_in_work() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let heartbeat = client.send(HEARTBEAT, 0, |w| w.raw(&[1, 2, 3]));
    let sent = batch(&["x"]);
    let produce = client.send(0, 7, |w| produce_body(w, None, 1, "t", 0, &sent));
    let question = harness.questions.request();
    assert_eq!((question.api_key, &question.body[..]), (HEARTBEAT, &[1, 2, 3][..]));
    assert_eq!(harness.engine.replica("t", 0).unwrap().high_watermark(), 0, "the produce has not started");
    question.reply.send(vec![9, 9]).unwrap();
    assert_eq!(client.receive(), (heartbeat, vec![9, 9]));
    let (id, answer) = client.receive();
    assert_eq!((id, produced(&answer)), (produce, (0, 0)));
}

/// What the control plane will not answer ends the connection, and its end is told.
#[test]
fn a_refused_request_closes_the_connection() {
    let harness = Harness::start();
    let mut client = harness.connect();
    client.send(HEARTBEAT, 0, |w| w.raw(&[1]));
    drop(harness.questions.request());
    client.expect_closed();
    assert_eq!(harness.questions.disconnection(), 1);
}

/// Frames that break the protocol end their own connection and no other.
#[test]
fn bad_frames_end_only_their_connection() {
    let harness = Harness::with(Limits { frame_bytes_max: 1000, ..Limits::default() });
    let mut bystander = harness.connect();
    let frames: [&[u8]; 9] = [
        &(-1_i32).to_be_bytes(),
        &1001_i32.to_be_bytes(),
        &[0, 0, 0, 0],
        &[0, 0, 0, 3, 0, 3, 0],
        // Key 999; Metadata version 99; a client id longer than the frame.
        &[0, 0, 0, 10, 3, 231, 0, 0, 0, 0, 0, 1, 255, 255],
        &[0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 255, 255],
        &[0, 0, 0, 10, 0, 3, 0, 1, 0, 0, 0, 1, 127, 255],
        // Metadata v1 with 2^31-1 topics; Produce v3 with as many.
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 255, 255, 127, 255, 255, 255],
        &[0, 0, 0, 22, 0, 0, 0, 3, 0, 0, 0, 1, 255, 255, 255, 255, 0, 1, 0, 0, 0, 1, 127, 255, 255, 255],
    ];
    for frame in frames {
        let mut client = harness.connect();
        client.send_raw(frame);
        client.expect_closed();
    }
    assert_eq!(harness.plane.counters.violations.get(), frames.len() as u64);
    let sent = batch(&["x"]);
    let answer = bystander.ask(0, 7, |w| produce_body(w, None, 1, "t", 0, &sent));
    assert_eq!(produced(&answer), (0, 0));
}

/// An ApiVersions version from the future is answered in version 0 with error 35 and the row of key 18 alone.
#[test]
fn an_unknown_api_versions_version_is_answered() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let answer = client.ask(18, 5, |w| w.raw(&[1, 1, 0, 77]));
    assert_eq!(answer, [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
    let answer = client.ask(18, 0, |_| {});
    let mut reader = Reader::new(&answer);
    assert_eq!(reader.i16("error").unwrap(), 0);
    assert_eq!(reader.array(false, 6, "rows").unwrap(), 8);
    assert_eq!(reader.i16("key").unwrap(), 0);
    assert_eq!(reader.i16("lowest").unwrap(), 0, "Produce is advertised from 0 though 3 is the lowest served");
}

/// acks=all is refused where fewer replicas are in sync than the topic asks for, if it has that many; acks=1 is not.
#[test]
fn min_insync_replicas() {
    let harness = Harness::start();
    let config = PartitionConfig { durability: ottla_log::Durability::Os, ..PartitionConfig::default() };
    let mut strict = TopicUpdate { min_insync_replicas: 2, ..topic("strict", [8; 16], 2, config) };
    strict.partitions[0].replicas = vec![1, 2];
    harness.publish(2, vec![strict], vec![]);
    let mut client = harness.connect();
    let sent = batch(&["x"]);
    for (partition, acks, expected) in [(0, -1, (19, -1)), (0, 1, (0, 0)), (1, -1, (0, 0))] {
        let answer = client.ask(0, 7, |w| produce_body(w, None, acks, "strict", partition, &sent));
        assert_eq!(produced(&answer), expected, "partition {partition}, acks={acks}");
    }
}

/// With acks=0 there is no answer; an error closes the connection, since there is no other way to tell.
#[test]
fn acks_0_is_silent_and_closes_on_error() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let sent = batch(&["x"]);
    client.send(0, 7, |w| produce_body(w, None, 0, "t", 0, &sent));
    let answer = client.ask(0, 7, |w| produce_body(w, None, 1, "t", 0, &sent));
    assert_eq!(produced(&answer), (0, 1), "the first was written and not answered");
    client.send(0, 7, |w| produce_body(w, None, 0, "nowhere", 0, &sent));
    client.expect_closed();
}

/// Every refusal has Kafka's code, and what was refused left no trace.
#[test]
fn refused_produces() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let sent = batch(&["x"]);
    let mut damaged = sent.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    for (acks, name, partition, records, code) in [
        (1, "nowhere", 0, &sent, 3),
        (1, "t", 2, &sent, 3),
        (1, "t", -1, &sent, 3),
        (2, "t", 0, &sent, 21),
        (1, "t", 0, &damaged, 2),
    ] {
        let answer = client.ask(0, 7, |w| produce_body(w, None, acks, name, partition, records));
        assert_eq!(produced(&answer), (code, -1), "{acks} {name} {partition}");
    }
    assert_eq!(harness.engine.replica("t", 0).unwrap().high_watermark(), 0);
}

/// The first batch is whole whatever the limits; further partitions get only what is left.
#[test]
fn fetch_limits() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let sent = batch(&["0123456789"]);
    for partition in [0, 0, 1] {
        client.ask(0, 7, |w| produce_body(w, None, 1, "t", partition, &sent));
    }
    let ask = FetchAsk { max_bytes: 1, partitions: vec![(0, 0), (1, 0)], ..FetchAsk::default() };
    let answer = fetched(&client.ask(1, 7, |w| fetch_body(w, &ask)));
    assert_eq!(answer.partitions[0].3.len(), sent.len());
    assert_eq!(answer.partitions[1].3.len(), 0);
    let both = FetchAsk { max_bytes: 3 * sent.len() as i32, partitions: vec![(0, 0), (1, 0)], ..FetchAsk::default() };
    let answer = fetched(&client.ask(1, 7, |w| fetch_body(w, &both)));
    assert_eq!(answer.partitions[0].3.len(), 2 * sent.len());
    assert_eq!(answer.partitions[1].3.len(), sent.len());
    let beyond = FetchAsk { partitions: vec![(0, 3), (1, -1), (7, 0)], ..FetchAsk::default() };
    let answer = fetched(&client.ask(1, 7, |w| fetch_body(w, &beyond)));
    let codes: Vec<i16> = answer.partitions.iter().map(|partition| partition.1).collect();
    assert_eq!(codes, [1, 1, 3]);
}

/// A first batch that does not fit is not sent at all: half of it is no progress, and the Java consumer throws at it.
#[test]
fn a_first_batch_is_never_cut() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let sent = batch(&["0123456789"]);
    for partition in [0, 1, 1] {
        client.ask(0, 7, |w| produce_body(w, None, 1, "t", partition, &sent));
    }
    let bytes = i32::try_from(sent.len()).unwrap();
    let ask = FetchAsk { partitions: vec![(0, 0), (1, 0)], ..FetchAsk::default() };
    let short = [
        FetchAsk { max_bytes: bytes + bytes / 2, ..ask.clone() },
        FetchAsk { max_bytes: 2 * bytes - 1, ..ask.clone() },
        FetchAsk { partition_max_bytes: bytes - 1, ..ask.clone() },
    ];
    for ask in short {
        let answer = fetched(&client.ask(1, 7, |w| fetch_body(w, &ask)));
        let lengths: Vec<_> = answer.partitions.iter().map(|(_, error, _, records)| (*error, records.len())).collect();
        assert_eq!(lengths, [(0, sent.len()), (0, 0)], "of {} bytes", ask.max_bytes);
        assert_eq!(answer.partitions[1].2, 2, "the high watermark is told all the same");
    }
    // Behind a whole batch the next one may be cut, as in Kafka.
    let cut = FetchAsk { max_bytes: 2 * bytes + bytes / 2, ..ask };
    let answer = fetched(&client.ask(1, 7, |w| fetch_body(w, &cut)));
    assert_eq!(answer.partitions[1].3.len(), sent.len() + sent.len() / 2);
}

/// A poll that asks for more than it may be sent is answered with what it may be sent, at once.
#[test]
fn min_bytes_beyond_max_bytes() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let sent = batch(&["0123456789"]);
    client.ask(0, 7, |w| produce_body(w, None, 1, "t", 0, &sent));
    let ask = FetchAsk { max_wait_ms: 60_000, min_bytes: 1 << 20, max_bytes: 10, ..FetchAsk::default() };
    let answer = fetched(&client.ask(1, 7, |w| fetch_body(w, &ask)));
    assert_eq!(answer.partitions[0].3.len(), sent.len());
}

/// A session's answers hold only partitions with news.
#[test]
fn an_incremental_fetch_answers_only_news() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let full = FetchAsk { session: (0, 0), partitions: vec![(0, 0), (1, 0)], ..FetchAsk::default() };
    let answer = fetched(&client.ask(1, 7, |w| fetch_body(w, &full)));
    assert_ne!(answer.session_id, 0);
    assert_eq!(answer.partitions.len(), 2);
    let sent = batch(&["x"]);
    client.ask(0, 7, |w| produce_body(w, None, 1, "t", 1, &sent));
    let next = FetchAsk { session: (answer.session_id, 1), partitions: vec![], ..FetchAsk::default() };
    let news = fetched(&client.ask(1, 7, |w| fetch_body(w, &next)));
    assert_eq!(news.partitions.iter().map(|p| (p.0, p.2)).collect::<Vec<_>>(), [(1, 1)]);
    let wrong = FetchAsk { session: (answer.session_id, 7), partitions: vec![], ..FetchAsk::default() };
    let refused = fetched(&client.ask(1, 7, |w| fetch_body(w, &wrong)));
    assert_eq!((refused.error, refused.session_id, refused.partitions.len()), (71, 0, 0));
}

/// A deleted topic answers at once to those who wait for it.
#[test]
fn deletion_ends_waiting() {
    let harness = Harness::start();
    let mut consumer = harness.connect();
    let ask = FetchAsk { max_wait_ms: 60_000, ..FetchAsk::default() };
    consumer.send(1, 7, |w| fetch_body(w, &ask));
    while harness.plane.deadlines.waiting() == 0 {
        std::thread::yield_now();
    }
    harness.publish(2, vec![], vec![TOPIC_ID]);
    assert_eq!(fetched(&consumer.receive().1).partitions[0].1, 3);
}

/// A topic that does not exist is asked for once the client allows it, and answered when it is there.
#[test]
fn metadata_creates_what_is_missing() {
    let harness = Harness::start();
    let mut client = harness.connect();
    client.send(3, 1, |w| {
        w.array(false, Some(1)).unwrap();
        w.string(false, "new").unwrap();
    });
    let (names, reply) = harness.questions.topics();
    assert_eq!(names, ["new"]);
    harness.publish(2, vec![topic("new", [8; 16], 3, PartitionConfig::default())], vec![]);
    reply.send(vec![("new".to_owned(), 0)]).unwrap();
    let (_, answer) = client.receive();
    let mut reader = Reader::new(&answer);
    for _ in 0..reader.array(false, 1, "brokers").unwrap() {
        reader.i32("id").unwrap();
        assert_eq!(reader.string(false, "host").unwrap(), "127.0.0.1");
        assert_eq!(reader.i32("port").unwrap(), i32::from(harness.address.port()));
        reader.nullable_string(false, "rack").unwrap();
    }
    assert_eq!(reader.i32("controller").unwrap(), 1);
    assert_eq!(reader.array(false, 1, "topics").unwrap(), 1);
    assert_eq!((reader.i16("error").unwrap(), reader.string(false, "name").unwrap()), (0, "new"));
    assert!(!reader.bool("internal").unwrap());
    assert_eq!(reader.array(false, 1, "partitions").unwrap(), 3);
}

/// Stopping answers what is appended and ends what only waits.
#[test]
fn stop_ends_parked_requests() {
    let harness = Harness::start();
    let mut consumer = harness.connect();
    let ask = FetchAsk { max_wait_ms: 60_000, ..FetchAsk::default() };
    consumer.send(1, 7, |w| fetch_body(w, &ask));
    while harness.plane.deadlines.waiting() == 0 {
        std::thread::yield_now();
    }
    harness.server.stop(std::time::Duration::from_secs(20));
    consumer.expect_closed();
    harness.engine.close().unwrap();
    harness.engine.close().unwrap();
}

/// What the control plane is still at when a stop begins (an OffsetCommit that waits for its commit, say) is answered
/// before the connection ends; a request that came behind it is not begun.
#[test]
fn stop_waits_for_the_control_plane() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let asked = client.send(HEARTBEAT, 0, |w| w.raw(&[1]));
    let request = harness.questions.request();
    client.send(HEARTBEAT, 0, |w| w.raw(&[2]));
    std::thread::scope(|scope| {
        scope.spawn(|| harness.server.stop(common::PATIENCE));
        // Nobody can come in any more: the stop has begun.
        while std::net::TcpStream::connect(harness.address).is_ok() {
            std::thread::yield_now();
        }
        request.reply.send(vec![7]).unwrap();
        assert_eq!(client.receive(), (asked, vec![7]));
        client.expect_closed();
    });
    assert_eq!(harness.questions.waiting(), 0);
}

/// The same where the answer is there before the connection has heard of the stop.
#[test]
fn nothing_is_begun_after_a_stop() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let closed = harness.questions.gate.lock();
    let asked = client.send(HEARTBEAT, 0, |w| w.raw(&[1]));
    let request = harness.questions.request();
    client.send(HEARTBEAT, 0, |w| w.raw(&[2]));
    std::thread::scope(|scope| {
        scope.spawn(|| harness.server.stop(common::PATIENCE));
        while std::net::TcpStream::connect(harness.address).is_ok() {
            std::thread::yield_now();
        }
        request.reply.send(vec![7]).unwrap();
        drop(closed);
        assert_eq!(client.receive(), (asked, vec![7]));
        client.expect_closed();
    });
    assert_eq!(harness.questions.waiting(), 0);
}

/// A control plane that never answers holds a stop up for the time it was given and no longer.
#[test]
fn stop_does_not_wait_for_ever() {
    let harness = Harness::start();
    let mut client = harness.connect();
    client.send(HEARTBEAT, 0, |w| w.raw(&[1]));
    let _never_answered = harness.questions.request();
    harness.server.stop(std::time::Duration::from_millis(1));
    client.expect_closed();
}
