//! `limit fetch`: sendfile of resident pages to loopback. The other side asks for one chunk after the other, and discards what it gets
//! in the kernel, so that it takes as little as can be from the machine.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{RecvFlags, recv};

use crate::Outcome;
use crate::flags::Flags;
use crate::poller::Poller;
use crate::produce::GIB;
use crate::report::{Report, now_ns, thread_cpu_s};
use crate::wire::words;

use super::{Folder, pairs};

/// What is on its way at once. A buffer that grows as the kernel likes (0) was seen to cost four times as much: what was sent has left
/// the processor's cache when it is received.
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// A question for a chunk: as long as a small fetch.
const QUESTION: [u8; 64] = [7; 64];

/// One connection of the broker's side.
struct Peer {
    stream: TcpStream,
    question_bytes: usize,
    /// What is left of the chunk, and where it lies.
    left: usize,
    at: u64,
    watches_write: bool,
}

pub fn run(mut flags: Flags, report: &mut Report) -> Outcome<()> {
    let folder = Folder::make(&flags.text("folder").unwrap_or_else(|| ".".to_owned()))?;
    let connections = flags.count("connections", 1)?;
    let chunk_bytes = flags.count("chunk-bytes", 1 << 20)?;
    let file_bytes = flags.count("file-mib", 256)? << 20;
    let duration_ns = flags.seconds_ns("seconds", 10.0)?;
    let send_buffer_bytes = flags.number("send-buffer-bytes", SEND_BUFFER_BYTES)?;
    flags.finish()?;
    if chunk_bytes > file_bytes {
        return Err("--chunk-bytes is more than the file has".to_owned());
    }
    let path = folder.0.join("pages");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(words)?;
    let piece: Vec<u8> = (0..1 << 20).map(|at| (at * 31) as u8).collect();
    for _ in 0..file_bytes >> 20 {
        file.write_all(&piece).map_err(words)?;
    }
    // Written back, they stay resident, and nobody writes them while they are measured.
    file.sync_data().map_err(words)?;
    let (near, far) = pairs(connections, 0)?;
    let mut peers = Vec::new();
    for (number, stream) in far.into_iter().enumerate() {
        stream.set_nonblocking(true).map_err(words)?;
        if send_buffer_bytes > 0 {
            set_socket_send_buffer_size(&stream, send_buffer_bytes).map_err(words)?;
        }
        let at = (number * chunk_bytes % (file_bytes - chunk_bytes + 1)) as u64;
        peers.push(Peer { stream, question_bytes: 0, left: 0, at, watches_write: false });
    }
    let begun_ns = now_ns();
    let (received, cpu_s) = thread::scope(|scope| {
        let broker = scope.spawn(|| serve(peers, &file, file_bytes as u64, chunk_bytes));
        let received = consume(near, chunk_bytes, begun_ns + duration_ns);
        (received, broker.join())
    });
    let seconds = (now_ns() - begun_ns) as f64 / 1e9;
    let received = received?;
    let cpu_s = cpu_s.map_err(|_| "the broker's side broke off".to_owned())??;
    report.count("connections", connections as u64);
    report.count("chunk_bytes", chunk_bytes as u64);
    report.count("received_bytes", received);
    report.number("seconds", seconds);
    report.number("mib_per_s", received as f64 / (1u64 << 20) as f64 / seconds);
    report.number("limit_cpu_s", cpu_s);
    report.number("limit_cpu_s_per_gib", cpu_s * GIB / received as f64);
    Ok(())
}

fn serve(mut peers: Vec<Peer>, file: &File, file_bytes: u64, chunk_bytes: usize) -> Outcome<f64> {
    let mut poller = Poller::new()?;
    for (token, peer) in peers.iter().enumerate() {
        poller.add(&peer.stream, token, false)?;
    }
    let cpu_s = thread_cpu_s();
    let mut open = peers.len();
    let mut ready = Vec::new();
    while open > 0 {
        poller.wait(u64::MAX >> 1, &mut ready)?;
        for &token in &ready {
            let peer = &mut peers[token];
            if peer.go_on(file, file_bytes, chunk_bytes)? {
                let blocked = peer.left > 0;
                if blocked != peer.watches_write {
                    poller.change(&peer.stream, token, blocked)?;
                    peer.watches_write = blocked;
                }
            } else {
                open -= 1;
                poller.forget(&peer.stream)?;
            }
        }
    }
    Ok(thread_cpu_s() - cpu_s)
}

impl Peer {
    /// Sends of the chunk what goes, or reads the next question; false when there will be none.
    fn go_on(&mut self, file: &File, file_bytes: u64, chunk_bytes: usize) -> Outcome<bool> {
        if self.left == 0 {
            let mut question = [0; QUESTION.len()];
            match self.stream.read(&mut question[self.question_bytes..]) {
                Ok(0) => return Ok(false),
                Ok(count) => self.question_bytes += count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(words(error)),
            }
            if self.question_bytes < QUESTION.len() {
                return Ok(true);
            }
            self.question_bytes = 0;
            self.left = chunk_bytes;
            if self.at + chunk_bytes as u64 > file_bytes {
                self.at = 0;
            }
        }
        while self.left > 0 {
            match sendfile(&self.stream, file, Some(&mut self.at), self.left) {
                Ok(0) => return Err("the file became shorter".to_owned()),
                Ok(count) => self.left -= count,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Ok(false),
                Err(error) => return Err(words(error)),
            }
        }
        Ok(true)
    }
}

/// Asks and discards until the time; how much came.
fn consume(streams: Vec<TcpStream>, chunk_bytes: usize, ends_ns: u64) -> Outcome<u64> {
    let mut poller = Poller::new()?;
    for (token, stream) in streams.iter().enumerate() {
        poller.add(stream, token, false)?;
        (&*stream).write_all(&QUESTION).map_err(words)?;
    }
    let mut left = vec![chunk_bytes; streams.len()];
    // Its bytes stay as they are: TRUNC tells TCP to drop what it would copy.
    let mut buffer = vec![0u8; chunk_bytes.max(1 << 20)];
    let (mut received, mut ready) = (0, Vec::new());
    while now_ns() < ends_ns {
        poller.wait(ends_ns, &mut ready)?;
        for &token in &ready {
            let wanted = left[token];
            let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
            let (_, count) = match recv(&streams[token], &mut buffer[..wanted], flags) {
                Err(Errno::AGAIN | Errno::INTR) => continue,
                other => other.map_err(words)?,
            };
            if count == 0 {
                return Err("the broker's side closed".to_owned());
            }
            received += count as u64;
            left[token] -= count;
            if left[token] == 0 {
                left[token] = chunk_bytes;
                (&streams[token]).write_all(&QUESTION).map_err(words)?;
            }
        }
    }
    Ok(received)
}
