//! `idle`: opens many connections in bursts, holds them, asks each of them now and then.

use std::io::Read;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

use rustix::net::sockopt::socket_error;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Outcome;
use crate::flags::Flags;
use crate::latency::Latency;
use crate::link::Link;
use crate::poller::Poller;
use crate::report::{Report, now_ns, thread_cpu_s};
use crate::wire::{self, words};

const ANSWER_BYTES_MAX: usize = 1 << 16;
/// A burst, or a round of questions, that takes longer has failed.
const WAIT_NS: u64 = 60_000_000_000;
/// What a process needs besides.
const OTHER_FILES: u64 = 64;

struct Options {
    address: SocketAddr,
    connections: usize,
    burst: usize,
    duration_ns: u64,
    ping_ns: u64,
    hold: bool,
}

/// A connection, and since when it has waited for an answer.
struct Idler {
    link: Link,
    asked_ns: Option<u64>,
}

/// All of them.
struct Crowd {
    idlers: Vec<Option<Idler>>,
    poller: Poller,
    /// How many wait for an answer.
    waiting: usize,
    lost: u64,
    pings: u64,
}

/// A connection in the making: its handshake is over when it can be written to.
fn begin_to_connect(address: &SocketAddr) -> Outcome<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None).map_err(words)?;
    match connect(&socket, address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(format!("no connection to {address}: {error}")),
    }
}

fn allow_files(connections: usize) -> Outcome<()> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = connections as u64 + OTHER_FILES;
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
            .map_err(|error| format!("{wanted} open files are not allowed: {error}"))?;
    }
    Ok(())
}

impl Crowd {
    /// Opens as many; each is asked ApiVersions at once. Returns with the last answer.
    fn open_burst(&mut self, count: usize, address: &SocketAddr, latency: &mut Latency) -> Outcome<()> {
        let begun = self.idlers.len();
        for token in begun..begun + count {
            let stream = begin_to_connect(address)?;
            self.poller.add(&stream, token, true)?;
            let mut link = Link::new(stream, ANSWER_BYTES_MAX)?;
            link.watches_write = true;
            wire::api_versions(&mut link.frame.own, 0)?;
            self.idlers.push(Some(Idler { link, asked_ns: Some(now_ns()) }));
            self.waiting += 1;
        }
        self.wait_for_answers(latency)
    }

    /// Asks all that are there.
    fn ping(&mut self, latency: &mut Latency) -> Outcome<()> {
        for token in 0..self.idlers.len() {
            let Some(idler) = &mut self.idlers[token] else { continue };
            idler.link.frame.clear();
            wire::api_versions(&mut idler.link.frame.own, 0)?;
            idler.asked_ns = Some(now_ns());
            (self.pings, self.waiting) = (self.pings + 1, self.waiting + 1);
            self.go_on(token, latency);
        }
        self.wait_for_answers(latency)
    }

    fn wait_for_answers(&mut self, latency: &mut Latency) -> Outcome<()> {
        let until_ns = now_ns() + WAIT_NS;
        let mut ready = Vec::new();
        while self.waiting > 0 {
            if now_ns() >= until_ns {
                return Err(format!("{} connections are not answered", self.waiting));
            }
            self.poller.wait(until_ns, &mut ready)?;
            for &token in &ready {
                self.go_on(token, latency);
            }
        }
        Ok(())
    }

    /// Holds them until the time, or until one of them says something.
    fn hold(&mut self, until_ns: u64, latency: &mut Latency) -> Outcome<()> {
        let mut ready = Vec::new();
        while now_ns() < until_ns {
            self.poller.wait(until_ns, &mut ready)?;
            for &token in &ready {
                self.go_on(token, latency);
            }
        }
        Ok(())
    }

    /// What one connection can do; one that broke is counted and let go.
    fn go_on(&mut self, token: usize, latency: &mut Latency) {
        let Some(idler) = &mut self.idlers[token] else { return };
        let waited = idler.asked_ns.is_some();
        let done = idler.go_on(token, &self.poller, latency);
        self.waiting -= usize::from(waited && (done.is_err() || idler.asked_ns.is_none()));
        if let Err(error) = done {
            if self.lost == 0 {
                eprintln!("the first connection that is lost: {error}");
            }
            self.lost += 1;
            self.idlers[token] = None;
        }
    }

    fn open(&self) -> usize {
        self.idlers.iter().flatten().count()
    }
}

impl Idler {
    fn go_on(&mut self, token: usize, poller: &Poller, latency: &mut Latency) -> Outcome<()> {
        socket_error(&self.link.stream).map_err(words)?.map_err(words)?;
        let blocked = !self.link.send(&[])?;
        if blocked != self.link.watches_write {
            poller.change(&self.link.stream, token, blocked)?;
            self.link.watches_write = blocked;
        }
        if self.link.receive()?
            && let Some(message) = self.link.message()?
        {
            wire::read_api_versions(message, 0)?;
            let asked_ns = self.asked_ns.take().ok_or("an answer to nothing")?;
            latency.record(asked_ns, now_ns());
            // Ten thousand buffers would be most of what this program takes.
            self.link.forget_buffer();
        }
        Ok(())
    }
}

pub fn run(mut flags: Flags, report: &mut Report) -> Outcome<()> {
    let bootstrap = flags.needed("bootstrap")?;
    let address =
        bootstrap.to_socket_addrs().map_err(words)?.next().ok_or_else(|| format!("{bootstrap}: no address"))?;
    let options = Options {
        address,
        connections: flags.count("connections", 10_000)?,
        burst: flags.count("burst", 256)?,
        duration_ns: flags.seconds_ns("seconds", 10.0)?,
        ping_ns: flags.seconds_ns("ping-seconds", 0.0)?,
        hold: flags.on("hold"),
    };
    flags.finish()?;
    allow_files(options.connections)?;
    let mut crowd = Crowd { idlers: Vec::new(), poller: Poller::new()?, waiting: 0, lost: 0, pings: 0 };
    let done = play(&options, &mut crowd, report);
    report.count("open_at_the_end", crowd.open() as u64);
    report.count("lost", crowd.lost);
    report.count("pings", crowd.pings);
    done
}

fn play(options: &Options, crowd: &mut Crowd, report: &mut Report) -> Outcome<()> {
    let (mut opening, mut pinging) = (Latency::new()?, Latency::new()?);
    let (begun_ns, cpu_s) = (now_ns(), thread_cpu_s());
    while crowd.idlers.len() < options.connections {
        let left = options.connections - crowd.idlers.len();
        crowd.open_burst(left.min(options.burst), &options.address, &mut opening)?;
    }
    let took_s = (now_ns() - begun_ns) as f64 / 1e9;
    report.count("connections", crowd.open() as u64);
    report.number("open_s", took_s);
    report.number("open_per_s", crowd.open() as f64 / took_s);
    report.number("own_cpu_s", thread_cpu_s() - cpu_s);
    report.latency("open_latency", &opening);
    if options.hold {
        println!("{{\"open\": {}}}", crowd.open());
        let mut nothing = Vec::new();
        std::io::stdin().lock().read_to_end(&mut nothing).map_err(words)?;
        // What was said meanwhile, such as good-bye, is heard now.
        return crowd.ping(&mut pinging).map(|()| report.latency("ping_latency", &pinging));
    }
    let ends_ns = now_ns() + options.duration_ns;
    loop {
        let until_ns = if options.ping_ns == 0 { ends_ns } else { ends_ns.min(now_ns() + options.ping_ns) };
        crowd.hold(until_ns, &mut pinging)?;
        if until_ns == ends_ns {
            break;
        }
        crowd.ping(&mut pinging)?;
    }
    report.latency("ping_latency", &pinging);
    Ok(())
}
