//! `limit produce`: receive from loopback, CRC32C, write to the page cache; with `--sync` one fdatasync of a file for all that came for
//! it while the one before it ran, each file in a thread of its own. The load is that of `produce`, byte for byte; what is written is the whole request, to one
//! file for each partition there would be, and the answer says that all went well.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use crc_fast::crc32_iscsi;

use crate::Outcome;
use crate::batch::NO_PRODUCER;
use crate::flags::Flags;
use crate::poller::Poller;
use crate::produce::engine::{Load, run as run_load};
use crate::produce::{Counts, GIB, Options, PRODUCE};
use crate::report::{Report, thread_cpu_s};
use crate::wire::{Topic, words};

use super::{Folder, pairs};

const REQUEST_BYTES_MAX: usize = 256 << 20;
/// Where a request says which it is, behind its length.
const CORRELATION: std::ops::Range<usize> = 8..12;
/// Produce by name, the oldest flexible version.
const VERSION: i16 = 9;

/// One connection of the broker's side.
struct Peer {
    stream: TcpStream,
    /// Which of the files it writes.
    file: usize,
    /// Length and request.
    input: Vec<u8>,
    filled: usize,
    /// To what is written.
    answers: Vec<u8>,
}

/// A file, and how long it is.
struct Log {
    file: File,
    bytes: u64,
}

/// What the broker's side used.
struct Used {
    cpu_s: f64,
    bytes: u64,
    syncs: u64,
    /// So that no checksum is for nothing.
    sum: u32,
}

pub fn run(mut flags: Flags, report: &mut Report) -> Outcome<()> {
    let folder = Folder::make(&flags.text("folder").unwrap_or_else(|| ".".to_owned()))?;
    let sync = flags.on("sync");
    let delay = Duration::from_secs_f64(flags.number("sync-delay-ms", 0.0f64)?.clamp(0.0, 1e6) / 1e3);
    let partitions = flags.number("partitions", 1)?;
    let receive_buffer_bytes = flags.number("receive-buffer-bytes", 0)?;
    let options = Options::from_flags(&mut flags, &PRODUCE)?;
    flags.finish()?;
    if options.acks == 0 {
        return Err("the limit answers each request: not with --acks 0".to_owned());
    }
    options.tell(report);
    let (near, far) = pairs(options.connections, receive_buffer_bytes)?;
    let mut logs = Vec::new();
    for number in 0..partitions.max(1) {
        let path = folder.0.join(number.to_string());
        let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(words)?;
        logs.push(Log { file, bytes: 0 });
    }
    let mut peers = Vec::new();
    for (number, stream) in far.into_iter().enumerate() {
        stream.set_nonblocking(true).map_err(words)?;
        let file = number % logs.len();
        let input = vec![0; 1 << 20];
        peers.push(Peer { stream, file, input, filled: 0, answers: Vec::new() });
    }
    let topic = Topic { name: "limit".to_owned(), id: [0; 16], partitions };
    let load = Load::new(options, vec![topic], VERSION)?;
    let mut counts = Counts::new()?;
    let connections = near.into_iter().map(|stream| (stream, NO_PRODUCER)).collect();
    let (done, used) = thread::scope(|scope| {
        let broker = scope.spawn(|| serve(peers, logs, sync, delay));
        // The connections are closed by it, which ends the other side.
        let done = run_load(&load, connections, &mut counts);
        (done, broker.join())
    });
    counts.tell(report);
    done?;
    let used = used.map_err(|_| "the broker's side broke off".to_owned())??;
    report.number("limit_cpu_s", used.cpu_s);
    report.number("limit_cpu_s_per_gib", used.cpu_s * GIB / counts.value_bytes as f64);
    report.count("written_bytes", used.bytes);
    report.count("syncs", used.syncs);
    report.count("sum_of_checksums", u64::from(used.sum));
    Ok(())
}

/// What is written and waits for its sync: whose it is, and its answers.
struct Written {
    token: usize,
    answers: Vec<u8>,
}

fn serve(mut peers: Vec<Peer>, mut logs: Vec<Log>, sync: bool, delay: Duration) -> Outcome<Used> {
    let streams = peers.iter().map(|peer| peer.stream.try_clone()).collect::<Result<Vec<_>, _>>().map_err(words)?;
    let files = logs.iter().map(|log| log.file.try_clone()).collect::<Result<Vec<_>, _>>().map_err(words)?;
    thread::scope(|scope| {
        let (mut syncing, mut senders) = (Vec::new(), Vec::new());
        if sync {
            for file in files {
                let (send, receive) = mpsc::channel();
                senders.push(send);
                let streams = &streams;
                syncing.push(scope.spawn(move || sync_all(&receive, streams, &file, delay)));
            }
        }
        let mut used = receive_all(&mut peers, &mut logs, senders)?;
        for thread in syncing {
            let (cpu_s, syncs) = thread.join().map_err(|_| "the syncs broke off".to_owned())??;
            (used.cpu_s, used.syncs) = (used.cpu_s + cpu_s, used.syncs + syncs);
        }
        Ok(used)
    })
}

/// Ends when all connections have; what is written is handed to the thread that syncs its file, or answered at once.
fn receive_all(peers: &mut [Peer], logs: &mut [Log], syncing: Vec<Sender<Written>>) -> Outcome<Used> {
    let mut poller = Poller::new()?;
    for (token, peer) in peers.iter().enumerate() {
        poller.add(&peer.stream, token, false)?;
    }
    let cpu_s = thread_cpu_s();
    let mut used = Used { cpu_s: 0.0, bytes: 0, syncs: 0, sum: 0 };
    let mut open = peers.len();
    let mut ready = Vec::new();
    while open > 0 {
        poller.wait(u64::MAX >> 1, &mut ready)?;
        for &token in &ready {
            let peer = &mut peers[token];
            if !peer.receive()? {
                open -= 1;
                // A closed one would be ready for ever.
                poller.forget(&peer.stream)?;
                continue;
            }
            if !peer.take_in(logs, &mut used)? {
                continue;
            }
            match syncing.get(peer.file) {
                None => peer.stream.write_all(&peer.answers).map_err(words)?,
                Some(syncing) => {
                    let answers = std::mem::take(&mut peer.answers);
                    let written = Written { token, answers };
                    syncing.send(written).map_err(|_| "nobody syncs any more".to_owned())?;
                }
            }
            peer.answers.clear();
        }
    }
    used.cpu_s = thread_cpu_s() - cpu_s;
    Ok(used)
}

/// Group commit: all that was written while the group before it was synced. CPU and the number of syncs.
fn sync_all(written: &Receiver<Written>, streams: &[TcpStream], file: &File, delay: Duration) -> Outcome<(f64, u64)> {
    let (cpu_s, mut syncs) = (thread_cpu_s(), 0);
    while let Ok(first) = written.recv() {
        let mut group = vec![first];
        group.extend(written.try_iter());
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        file.sync_data().map_err(words)?;
        syncs += 1;
        for one in group {
            // A few bytes always find room beside requests that wait for them.
            (&streams[one.token]).write_all(&one.answers).map_err(words)?;
        }
    }
    Ok((thread_cpu_s() - cpu_s, syncs))
}

impl Peer {
    /// Reads once; false at the end.
    fn receive(&mut self) -> Outcome<bool> {
        loop {
            return match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => Ok(false),
                Ok(count) => {
                    self.filled += count;
                    Ok(true)
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
                Err(error) => Err(words(error)),
            };
        }
    }

    /// Checks and writes all whole requests that are here; true if there was one.
    fn take_in(&mut self, logs: &mut [Log], used: &mut Used) -> Outcome<bool> {
        let mut from = 0;
        while let Some(length) = self.input[from..self.filled].first_chunk::<4>() {
            let whole = 4 + usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if whole > REQUEST_BYTES_MAX {
                return Err(format!("a request of {whole} bytes"));
            }
            if self.filled - from < whole {
                if self.input.len() < whole {
                    self.input.resize(whole, 0);
                }
                break;
            }
            let request = &self.input[from..from + whole];
            used.sum = used.sum.wrapping_add(crc32_iscsi(request));
            let log = &mut logs[self.file];
            log.file.write_all_at(request, log.bytes).map_err(words)?;
            log.bytes += whole as u64;
            used.bytes += whole as u64;
            // Length, correlation, no tagged fields, no topics, no throttling, no tagged fields: nothing failed.
            self.answers.extend_from_slice(&11i32.to_be_bytes());
            self.answers.extend_from_slice(&request[CORRELATION]);
            self.answers.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0]);
            from += whole;
        }
        self.input.copy_within(from..self.filled, 0);
        self.filled -= from;
        Ok(from > 0)
    }
}
