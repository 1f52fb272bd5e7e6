//! `produce` and `tiny`: requests of batches that were made beforehand, as many in flight as allowed (closed loop); or records that come
//! due one by one at a rate, each batch made of what has come due (open loop).

pub mod engine;
mod options;
mod requests;

use std::collections::BTreeMap;

pub use options::{Options, Preset, cut};

use crate::Outcome;
use crate::batch::NO_PRODUCER;
use crate::cluster::{Cluster, greeted};
use crate::flags::Flags;
use crate::latency::Latency;
use crate::report::{Report, thread_cpu_s};
use crate::wire::{self, error_name};

pub const PRODUCE: Preset = Preset { connections: 1, in_flight: 5, record_bytes: 1024, batch_records: usize::MAX };
pub const TINY: Preset = Preset { connections: 50, in_flight: 1, record_bytes: 100, batch_records: 1 };
pub const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;

/// What has been counted so far.
#[derive(Debug)]
pub struct Counts {
    pub requests: u64,
    pub records: u64,
    pub value_bytes: u64,
    /// Of batches, compressed as they are.
    pub batch_bytes: u64,
    pub failed_records: u64,
    pub errors: BTreeMap<i16, u64>,
    pub latency: Latency,
    /// From the first send to the last answer.
    pub took_ns: u64,
    /// Of the thread that sends.
    pub cpu_s: f64,
    /// The most records that waited for a request to be answered.
    pub waiting_max: usize,
    pub unanswered: u64,
}

impl Counts {
    pub fn new() -> Outcome<Counts> {
        Ok(Counts {
            requests: 0,
            records: 0,
            value_bytes: 0,
            batch_bytes: 0,
            failed_records: 0,
            errors: BTreeMap::new(),
            latency: Latency::new()?,
            took_ns: 0,
            cpu_s: 0.0,
            waiting_max: 0,
            unanswered: 0,
        })
    }

    pub fn tell(&self, report: &mut Report) {
        let seconds = self.took_ns as f64 / 1e9;
        for (name, value) in [
            ("requests", self.requests),
            ("records", self.records),
            ("value_bytes", self.value_bytes),
            ("batch_bytes", self.batch_bytes),
            ("failed_records", self.failed_records),
            ("unanswered_requests", self.unanswered),
            ("waiting_records_max", self.waiting_max as u64),
        ] {
            report.count(name, value);
        }
        report.number("seconds", seconds);
        report.number("records_per_s", self.records as f64 / seconds);
        report.number("requests_per_s", self.requests as f64 / seconds);
        report.number("mib_per_s", self.value_bytes as f64 / MIB / seconds);
        report.number("own_cpu_s", self.cpu_s);
        report.number("own_cpu_s_per_gib", self.cpu_s * GIB / self.value_bytes as f64);
        report.latency("latency", &self.latency);
        let mut errors = Report::default();
        for (code, count) in &self.errors {
            errors.count(&error_name(*code), *count);
        }
        report.object("errors", &errors);
    }
}

pub fn run(mut flags: Flags, preset: &Preset, report: &mut Report) -> Outcome<()> {
    let mut cluster = Cluster::open(&mut flags)?;
    let topics = flags.needed("topics")?;
    let options = Options::from_flags(&mut flags, preset)?;
    flags.finish()?;
    let topics = cluster.topics(&topics)?;
    for topic in &topics {
        cluster.offsets(topic, wire::LATEST)?; // its leaders serve
    }
    let mut connections = Vec::new();
    for _ in 0..options.connections {
        let producer = if options.idempotent { cluster.new_producer()? } else { NO_PRODUCER };
        connections.push((greeted(cluster.bootstrap())?, producer));
    }
    let version = cluster.version(wire::PRODUCE)?;
    report.count("produce_version", version as u64);
    options.tell(report);
    let mut counts = Counts::new()?;
    let cpu_s = thread_cpu_s();
    let load = engine::Load::new(options, topics, version)?;
    report.number("own_setup_cpu_s", thread_cpu_s() - cpu_s);
    let done = engine::run(&load, connections, &mut counts);
    counts.tell(report);
    done
}
