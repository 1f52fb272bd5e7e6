//! `ottla-load`: loads a Kafka broker with as little processor time of its own as can be, alike for every broker; and the limit program,
//! which does only what physics asks of a broker. One JSON object on standard output tells everything; [`usage`] has the flags.
//!
//! One thread and epoll drive all connections: fifty blocking threads would switch fifty times where one wake-up finds fifty answers,
//! and an asynchronous runtime would add a queue and a waker to each. Records are encoded before the clock starts; a send costs a
//! header, a checksum combined from two, and one vectored write.

mod batch;
mod cluster;
mod fetch;
mod flags;
mod idle;
mod latency;
mod limit;
mod link;
mod pace;
mod payload;
mod poller;
mod produce;
mod report;
mod usage;
mod wire;

use std::process::ExitCode;

use flags::Flags;
use report::Report;

/// What went wrong, in words.
pub type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let Some(command) = words.next() else {
        eprintln!("{}", usage::USAGE);
        return ExitCode::from(2);
    };
    let mut report = Report::default();
    let done = run(&command, words.collect(), &mut report);
    if let Err(error) = &done {
        report.text("error", error);
        eprintln!("ottla-load {command}: {error}");
    }
    if !report.is_empty() {
        println!("{}", report.json());
    }
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What has been counted stays in the report when it ends with an error.
fn run(command: &str, mut words: Vec<String>, report: &mut Report) -> Outcome<()> {
    let mut whole = command.to_owned();
    if command == "limit" {
        if words.is_empty() {
            return Err("limit of what: produce, fetch or decompress?".to_owned());
        }
        whole = format!("limit {}", words.remove(0));
    }
    let flags = Flags::read(words)?;
    report.text("command", &whole);
    match whole.as_str() {
        "produce" => produce::run(flags, &produce::PRODUCE, report),
        "tiny" => produce::run(flags, &produce::TINY, report),
        "fetch" => fetch::run(flags, report),
        "idle" => idle::run(flags, report),
        "limit produce" => limit::produce::run(flags, report),
        "limit fetch" => limit::fetch::run(flags, report),
        "limit decompress" => limit::decompress::run(flags, report),
        _ => Err(format!("there is no {whole}\n{}", usage::USAGE)),
    }
}
