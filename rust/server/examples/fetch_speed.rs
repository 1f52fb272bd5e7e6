//! What a fetch of a session costs the broker, beside how many partitions the session has: `fetch_speed [partitions ...]`.
//!
//! No socket is used and no disk: frames go to the dispatcher, records lie in memory. For each size of session: a fetch that finds nothing new,
//! one that finds one partition with a new batch, and one that is parked until that batch comes (from the append to the answer). In
//! microseconds of CPU of the one thread that does it all, the median of 200.

#![allow(clippy::unwrap_used, clippy::panic, reason = "it stops where something fails")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::process::ExitCode;
use std::sync::Arc;

use bytes::BytesMut;
use common::{FetchAsk, Harness, TOPIC_ID, batch, fetch_body, produce_body, topic};
use ottla_log::{Durability, PartitionConfig};
use ottla_protocol::header::write_request_header;
use ottla_protocol::wire::{Reader, Writer};
use ottla_server::control::Peer;
use ottla_server::dispatch::{Outcome, Pending, begin};
use ottla_server::frame::Frame;
use ottla_server::reply::{Chunk, Reply};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const ROUNDS: usize = 200;
const PRODUCE: i16 = 0;
const FETCH: i16 = 1;

struct Broker {
    harness: Harness,
    peer: Arc<Peer>,
    batch: Vec<u8>,
}

impl Broker {
    fn with_partitions(partitions: i32) -> Result<Self> {
        let harness = Harness::start();
        let config = PartitionConfig { durability: Durability::Os, ..PartitionConfig::default() };
        harness.publish(2, vec![topic("t", TOPIC_ID, partitions, config)], vec![]);
        let peer = Arc::new(Peer::new(1, "127.0.0.1".parse()?, "PLAINTEXT".into()));
        Ok(Self { harness, peer, batch: batch(&["x".repeat(1000).as_str()]) })
    }

    fn begin(&self, key: i16, body: impl FnOnce(&mut Writer<'_, BytesMut>)) -> Result<Pending> {
        let mut frame = BytesMut::new();
        let mut writer = Writer::new(&mut frame);
        write_request_header(&mut writer, key, 7, 1, None)?;
        body(&mut writer);
        match begin(&self.harness.plane, &self.peer, Frame::new(frame, None)) {
            Outcome::Answer(pending) | Outcome::Pipelined(pending) => Ok(pending),
            Outcome::Close(reason) => Err(reason.into()),
        }
    }

    fn append(&self, partition: i32) -> Result<()> {
        now(self.begin(PRODUCE, |writer| produce_body(writer, None, 1, "t", partition, &self.batch))?)?;
        Ok(())
    }

    fn fetch(&self, session: (i32, i32), max_wait_ms: i32, partitions: &[(i32, i64)]) -> Result<Pending> {
        let max_bytes = 50 << 20;
        let ask = FetchAsk { max_wait_ms, max_bytes, session, partitions: partitions.to_vec(), ..FetchAsk::default() };
        self.begin(FETCH, |writer| fetch_body(writer, &ask))
    }
}

fn now(pending: Pending) -> Result<Reply> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(pending.finished())?.ok_or("no answer")?)
}

/// Session id and bytes of records.
fn look_at(reply: Reply) -> Result<(i32, usize)> {
    let mut chunks = reply.into_chunks();
    let Some(Chunk::Memory(head)) = chunks.next() else { return Err("no head".into()) };
    let bytes = chunks.map(|chunk| match chunk {
        Chunk::File(region) => region.bytes,
        Chunk::Memory(_) => 0,
    });
    let mut reader = Reader::new(&head[8..]);
    reader.i32("throttle")?;
    match reader.i16("error")? {
        0 => Ok((reader.i32("session")?, bytes.sum())),
        code => Err(format!("error {code}").into()),
    }
}

fn cpu_us() -> f64 {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    at.tv_sec as f64 * 1e6 + at.tv_nsec as f64 / 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn measure(partitions: i32) -> Result<[f64; 3]> {
    let broker = Broker::with_partitions(partitions)?;
    for partition in 0..partitions {
        broker.append(partition)?;
    }
    let all: Vec<(i32, i64)> = (0..partitions).map(|partition| (partition, 1)).collect();
    let (id, _) = look_at(now(broker.fetch((0, 0), 0, &all)?)?)?;
    let mut epoch = 0;
    let mut next = || {
        epoch += 1;
        (id, epoch)
    };
    // The first one after the full fetch looks at everything again.
    now(broker.fetch(next(), 0, &[])?)?;
    let (mut idle, mut found, mut parked) = (Vec::new(), Vec::new(), Vec::new());
    let mut end = vec![1; usize::try_from(partitions)?];
    let mut moved: Vec<(i32, i64)> = Vec::new();
    for round in 0..ROUNDS {
        let partition = i32::try_from(round * 7919 % end.len())?;
        let begun = cpu_us();
        let (_, bytes) = look_at(now(broker.fetch(next(), 0, &moved)?)?)?;
        idle.push(cpu_us() - begun);
        assert_eq!(bytes, 0);

        broker.append(partition)?;
        let begun = cpu_us();
        let (_, bytes) = look_at(now(broker.fetch(next(), 0, &[])?)?)?;
        found.push(cpu_us() - begun);
        assert_eq!(bytes, broker.batch.len());
        end[partition as usize] += 1;
        moved = vec![(partition, end[partition as usize])];

        let mut waiting = broker.fetch(next(), 60_000, &moved)?;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        if waiting.poll(&mut context).is_ready() {
            return Err("a fetch that should wait was answered".into());
        }
        let begun = cpu_us();
        broker.append(partition)?;
        let (_, bytes) = look_at(now(waiting)?)?;
        parked.push(cpu_us() - begun);
        assert_eq!(bytes, broker.batch.len());
        end[partition as usize] += 1;
        moved = vec![(partition, end[partition as usize])];
    }
    Ok([median(idle), median(found), median(parked)])
}

fn main() -> ExitCode {
    let mut sizes: Vec<i32> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![1, 100, 1_000, 10_000];
    }
    println!("partitions   nothing new   one new batch   woken by it   (us of CPU)");
    for size in sizes {
        match measure(size) {
            Ok([idle, found, parked]) => println!("{size:10} {idle:13.1} {found:15.1} {parked:13.1}"),
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
