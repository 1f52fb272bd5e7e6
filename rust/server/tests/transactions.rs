//! Produce of transactional batches from the outside: who is asked for what, and what is let in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use bytes::BytesMut;
use common::{Harness, produce_body, produced, shaped};
use ottla_log::batch::Compression;
use ottla_log::batch::builder::BatchShape;
use ottla_protocol::wire::{Reader, Writer};

const TRANSACTION_ABORTABLE: i16 = 120;

fn transactional(base_sequence: i32) -> Vec<u8> {
    transactional_of(5, 0, base_sequence)
}

fn transactional_of(producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Vec<u8> {
    let shape = BatchShape {
        attributes: 0x10,
        producer_id,
        producer_epoch,
        base_sequence,
        ..BatchShape::plain(Compression::None, 0)
    };
    shaped(shape, &["x"])
}

/// The body of a Produce v7 with a batch for each of two partitions.
fn both_partitions(w: &mut Writer<'_, BytesMut>, records: [&Vec<u8>; 2]) {
    w.nullable_string(false, Some("tx")).unwrap();
    w.i16(-1);
    w.i32(30_000);
    w.array(false, Some(1)).unwrap();
    w.string(false, "t").unwrap();
    w.array(false, Some(2)).unwrap();
    for (partition, records) in (0..).zip(records) {
        w.i32(partition);
        w.bytes(false, records).unwrap();
    }
}

/// Error and base offset of each of the two.
fn of_both(answer: &[u8]) -> [(i16, i64); 2] {
    let mut reader = Reader::new(answer);
    assert_eq!(reader.array(false, 1, "topics").unwrap(), 1);
    reader.string(false, "name").unwrap();
    assert_eq!(reader.array(false, 1, "partitions").unwrap(), 2);
    [0, 1].map(|partition| {
        assert_eq!(reader.i32("index").unwrap(), partition);
        let told = (reader.i16("error").unwrap(), reader.i64("base offset").unwrap());
        reader.i64("append time").unwrap();
        reader.i64("log start").unwrap();
        told
    })
}

/// The first batch of a transaction asks; refused, its error is the answer and nothing is written.
#[test]
fn the_first_batch_of_a_transaction_asks_the_control_plane() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let sent = transactional(0);
    client.send(0, 7, |w| produce_body(w, Some("tx"), -1, "t", 1, &sent));
    let question = harness.questions.transaction();
    assert_eq!((question.transactional_id.as_str(), question.producer_id), ("tx", 5));
    assert_eq!(question.partitions.iter().map(|(t, p)| (&**t, *p)).collect::<Vec<_>>(), [("t", 1)]);
    question.reply.send(53).unwrap();
    assert_eq!(produced(&client.receive().1), (53, -1));
    assert_eq!(harness.engine.replica("t", 1).unwrap().offsets().unwrap().log_end, 0);

    // Allowed, it is written, and the next batch of the same transaction does not ask.
    client.send(0, 7, |w| produce_body(w, Some("tx"), -1, "t", 1, &sent));
    harness.questions.transaction().reply.send(0).unwrap();
    assert_eq!(produced(&client.receive().1), (0, 0));
    let next = transactional(1);
    let answer = client.ask(0, 7, |w| produce_body(w, Some("tx"), -1, "t", 1, &next));
    assert_eq!(produced(&answer), (0, 1));
    let offsets = harness.engine.replica("t", 1).unwrap().offsets().unwrap();
    assert_eq!((offsets.last_stable, offsets.high_watermark), (0, 2), "the transaction is open");
}

/// What is refused is not written, the rest of the request is: the partition in which the transaction is open already. Old clients are
/// told in words they know; the question says whether the partitions are to be added.
#[test]
fn only_what_is_refused_is_left_out() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let (first, next) = (transactional(0), transactional(1));
    client.send(0, 7, |w| produce_body(w, Some("tx"), -1, "t", 0, &first));
    harness.questions.transaction().reply.send(0).unwrap();
    assert_eq!(produced(&client.receive().1), (0, 0));
    client.send(0, 7, |w| both_partitions(w, [&next, &first]));
    let question = harness.questions.transaction();
    assert!(!question.is_adding);
    assert_eq!(question.partitions.iter().map(|(t, p)| (&**t, *p)).collect::<Vec<_>>(), [("t", 1)]);
    question.reply.send(TRANSACTION_ABORTABLE).unwrap();
    let answer = client.receive().1;
    assert_eq!(of_both(&answer), [(0, 1), (48, -1)]);
    let ends = [0, 1].map(|index| harness.engine.replica("t", index).unwrap().offsets().unwrap().log_end);
    assert_eq!(ends, [2, 0]);
}

/// One transaction is asked for, so a request has batches of one: what another producer, or another epoch, sent along would be let in by
/// the way, and nobody would end what it opens.
#[test]
fn a_request_speaks_for_one_transaction() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let own = transactional(0);
    for other in [transactional_of(6, 0, 0), transactional_of(5, 1, 0)] {
        for pair in [[&own, &other], [&other, &own]] {
            let answer = client.ask(0, 7, |w| both_partitions(w, pair));
            assert_eq!(of_both(&answer), [(49, -1), (49, -1)]);
        }
    }
    let ends = [0, 1].map(|index| harness.engine.replica("t", index).unwrap().offsets().unwrap().log_end);
    assert_eq!(ends, [0, 0]);
}

/// A transactional batch without a transactional id is not authorized, and nobody is asked.
#[test]
fn a_transactional_batch_needs_an_id() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let sent = transactional(0);
    let answer = client.ask(0, 7, |w| produce_body(w, None, -1, "t", 0, &sent));
    assert_eq!(produced(&answer), (53, -1));
}
