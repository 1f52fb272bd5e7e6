//! `fetch`: consumers without groups, each over its share of the partitions, in fetch sessions.

mod batches;

use std::net::TcpStream;

use batches::{Tally, walk};

use crate::Outcome;
use crate::cluster::{Cluster, greeted};
use crate::flags::Flags;
use crate::link::Link;
use crate::poller::Poller;
use crate::produce::GIB;
use crate::report::{Report, now_ns, thread_cpu_s};
use crate::wire::{self, FetchLimits, Topic, error_name};

/// What an answer holds besides its records.
const ANSWER_OVERHEAD_BYTES: usize = 16 << 20;
/// Sessions that the broker does not know, or that went on without us: begun anew.
const SESSION_ERRORS: [i16; 2] = [70, 71];

#[derive(Debug)]
struct Options {
    connections: usize,
    from_end: bool,
    to_end: bool,
    again: bool,
    duration_ns: u64,
    records: u64,
    bytes_per_s: Option<f64>,
    limits: FetchLimits,
    check: bool,
    latency: bool,
    ready: bool,
}

impl Options {
    fn from_flags(flags: &mut Flags) -> Outcome<Options> {
        let from_end = match flags.text("from").as_deref() {
            None | Some("beginning") => false,
            Some("end") => true,
            Some(other) => return Err(format!("--from cannot be {other}")),
        };
        let rate: Option<f64> = flags.maybe("rate-mib")?;
        if rate.is_some_and(|rate| !(rate > 0.0 && rate < 1e9)) {
            return Err("--rate-mib must be above 0".to_owned());
        }
        let options = Options {
            connections: flags.count("connections", 1)?,
            from_end,
            to_end: flags.on("to-end"),
            again: flags.on("again"),
            duration_ns: flags.seconds_ns("seconds", 10.0)?,
            records: flags.number("records", u64::MAX)?,
            bytes_per_s: rate.map(|rate| rate * (1u64 << 20) as f64),
            limits: FetchLimits {
                max_wait_ms: flags.number("max-wait-ms", 500)?,
                min_bytes: flags.number("min-bytes", 1)?,
                max_bytes: flags.number("fetch-max-bytes", 50 << 20)?,
                partition_max_bytes: flags.number("partition-max-bytes", 1 << 20)?,
                read_committed: flags.on("read-committed"),
            },
            check: flags.on("check"),
            latency: flags.on("latency"),
            ready: flags.on("ready"),
        };
        if options.from_end && (options.to_end || options.again) {
            return Err("--from end has nothing to read to the end, or again".to_owned());
        }
        if options.to_end && options.again {
            return Err("--to-end ends, --again does not".to_owned());
        }
        Ok(options)
    }
}

/// Where one partition is read.
#[derive(Debug)]
struct Position {
    topic: usize,
    partition: i32,
    begins: i64,
    ends: i64,
    next: i64,
}

/// One connection and its share.
#[derive(Debug)]
struct Consumer {
    link: Link,
    correlation: i32,
    session: (i32, i32),
    /// Places in the positions.
    owned: Vec<usize>,
    /// Those that moved since the session last heard of them.
    moved: Vec<usize>,
    asked: bool,
    /// When it may ask again.
    wakes_ns: u64,
    done: bool,
}

struct Load {
    options: Options,
    topics: Vec<Topic>,
    version: i16,
    positions: Vec<Position>,
    begun_ns: u64,
}

pub fn run(mut flags: Flags, report: &mut Report) -> Outcome<()> {
    let mut cluster = Cluster::open(&mut flags)?;
    let topics = cluster.topics(&flags.needed("topics")?)?;
    let options = Options::from_flags(&mut flags)?;
    flags.finish()?;
    let mut positions = Vec::new();
    for (place, topic) in topics.iter().enumerate() {
        let begins = cluster.offsets(topic, wire::EARLIEST)?;
        let ends = cluster.offsets(topic, wire::LATEST)?;
        for partition in 0..topic.partitions {
            let (begins, ends) = (begins[partition as usize], ends[partition as usize]);
            let next = if options.from_end { ends } else { begins };
            positions.push(Position { topic: place, partition, begins, ends, next });
        }
    }
    if options.again && positions.iter().all(|position| position.begins == position.ends) {
        return Err("nothing to read again and again".to_owned());
    }
    let version = cluster.version(wire::FETCH)?;
    report.count("fetch_version", version as u64);
    report.count("connections", options.connections as u64);
    let streams =
        (0..options.connections).map(|_| greeted(cluster.bootstrap())).collect::<Outcome<Vec<TcpStream>>>()?;
    let mut tally = Tally::new(options.check, options.latency)?;
    let mut load = Load { options, topics, version, positions, begun_ns: now_ns() };
    let cpu_s = thread_cpu_s();
    let done = load.drive(streams, &mut tally);
    let own_cpu_s = thread_cpu_s() - cpu_s;
    let seconds = tally.last_ns.saturating_sub(load.begun_ns) as f64 / 1e9;
    for (name, value) in [
        ("requests", tally.requests),
        ("records", tally.records),
        ("batches", tally.batches),
        ("batch_bytes", tally.batch_bytes),
        ("received_bytes", tally.received_bytes),
        ("gaps", tally.gaps),
    ] {
        report.count(name, value);
    }
    report.number("seconds", seconds);
    report.number("records_per_s", tally.records as f64 / seconds);
    report.number("mib_per_s", tally.batch_bytes as f64 / (1u64 << 20) as f64 / seconds);
    report.number("own_cpu_s", own_cpu_s);
    report.number("own_cpu_s_per_gib", own_cpu_s * GIB / tally.batch_bytes as f64);
    if let Some(latency) = &tally.latency {
        report.latency("latency", latency);
    }
    done
}

impl Load {
    fn drive(&mut self, streams: Vec<TcpStream>, tally: &mut Tally) -> Outcome<()> {
        let mut poller = Poller::new()?;
        let frame_bytes_max = self.options.limits.max_bytes.max(1 << 20) as usize + ANSWER_OVERHEAD_BYTES;
        let count = streams.len();
        let mut consumers = Vec::new();
        for (token, stream) in streams.into_iter().enumerate() {
            let owned: Vec<usize> = (token..self.positions.len()).step_by(count).collect();
            poller.add(&stream, token, false)?;
            consumers.push(Consumer {
                link: Link::new(stream, frame_bytes_max)?,
                correlation: 0,
                session: (0, 0),
                done: owned.is_empty(),
                moved: Vec::new(),
                owned,
                asked: false,
                wakes_ns: 0,
            });
        }
        if self.options.ready {
            println!("{{\"ready\": true}}");
        }
        let ends_ns = self.begun_ns + self.options.duration_ns;
        let mut ready: Vec<usize> = (0..consumers.len()).collect();
        loop {
            for &token in &ready {
                self.take(&mut consumers[token], tally)?;
            }
            let now_ns = now_ns();
            let mut wakes_ns = ends_ns;
            for (token, consumer) in consumers.iter_mut().enumerate() {
                if consumer.asked || consumer.done {
                    self.push(consumer, token, &poller)?;
                } else if consumer.wakes_ns > now_ns {
                    wakes_ns = wakes_ns.min(consumer.wakes_ns);
                } else if self.is_done(consumer) {
                    consumer.done = true;
                } else {
                    self.ask(consumer)?;
                    self.push(consumer, token, &poller)?;
                }
            }
            let over = now_ns >= ends_ns || tally.records >= self.options.records;
            if over || consumers.iter().all(|consumer| consumer.done) {
                if self.options.to_end && !consumers.iter().all(|consumer| consumer.done) {
                    return Err("the end was not reached in time".to_owned());
                }
                return Ok(());
            }
            poller.wait(wakes_ns, &mut ready)?;
        }
    }

    fn is_done(&self, consumer: &Consumer) -> bool {
        self.options.to_end && consumer.owned.iter().all(|&at| self.positions[at].next >= self.positions[at].ends)
    }

    fn ask(&self, consumer: &mut Consumer) -> Outcome<()> {
        // Without a session, and in its first request, everything is named.
        let all = consumer.session.1 <= 0;
        let mut places = std::mem::take(&mut consumer.moved);
        if all {
            places.clone_from(&consumer.owned);
        }
        places.sort_unstable();
        places.dedup();
        let wanted: Vec<wire::Wanted> = places
            .iter()
            .map(|&at| (self.positions[at].topic, self.positions[at].partition, self.positions[at].next))
            .collect();
        let frame = &mut consumer.link.frame;
        frame.clear();
        let (limits, session) = (&self.options.limits, consumer.session);
        wire::fetch(&mut frame.own, self.version, consumer.correlation, limits, session, &self.topics, &wanted)?;
        consumer.asked = true;
        Ok(())
    }

    fn push(&self, consumer: &mut Consumer, token: usize, poller: &Poller) -> Outcome<()> {
        let blocked = !consumer.link.send(&[])?;
        if blocked != consumer.link.watches_write {
            poller.change(&consumer.link.stream, token, blocked)?;
            consumer.link.watches_write = blocked;
        }
        Ok(())
    }

    /// Reads what has come; one answer at most, since one was asked for.
    fn take(&mut self, consumer: &mut Consumer, tally: &mut Tally) -> Outcome<()> {
        if !consumer.asked || !consumer.link.receive()? {
            return Ok(());
        }
        let Consumer { link, correlation, session, owned, moved, asked, wakes_ns, .. } = consumer;
        let Some(message) = link.message()? else { return Ok(()) };
        tally.begin_answer(message.len());
        let (positions, options) = (&mut self.positions, &self.options);
        let count = options.connections;
        let firsts = first_places(positions, &self.topics);
        let told = wire::read_fetch(message, self.version, *correlation, &self.topics, |one| {
            let at = firsts[one.topic] + one.partition as usize;
            // Dealt like cards: a consumer's places are its own number and every so many behind it.
            if positions.get(at).is_none_or(|position| position.partition != one.partition)
                || owned[0] % count != at % count
            {
                return Err(format!("partition {} was not asked for", one.partition));
            }
            let position = &mut positions[at];
            if one.error_code != 0 {
                return Err(format!("partition {}: {}", one.partition, error_name(one.error_code)));
            }
            let before = position.next;
            walk(one.records, &mut position.next, tally).map_err(|error| {
                format!("partition {} of {}, from offset {before}: {error}", one.partition, self.topics[one.topic].name)
            })?;
            if options.again && position.next >= position.ends {
                position.next = position.begins;
            }
            if position.next != before || options.again {
                moved.push(at);
            }
            Ok(())
        });
        let (code, id) = told?;
        *asked = false;
        *correlation = correlation.wrapping_add(1);
        if SESSION_ERRORS.contains(&code) {
            *session = (0, 0);
        } else if code != 0 {
            return Err(format!("the broker answers a fetch with {}", error_name(code)));
        } else if id == 0 {
            *session = (0, -1);
        } else {
            *session = (id, session.1.max(0) % i32::MAX + 1);
        }
        if let Some(bytes_per_s) = options.bytes_per_s {
            *wakes_ns = self.begun_ns + (tally.batch_bytes as f64 / bytes_per_s * 1e9) as u64;
        }
        Ok(())
    }
}

/// The place of each topic's partition 0.
fn first_places(positions: &[Position], topics: &[Topic]) -> Vec<usize> {
    (0..topics.len()).map(|topic| positions.partition_point(|position| position.topic < topic)).collect()
}
