//! What is said of topics, through every change and in every form: Metadata, and DescribeTopicPartitions page by page.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it fails")]

mod common;

use common::{Client, Harness, TOPIC_ID, topic};
use ottla_log::PartitionConfig;
use ottla_protocol::native::api_versions::Features;
use ottla_protocol::wire::Reader;
use ottla_server::image::{Broker, Update};

const NOTHING: [u8; 16] = [0; 16];
/// The first version that names topics by id.
const FLEXIBLE: i16 = 12;
/// Each after the other, twice.
const VERSIONS: [i16; 4] = [FLEXIBLE, 8, FLEXIBLE, 8];

/// A partition of a Metadata answer: error, index, leader, leader epoch, replicas, replicas in sync.
type Told = (i16, i32, i32, i32, Vec<i32>, Vec<i32>);

/// A topic of it: error, name, id, partitions.
type ToldTopic = (i16, Option<String>, [u8; 16], Vec<Told>);

/// Metadata of these topics, or of all, in one of [`VERSIONS`].
fn metadata(client: &mut Client, version: i16, names: Option<&[&str]>) -> Vec<ToldTopic> {
    let is_new = version == FLEXIBLE;
    let answer = client.ask(3, version, |w| {
        w.array(is_new, names.map(<[&str]>::len)).unwrap();
        for name in names.unwrap_or_default() {
            if is_new {
                w.uuid(&NOTHING);
            }
            w.nullable_string(is_new, Some(name)).unwrap();
            w.no_tags(is_new);
        }
        (0..if is_new { 2 } else { 3 }).for_each(|_| w.bool(false));
        w.no_tags(is_new);
    });
    let mut reader = Reader::new(&answer);
    let reader = &mut reader;
    reader.skip_tags(is_new).unwrap();
    reader.i32("throttle").unwrap();
    for _ in 0..reader.array(is_new, 1, "brokers").unwrap() {
        reader.i32("id").unwrap();
        reader.string(is_new, "host").unwrap();
        reader.i32("port").unwrap();
        reader.nullable_string(is_new, "rack").unwrap();
        reader.skip_tags(is_new).unwrap();
    }
    reader.nullable_string(is_new, "cluster").unwrap();
    reader.i32("controller").unwrap();
    let count = reader.array(is_new, 1, "topics").unwrap();
    let topics: Vec<ToldTopic> = (0..count).map(|_| told_topic(reader, is_new)).collect();
    if !is_new {
        reader.i32("operations of the cluster").unwrap();
    }
    reader.skip_tags(is_new).unwrap();
    assert_eq!(reader.remaining(), 0);
    topics
}

fn told_topic(reader: &mut Reader<'_>, is_new: bool) -> ToldTopic {
    let error = reader.i16("error").unwrap();
    let name = reader.nullable_string(is_new, "name").unwrap().map(str::to_owned);
    let id = if is_new { reader.uuid("id").unwrap() } else { NOTHING };
    reader.bool("internal").unwrap();
    let partitions = (0..reader.array(is_new, 1, "partitions").unwrap()).map(|_| told(reader, is_new)).collect();
    reader.i32("operations").unwrap();
    reader.skip_tags(is_new).unwrap();
    (error, name, id, partitions)
}

fn told(reader: &mut Reader<'_>, is_new: bool) -> Told {
    let head = (reader.i16("error").unwrap(), reader.i32("index").unwrap());
    let leader = (reader.i32("leader").unwrap(), reader.i32("epoch").unwrap());
    let ids = |reader: &mut Reader<'_>| -> Vec<i32> {
        (0..reader.array(is_new, 4, "ids").unwrap()).map(|_| reader.i32("id").unwrap()).collect()
    };
    let (replicas, isr, offline) = (ids(reader), ids(reader), ids(reader));
    assert!(offline.is_empty());
    reader.skip_tags(is_new).unwrap();
    (head.0, head.1, leader.0, leader.1, replicas, isr)
}

/// What Metadata says of a topic is what was last published of it, however often and in whichever version it was asked before: more
/// partitions, another leader epoch, a leader that is gone and one that is back, another topic of that name, none.
#[test]
fn metadata_through_changes() {
    const LEADERLESS: i16 = 5;
    const UNKNOWN: i16 = 3;
    let harness = Harness::start();
    let mut client = harness.connect();
    let of = |index: i32, epoch: i32| (0, index, 1, epoch, vec![1], vec![1]);
    let said = |partitions: Vec<Told>| (0, Some("t".to_owned()), TOPIC_ID, partitions);
    let mut expect = |expected: ToldTopic| {
        for version in VERSIONS {
            let id = if version == FLEXIBLE { expected.2 } else { NOTHING };
            let expected = (expected.0, expected.1.clone(), id, expected.3.clone());
            assert_eq!(metadata(&mut client, version, Some(&["t", "t"])), std::slice::from_ref(&expected));
            if expected.0 == 0 {
                assert_eq!(metadata(&mut client, version, None), [expected]);
            }
        }
    };
    expect(said(vec![of(0, 0), of(1, 0)]));
    harness.publish(2, vec![topic("t", TOPIC_ID, 3, PartitionConfig::default())], vec![]);
    expect(said(vec![of(0, 0), of(1, 0), of(2, 0)]));
    let mut led_again = topic("t", TOPIC_ID, 3, PartitionConfig::default());
    led_again.partitions[1].leader_epoch = 7;
    harness.publish(3, vec![led_again], vec![]);
    expect(said(vec![of(0, 0), of(1, 7), of(2, 0)]));
    let without = |offset| {
        let brokers: Vec<Broker> = vec![];
        harness.engine.publish(Update {
            offset,
            controller_id: 1,
            brokers,
            features: Features::default(),
            topics: vec![],
            deleted: vec![],
        });
    };
    without(4);
    let leaderless = |index, epoch| (LEADERLESS, index, -1, epoch, vec![1], vec![1]);
    expect(said(vec![leaderless(0, 0), leaderless(1, 7), leaderless(2, 0)]));
    harness.publish(5, vec![], vec![]);
    expect(said(vec![of(0, 0), of(1, 7), of(2, 0)]));
    harness.publish(6, vec![topic("t", [8; 16], 1, PartitionConfig::default())], vec![TOPIC_ID]);
    expect((0, Some("t".to_owned()), [8; 16], vec![of(0, 0)]));
    harness.publish(7, vec![], vec![[8; 16]]);
    expect((UNKNOWN, Some("t".to_owned()), NOTHING, vec![]));
}

fn name(number: u32) -> String {
    format!("topic-{number:04}")
}

/// Thousands of topics of two partitions, made and deleted in several publications, one of them made again with one; those that are there,
/// in order.
fn thousands(harness: &Harness) -> Vec<String> {
    let id = |number: u32| {
        let mut id = [9; 16];
        id[..4].copy_from_slice(&number.to_le_bytes());
        id
    };
    let config = PartitionConfig::default;
    for (offset, begin) in (2..).zip((0..3_000).step_by(500)) {
        let topics = (begin..begin + 500).rev().map(|number| topic(&name(number), id(number), 2, config()));
        harness.publish(offset, topics.collect(), vec![]);
    }
    harness.publish(100, vec![topic(&name(3), id(10_000), 1, config())], (0..3_000).step_by(3).map(id).collect());
    let mut expected: Vec<String> = (0..3_000).filter(|number| number % 3 > 0 || *number == 3).map(name).collect();
    expected.push("t".to_owned());
    expected.sort();
    expected
}

/// Metadata of thousands of topics has just those that are there, in order of their names, and each is found by its name.
#[test]
fn metadata_of_thousands() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let expected = thousands(&harness);
    let told = metadata(&mut client, FLEXIBLE, None);
    assert_eq!(told.iter().map(|topic| topic.1.clone().unwrap()).collect::<Vec<_>>(), expected);
    let names: Vec<&str> = expected.iter().map(String::as_str).collect();
    assert_eq!(metadata(&mut client, FLEXIBLE, Some(&names)), told);
    assert_eq!(told.iter().filter(|topic| topic.3.len() == 1).count(), 1);
    assert_eq!(metadata(&mut client, FLEXIBLE, Some(&[&name(6)]))[0].0, 3);
}

/// A page of DescribeTopicPartitions: its topics with the indexes of their partitions, and where the next one begins.
type Page = (Vec<(String, Vec<i32>)>, Option<(String, i32)>);

fn page(client: &mut Client, names: &[&str], limit: i32, cursor: Option<&(String, i32)>) -> Page {
    let answer = client.ask(75, 0, |w| {
        w.array(true, Some(names.len())).unwrap();
        for name in names {
            w.string(true, name).unwrap();
            w.no_tags(true);
        }
        w.i32(limit);
        w.i8(if cursor.is_some() { 1 } else { -1 });
        if let Some((topic, partition)) = cursor {
            w.string(true, topic).unwrap();
            w.i32(*partition);
            w.no_tags(true);
        }
        w.no_tags(true);
    });
    let mut reader = Reader::new(&answer);
    let reader = &mut reader;
    reader.skip_tags(true).unwrap();
    reader.i32("throttle").unwrap();
    let topics = (0..reader.array(true, 1, "topics").unwrap()).map(|_| described_topic(reader)).collect();
    let next = (reader.i8("cursor").unwrap() >= 0).then(|| {
        let next = (reader.string(true, "topic").unwrap().to_owned(), reader.i32("partition").unwrap());
        reader.skip_tags(true).unwrap();
        next
    });
    reader.skip_tags(true).unwrap();
    assert_eq!(reader.remaining(), 0);
    (topics, next)
}

fn described_topic(reader: &mut Reader<'_>) -> (String, Vec<i32>) {
    assert_eq!(reader.i16("error").unwrap(), 0);
    let name = reader.nullable_string(true, "name").unwrap().unwrap().to_owned();
    reader.uuid("id").unwrap();
    reader.bool("internal").unwrap();
    let partition = |reader: &mut Reader<'_>| {
        assert_eq!(reader.i16("error").unwrap(), 0);
        let index = reader.i32("index").unwrap();
        ["leader", "epoch"].into_iter().for_each(|what| _ = reader.i32(what).unwrap());
        for _ in 0..5 {
            let ids = reader.array(true, 4, "ids").unwrap();
            (0..ids).for_each(|_| _ = reader.i32("id").unwrap());
        }
        reader.skip_tags(true).unwrap();
        index
    };
    let partitions = (0..reader.array(true, 1, "partitions").unwrap()).map(|_| partition(reader)).collect();
    reader.i32("operations").unwrap();
    reader.skip_tags(true).unwrap();
    (name, partitions)
}

/// The partitions of [`thousands`].
fn with_partitions<'n>(names: impl Iterator<Item = &'n str>) -> Vec<(String, i32)> {
    let lone = name(3);
    let count = |name: &str| if name == lone { 1 } else { 2 };
    names.flat_map(|name| (0..count(name)).map(|index| (name.to_owned(), index))).collect()
}

/// Pages of whatever size, one after the other, have each partition of each topic once and in order, whether all topics are asked for or
/// some; none but the last has room left.
#[test]
fn pages_of_thousands() {
    let harness = Harness::start();
    let mut client = harness.connect();
    let all = thousands(&harness);
    let some: Vec<&str> = all.iter().rev().step_by(7).map(String::as_str).collect();
    let expected_of_all = with_partitions(all.iter().map(String::as_str));
    let expected_of_some = with_partitions(some.iter().rev().copied());
    for (names, expected) in [(&[][..], expected_of_all), (&some[..], expected_of_some)] {
        for limit in [1_999, 311, 3] {
            let (mut found, mut cursor) = (Vec::new(), None);
            loop {
                let (topics, next) = page(&mut client, names, limit, cursor.as_ref());
                assert!(topics.iter().all(|(_, indexes)| !indexes.is_empty()));
                let partitions =
                    |(name, indexes): (String, Vec<i32>)| indexes.into_iter().map(move |index| (name.clone(), index));
                let on_page: Vec<(String, i32)> = topics.into_iter().flat_map(partitions).collect();
                let is_full = on_page.len() == usize::try_from(limit).unwrap();
                found.extend(on_page);
                assert!(is_full || next.is_none());
                // Where the next one begins is where this one ends.
                assert_eq!(next.as_ref(), expected.get(found.len()));
                let Some(next) = next else { break };
                cursor = Some(next);
            }
            assert_eq!(found, expected);
        }
    }
}
