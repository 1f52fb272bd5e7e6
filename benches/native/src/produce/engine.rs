//! One thread that drives all connections of a producing load.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::ops::Range;

use crate::Outcome;
use crate::batch::Body;
use crate::link::Link;
use crate::pace::Pace;
use crate::poller::Poller;
use crate::report::{now_ns, thread_cpu_s};
use crate::wire::{self, Topic};

use super::Counts;
use super::options::Options;
use super::requests::{self, Part, Producer};

const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How long the last answers may take.
const DRAIN_NS: u64 = 60_000_000_000;
/// More records than these wait for no broker: it will not catch up.
const WAITING_MAX: usize = 2_000_000;
/// Of one request of an open loop.
const OPEN_REQUEST_BYTES: usize = 1 << 20;
/// Requests that nobody answers, sent in one go before others get their turn.
const UNANSWERED_AT_ONCE: usize = 16;

/// What is sent.
#[derive(Debug)]
pub struct Load {
    pub options: Options,
    pub topics: Vec<Topic>,
    pub version: i16,
    pub targets: Vec<(usize, i32)>,
    pub bodies: Vec<Body>,
    pub bodies_of: Vec<Range<usize>>,
}

impl Load {
    pub fn new(options: Options, topics: Vec<Topic>, version: i16) -> Outcome<Load> {
        let targets = requests::targets(&topics);
        let (bodies, bodies_of) = match options.rate {
            None => requests::bodies(&options, &topics, targets.len())?,
            Some(_) => (Vec::new(), Vec::new()),
        };
        Ok(Load { options, topics, version, targets, bodies, bodies_of })
    }
}

/// A request without its answer.
#[derive(Debug)]
struct Sent {
    correlation: i32,
    at_ns: u64,
    parts: Vec<Part>,
    /// When each record was due, part by part; empty in a closed loop.
    due_ns: Vec<u64>,
}

#[derive(Debug)]
struct Sender {
    link: Link,
    producer: Producer,
    correlation: i32,
    turn: usize,
    sent: VecDeque<Sent>,
    /// Came due and did not go: target and time.
    waiting: VecDeque<(usize, u64)>,
    /// The question whose answer says that what went before it, unanswered, has come.
    barrier: bool,
}

/// How a load goes on.
struct Course {
    begun_ns: u64,
    ends_ns: u64,
    pace: Option<Pace>,
    /// Records so far: that came due in an open loop, that were sent in a closed one.
    records: u64,
    waiting: usize,
    over: bool,
}

pub fn run(load: &Load, connections: Vec<(TcpStream, (i64, i16))>, counts: &mut Counts) -> Outcome<()> {
    let mut poller = Poller::new()?;
    let mut senders = Vec::new();
    let stride = load.targets.len().div_ceil(connections.len());
    for (token, (stream, producer)) in connections.into_iter().enumerate() {
        let link = Link::new(stream, ANSWER_BYTES_MAX)?;
        poller.add(&link.stream, token, false)?;
        senders.push(Sender {
            link,
            producer: Producer::new(producer, load.targets.len()),
            correlation: 0,
            // Each begins with other partitions.
            turn: token * stride.max(1),
            sent: VecDeque::new(),
            waiting: VecDeque::new(),
            barrier: false,
        });
    }
    let cpu_s = thread_cpu_s();
    let begun_ns = now_ns();
    let mut course = Course {
        begun_ns,
        ends_ns: begun_ns + load.options.duration_ns,
        pace: load.options.rate.map(|rate| Pace::new(begun_ns, rate)).transpose()?,
        records: 0,
        waiting: 0,
        over: false,
    };
    let done = drive(load, &mut senders, &mut poller, &mut course, counts);
    counts.cpu_s = thread_cpu_s() - cpu_s;
    counts.unanswered = senders.iter().map(|sender| sender.sent.len() as u64).sum();
    done
}

fn drive(
    load: &Load,
    senders: &mut [Sender],
    poller: &mut Poller,
    course: &mut Course,
    counts: &mut Counts,
) -> Outcome<()> {
    let mut ready: Vec<usize> = (0..senders.len()).collect();
    loop {
        let now_ns = now_ns();
        let was_over = course.over;
        let wakes_ns = come_due(load, senders, course, now_ns, &mut ready)?;
        if course.over && !was_over {
            ready = (0..senders.len()).collect();
        }
        for &token in &ready {
            let sender = &mut senders[token];
            take_answers(load, sender, counts, course)?;
            go_on(load, sender, token, poller, course, counts)?;
        }
        counts.waiting_max = counts.waiting_max.max(course.waiting);
        if course.over && senders.iter().all(|sender| sender.is_done(load)) {
            return Ok(());
        }
        if now_ns > course.ends_ns + DRAIN_NS {
            return Err("the last requests are not answered".to_owned());
        }
        poller.wait(wakes_ns, &mut ready)?;
    }
}

/// Deals out what has come due, and ends the load when it is time; the time to wake up at.
fn come_due(
    load: &Load,
    senders: &mut [Sender],
    course: &mut Course,
    now_ns: u64,
    ready: &mut Vec<usize>,
) -> Outcome<u64> {
    let Some(pace) = course.pace else {
        course.over |= now_ns >= course.ends_ns || course.records >= load.options.records;
        return Ok(if course.over { course.ends_ns + 2 * DRAIN_NS } else { course.ends_ns });
    };
    while !course.over {
        let due_ns = pace.due_ns(course.records);
        course.over = due_ns >= course.ends_ns || course.records >= load.options.records;
        if course.over {
            break;
        }
        if due_ns > now_ns {
            return Ok(due_ns);
        }
        let token = (course.records % senders.len() as u64) as usize;
        let sender = &mut senders[token];
        sender.waiting.push_back((sender.turn % load.targets.len(), due_ns));
        sender.turn = sender.turn.wrapping_add(1);
        course.records += 1;
        course.waiting += 1;
        if course.waiting > WAITING_MAX {
            return Err(format!("the broker is {WAITING_MAX} records behind"));
        }
        if !ready.contains(&token) {
            ready.push(token);
        }
    }
    Ok(now_ns + DRAIN_NS)
}

impl Sender {
    fn is_done(&self, load: &Load) -> bool {
        let all_came = load.options.acks != 0 || self.barrier;
        self.link.frame.is_sent() && self.sent.is_empty() && self.waiting.is_empty() && all_came
    }

    /// The next request, if there is anything to send.
    fn fill(&mut self, load: &Load, course: &mut Course) -> Outcome<bool> {
        let Sender { link, producer, correlation, turn, waiting, .. } = self;
        let mut due_ns = Vec::new();
        let parts = if course.pace.is_some() {
            let value_bytes = load.options.payload.value(0).len().max(1);
            let count = waiting.len().min((OPEN_REQUEST_BYTES / value_bytes).max(1)).min(load.options.cut.records);
            if count == 0 {
                return Ok(false);
            }
            let mut due: Vec<(usize, u64)> = waiting.drain(..count).collect();
            course.waiting -= count;
            let parts = requests::open(load, &mut link.frame, producer, *correlation, &mut due)?;
            due_ns.extend(due.iter().map(|each| each.1));
            parts
        } else {
            if course.over || course.records >= load.options.records {
                return Ok(false);
            }
            let parts = requests::closed(load, &mut link.frame, producer, *correlation, turn)?;
            course.records += parts.iter().map(|part| part.records).sum::<u64>();
            parts
        };
        self.sent.push_back(Sent { correlation: self.correlation, at_ns: now_ns(), parts, due_ns });
        self.correlation = self.correlation.wrapping_add(1);
        Ok(true)
    }

    /// Without acks the last question is one that is answered.
    fn ask_whether_all_came(&mut self) -> Outcome<()> {
        self.link.frame.clear();
        wire::api_versions(&mut self.link.frame.own, self.correlation)?;
        self.sent.push_back(Sent {
            correlation: self.correlation,
            at_ns: now_ns(),
            parts: Vec::new(),
            due_ns: Vec::new(),
        });
        self.barrier = true;
        Ok(())
    }
}

/// Sends as much as may be in flight.
fn go_on(
    load: &Load,
    sender: &mut Sender,
    token: usize,
    poller: &Poller,
    course: &mut Course,
    counts: &mut Counts,
) -> Outcome<()> {
    let unanswered = load.options.acks == 0;
    let mut at_once = 0;
    let wants_to_write = loop {
        if !sender.link.send(&load.bodies)? {
            break true;
        }
        if unanswered
            && !sender.barrier
            && let Some(sent) = sender.sent.pop_front()
        {
            count(counts, &sent.parts, course);
            at_once += 1;
            if at_once == UNANSWERED_AT_ONCE {
                break true;
            }
        }
        if sender.sent.len() >= load.options.in_flight || sender.barrier {
            break false;
        }
        if !sender.fill(load, course)? {
            if unanswered && (course.over || course.records >= load.options.records) {
                sender.ask_whether_all_came()?;
                continue;
            }
            break false;
        }
    };
    if sender.link.watches_write != wants_to_write {
        poller.change(&sender.link.stream, token, wants_to_write)?;
        sender.link.watches_write = wants_to_write;
    }
    Ok(())
}

fn count(counts: &mut Counts, parts: &[Part], course: &Course) {
    counts.requests += 1;
    for part in parts {
        counts.records += part.records;
        counts.value_bytes += part.value_bytes;
        counts.batch_bytes += part.batch_bytes;
    }
    counts.took_ns = now_ns() - course.begun_ns;
}

/// Reads what has come.
fn take_answers(load: &Load, sender: &mut Sender, counts: &mut Counts, course: &Course) -> Outcome<()> {
    if sender.sent.is_empty() || !sender.link.receive()? {
        return Ok(());
    }
    let now_ns = now_ns();
    while let Some(message) = sender.link.message()? {
        let mut sent = sender.sent.pop_front().ok_or("an answer to nothing")?;
        if sent.parts.is_empty() {
            wire::read_api_versions(message, sent.correlation)?;
            continue;
        }
        let mut failed = Vec::new();
        wire::read_produce(message, load.version, sent.correlation, &load.topics, |topic, partition, code, _| {
            if code != 0 {
                failed.push(((topic, partition), code));
            }
        })?;
        if failed.is_empty() {
            if sent.due_ns.is_empty() {
                counts.latency.record(sent.at_ns, now_ns);
            }
            for due_ns in &sent.due_ns {
                counts.latency.record(*due_ns, now_ns);
            }
        } else {
            for &(target, code) in &failed {
                *counts.errors.entry(code).or_default() += 1;
                let is_it = |part: &Part| load.targets[part.target] == target;
                counts.failed_records +=
                    sent.parts.iter().filter(|part| is_it(part)).map(|part| part.records).sum::<u64>();
                sent.parts.retain(|part| !is_it(part));
            }
            if load.options.idempotent {
                return Err(format!("a sequence is broken: {}", wire::error_name(failed[0].1)));
            }
        }
        count(counts, &sent.parts, course);
    }
    Ok(())
}
