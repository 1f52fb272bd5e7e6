//! The requests of a producing load: which batches of which partitions go together.

use ottla_log::batch::header::add_sequence;

use crate::Outcome;
use crate::batch::{Body, Cut, NO_PRODUCER, keys_by_partition};
use crate::link::Frame;
use crate::report::wall_ms;
use crate::wire::{self, Topic};

use super::engine::Load;
use super::options::Options;

/// What all batches made beforehand may take.
const MADE_BYTES_MAX: usize = 1 << 30;

/// One batch in a request.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub target: usize,
    pub records: u64,
    pub value_bytes: u64,
    pub batch_bytes: u64,
}

/// Who sends.
#[derive(Debug)]
pub struct Producer {
    id: (i64, i16),
    /// The next of each partition.
    sequences: Vec<i32>,
}

impl Producer {
    pub fn new(id: (i64, i16), targets: usize) -> Producer {
        Producer { id, sequences: if id == NO_PRODUCER { Vec::new() } else { vec![0; targets] } }
    }

    fn sequence(&mut self, target: usize, records: i32) -> i32 {
        match self.sequences.get_mut(target) {
            None => -1,
            Some(next) => std::mem::replace(next, add_sequence(*next, records)),
        }
    }
}

/// All partitions of all topics: topic by its place, and partition.
pub fn targets(topics: &[Topic]) -> Vec<(usize, i32)> {
    topics
        .iter()
        .enumerate()
        .flat_map(|(place, topic)| (0..topic.partitions).map(move |partition| (place, partition)))
        .collect()
}

/// The batches made beforehand, and which of them each partition takes: all of them, or with keys its own.
pub fn bodies(
    options: &Options,
    topics: &[Topic],
    targets: usize,
) -> Outcome<(Vec<Body>, Vec<std::ops::Range<usize>>)> {
    let (mut bodies, mut of_target, mut next, mut made_bytes) = (Vec::new(), Vec::new(), 0, 0);
    let mut make = |keys: &[Vec<u8>]| -> Outcome<std::ops::Range<usize>> {
        let begun = bodies.len();
        for _ in 0..options.distinct {
            let body = Body::make(&options.payload, keys, &mut next, &options.cut)?;
            made_bytes += body.batch_bytes();
            if made_bytes > MADE_BYTES_MAX {
                return Err(format!("the batches take more than {MADE_BYTES_MAX} bytes: make fewer --distinct ones"));
            }
            bodies.push(body);
        }
        Ok(begun..bodies.len())
    };
    if options.keys == 0 {
        let all = make(&[])?;
        return Ok((bodies, vec![all; targets]));
    }
    for topic in topics {
        for (partition, keys) in keys_by_partition(options.keys, topic.partitions).iter().enumerate() {
            if keys.is_empty() {
                return Err(format!("no key of {} goes to partition {partition} of {}", options.keys, topic.name));
            }
            of_target.push(make(keys)?);
        }
    }
    Ok((bodies, of_target))
}

/// A request of these batches; `bodies` are those that the parts' bodies are places in, shared or of this request alone.
fn write(
    load: &Load,
    frame: &mut Frame,
    producer: &mut Producer,
    correlation: i32,
    chosen: &[(usize, usize)],
    bodies: &[Body],
    shared: bool,
) -> Outcome<Vec<Part>> {
    frame.clear();
    wire::begin(&mut frame.own, wire::PRODUCE, load.version, correlation)?;
    let runs = wire::runs(chosen, |each| load.targets[each.0].0);
    wire::produce_head(&mut frame.own, load.options.acks, load.options.timeout_ms, runs.len())?;
    let now_ms = wall_ms();
    let mut parts = Vec::with_capacity(chosen.len());
    for run in runs {
        let topic = &load.topics[load.targets[chosen[run.start].0].0];
        wire::produce_topic(&mut frame.own, load.version, topic, run.len())?;
        for &(target, place) in &chosen[run] {
            let body = &bodies[place];
            wire::produce_partition(&mut frame.own, load.targets[target].1, body.batch_bytes())?;
            body.write_header(&mut frame.own, now_ms, producer.id, producer.sequence(target, body.records));
            if shared {
                frame.insert(place, bodies);
            } else {
                frame.own.extend_from_slice(&body.bytes);
            }
            wire::close(&mut frame.own);
            parts.push(Part {
                target,
                records: body.records as u64,
                value_bytes: body.value_bytes,
                batch_bytes: body.batch_bytes() as u64,
            });
        }
        wire::close(&mut frame.own);
    }
    wire::close(&mut frame.own);
    let elsewhere = frame.shared_bytes();
    wire::end(&mut frame.own, elsewhere)?;
    Ok(parts)
}

/// The next request of a closed loop: the next partitions in turn, each with the next of its batches.
pub fn closed(
    load: &Load,
    frame: &mut Frame,
    producer: &mut Producer,
    correlation: i32,
    turn: &mut usize,
) -> Outcome<Vec<Part>> {
    let count = load.options.batches_per_request.min(load.targets.len());
    let mut chosen: Vec<(usize, usize)> = (0..count)
        .map(|_| {
            let target = *turn % load.targets.len();
            let of_target = &load.bodies_of[target];
            let place = of_target.start + (*turn / load.targets.len() + target) % of_target.len();
            *turn = turn.wrapping_add(1);
            (target, place)
        })
        .collect();
    chosen.sort_unstable();
    write(load, frame, producer, correlation, &chosen, &load.bodies, true)
}

/// A request of the records that were due, by partition; they are `(target, due)`, and come back in the order of the parts.
pub fn open(
    load: &Load,
    frame: &mut Frame,
    producer: &mut Producer,
    correlation: i32,
    due: &mut [(usize, u64)],
) -> Outcome<Vec<Part>> {
    due.sort_by_key(|each| each.0);
    let mut bodies = Vec::new();
    let mut chosen = Vec::new();
    for of_target in due.chunk_by(|left, right| left.0 == right.0) {
        chosen.push((of_target[0].0, bodies.len()));
        let cut = Cut { bytes: usize::MAX, records: of_target.len(), ..load.options.cut };
        bodies.push(Body::stamped(&load.options.payload, of_target.iter().map(|each| each.1), &cut)?);
    }
    write(load, frame, producer, correlation, &chosen, &bodies, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Flags;
    use crate::produce::PRODUCE;

    fn made(words: &str) -> Outcome<usize> {
        let mut flags = Flags::read(words.split_whitespace().map(str::to_owned).collect())?;
        let options = Options::from_flags(&mut flags, &PRODUCE)?;
        let topic = Topic { name: "t".to_owned(), id: [0; 16], partitions: 4 };
        let (bodies, of_target) = bodies(&options, &[topic], 4)?;
        assert!(of_target.len() == 4 && of_target.iter().all(|range| range.len() == options.distinct));
        Ok(bodies.len())
    }

    /// Without keys all partitions share the batches, with keys each has its own; memory has an end.
    #[test]
    fn batches_are_made_for_partitions() {
        assert_eq!(made("--distinct 3"), Ok(3));
        assert_eq!(made("--distinct 3 --keys 100 --batch-bytes 1000"), Ok(12));
        assert!(made("--keys 1").unwrap_err().contains("no key of 1 goes to partition"));
        assert!(made("--distinct 100 --record-bytes 16777216 --batch-bytes 16777216").unwrap_err().contains("fewer"));
    }
}
