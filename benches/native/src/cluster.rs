//! What is asked before a load begins, over a blocking connection.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::Outcome;
use crate::flags::Flags;
use crate::report::now_ns;
use crate::wire::{self, SPOKEN, Topic, error_name, words};

const WAIT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Of ListOffsets.
const PARTITIONS_AT_ONCE: i32 = 1000;

/// Of a partition: unknown, without a leader, its leader does not serve yet.
const NO_LEADER: [i16; 3] = [3, 5, 6];

/// One broker, asked one thing at a time.
pub struct Cluster {
    stream: TcpStream,
    out: Vec<u8>,
    correlation: i32,
    versions: [Option<i16>; SPOKEN.len()],
    bootstrap: String,
}

/// A blocking connection without Nagle's delay.
pub fn connect(bootstrap: &str) -> Outcome<TcpStream> {
    let refused = |error: std::io::Error| format!("{bootstrap}: {error}");
    let address =
        bootstrap.to_socket_addrs().map_err(refused)?.next().ok_or_else(|| format!("{bootstrap}: no address"))?;
    let stream = TcpStream::connect_timeout(&address, WAIT).map_err(refused)?;
    stream.set_nodelay(true).map_err(refused)?;
    Ok(stream)
}

/// A connection that the broker has answered on: accepted, and past what comes first.
pub fn greeted(bootstrap: &str) -> Outcome<TcpStream> {
    Ok(Cluster::connect(bootstrap.to_owned())?.stream)
}

impl Cluster {
    pub fn open(flags: &mut Flags) -> Outcome<Cluster> {
        Cluster::connect(flags.needed("bootstrap")?)
    }

    fn connect(bootstrap: String) -> Outcome<Cluster> {
        let stream = connect(&bootstrap)?;
        stream.set_read_timeout(Some(WAIT)).map_err(words)?;
        stream.set_write_timeout(Some(WAIT)).map_err(words)?;
        let mut cluster =
            Cluster { stream, out: Vec::new(), correlation: 0, versions: [None; SPOKEN.len()], bootstrap };
        wire::api_versions(&mut cluster.out, 0)?;
        let answer = cluster.ask()?;
        cluster.versions = wire::read_api_versions(&answer, 0)?;
        Ok(cluster)
    }

    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    pub fn version(&self, key: i16) -> Outcome<i16> {
        let place = SPOKEN.iter().position(|api| api.0 == key);
        place.and_then(|place| self.versions[place]).ok_or_else(|| {
            let (key, lowest, highest) = place.map_or((key, 0, 0), |place| SPOKEN[place]);
            format!("the broker speaks none of the versions {lowest} to {highest} of API {key}")
        })
    }

    /// The answer to what lies in `out`.
    fn ask(&mut self) -> Outcome<Vec<u8>> {
        self.stream.write_all(&self.out).map_err(words)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(words)?;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > ANSWER_BYTES_MAX {
            return Err(format!("an answer of {length} bytes"));
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).map_err(words)?;
        self.correlation += 1;
        Ok(answer)
    }

    /// The topics, once all their partitions have leaders.
    pub fn topics(&mut self, names: &str) -> Outcome<Vec<Topic>> {
        let names: Vec<String> = names.split(',').map(str::to_owned).collect();
        let version = self.version(wire::METADATA)?;
        let begun_ns = now_ns();
        loop {
            wire::metadata(&mut self.out, version, self.correlation, &names)?;
            let (answer, correlation) = (self.ask()?, self.correlation - 1);
            if let Some(topics) = wire::read_metadata(&answer, version, correlation, &names)? {
                return Ok(topics);
            }
            if now_ns() - begun_ns > WAIT.as_nanos() as u64 {
                return Err(format!("not all of {} are there with leaders", names.join(",")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Id and epoch of a new idempotent producer.
    pub fn new_producer(&mut self) -> Outcome<(i64, i16)> {
        let version = self.version(wire::INIT_PRODUCER_ID)?;
        let begun_ns = now_ns();
        loop {
            wire::init_producer_id(&mut self.out, version, self.correlation)?;
            let (answer, correlation) = (self.ask()?, self.correlation - 1);
            match wire::read_init_producer_id(&answer, version, correlation)? {
                (0, id, epoch) => return Ok((id, epoch)),
                // A coordinator that is loading.
                (14..=16, ..) if now_ns() - begun_ns < WAIT.as_nanos() as u64 => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                (code, ..) => return Err(format!("no producer id: {}", error_name(code))),
            }
        }
    }

    /// The offset of each partition at [`wire::EARLIEST`] or [`wire::LATEST`]. Waits for leaders: a new one may be named
    /// before it serves.
    pub fn offsets(&mut self, topic: &Topic, timestamp: i64) -> Outcome<Vec<i64>> {
        let version = self.version(wire::LIST_OFFSETS)?;
        let mut offsets = vec![0; topic.partitions as usize];
        let begun_ns = now_ns();
        let mut from = 0;
        while from < topic.partitions {
            let to = topic.partitions.min(from + PARTITIONS_AT_ONCE);
            wire::list_offsets(&mut self.out, version, self.correlation, topic, from..to, timestamp)?;
            let (answer, correlation) = (self.ask()?, self.correlation - 1);
            let mut refused = None;
            for (partition, code, offset) in wire::read_list_offsets(&answer, version, correlation)? {
                *offsets.get_mut(partition as usize).ok_or("a partition that was not asked for")? = offset;
                if code != 0 {
                    refused = Some((partition, code));
                }
            }
            match refused {
                None => from = to,
                Some((_, code)) if NO_LEADER.contains(&code) && now_ns() - begun_ns < WAIT.as_nanos() as u64 => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Some((partition, code)) => {
                    return Err(format!("offset of {}-{partition}: {}", topic.name, error_name(code)));
                }
            }
        }
        Ok(offsets)
    }
}
