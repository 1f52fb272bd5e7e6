//! One connection that never blocks: a frame goes out in pieces, answers come in as they come.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;

use crate::Outcome;
use crate::batch::Body;
use crate::wire::words;

/// The most slices of one system call.
const SLICES_MAX: usize = 1024;
const READ_BYTES: usize = 64 << 10;

/// A request: what is written for each send, and the records that are shared by all, each behind a place of it.
#[derive(Debug, Default)]
pub struct Frame {
    pub own: Vec<u8>,
    pub shared: Vec<(usize, usize)>,
    shared_bytes: usize,
    sent: usize,
}

impl Frame {
    pub fn clear(&mut self) {
        self.own.clear();
        self.shared.clear();
        (self.shared_bytes, self.sent) = (0, 0);
    }

    /// The records of body `at` stand here.
    pub fn insert(&mut self, at: usize, bodies: &[Body]) {
        self.shared.push((self.own.len(), at));
        self.shared_bytes += bodies[at].bytes.len();
    }

    pub fn shared_bytes(&self) -> usize {
        self.shared_bytes
    }

    pub fn bytes(&self) -> usize {
        self.own.len() + self.shared_bytes
    }

    pub fn is_sent(&self) -> bool {
        self.sent == self.bytes()
    }

    /// What is still to be sent, at most so many slices of it.
    fn rest<'a>(&'a self, bodies: &'a [Body]) -> Vec<IoSlice<'a>> {
        let mut slices = Vec::with_capacity((2 * self.shared.len() + 1).min(SLICES_MAX));
        let (mut skip, mut from) = (self.sent, 0);
        let mut push = |piece: &'a [u8]| {
            let left = &piece[skip.min(piece.len())..];
            skip -= piece.len() - left.len();
            if !left.is_empty() && slices.len() < SLICES_MAX {
                slices.push(IoSlice::new(left));
            }
        };
        for &(place, body) in &self.shared {
            push(&self.own[from..place]);
            push(&bodies[body].bytes);
            from = place;
        }
        push(&self.own[from..]);
        slices
    }
}

#[derive(Debug)]
pub struct Link {
    pub stream: TcpStream,
    pub frame: Frame,
    /// What has come and was not taken lies in `taken..filled`.
    input: Vec<u8>,
    taken: usize,
    filled: usize,
    frame_bytes_max: usize,
    /// Whether the poller watches for room to write.
    pub watches_write: bool,
}

impl Link {
    pub fn new(stream: TcpStream, frame_bytes_max: usize) -> Outcome<Link> {
        stream.set_nonblocking(true).map_err(words)?;
        Ok(Link {
            stream,
            frame: Frame::default(),
            input: Vec::new(),
            taken: 0,
            filled: 0,
            frame_bytes_max,
            watches_write: false,
        })
    }

    /// Sends of the frame what goes; true when all of it is gone.
    pub fn send(&mut self, bodies: &[Body]) -> Outcome<bool> {
        while !self.frame.is_sent() {
            let slices = self.frame.rest(bodies);
            match self.stream.write_vectored(&slices) {
                Ok(0) => return Err("the broker takes nothing any more".to_owned()),
                Ok(count) => self.frame.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("the connection broke: {error}")),
            }
        }
        Ok(true)
    }

    /// Reads once; false when nothing was there.
    pub fn receive(&mut self) -> Outcome<bool> {
        self.make_room();
        loop {
            return match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => Err("the broker closed a connection".to_owned()),
                Ok(count) => {
                    self.filled += count;
                    Ok(true)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(format!("the connection broke: {error}")),
            };
        }
    }

    /// Room behind what has come: for the rest of its frame, or for a small answer.
    fn make_room(&mut self) {
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
        }
        let wanted = self.announced().map_or(READ_BYTES, |length| length.min(self.frame_bytes_max).max(READ_BYTES) + 4);
        if self.input.len() < self.taken + wanted || self.filled == self.input.len() {
            self.input.copy_within(self.taken..self.filled, 0);
            (self.taken, self.filled) = (0, self.filled - self.taken);
            // Without announced length one whole read fits; with one, the frame does.
            let wanted = wanted.max(self.filled + 1);
            if self.input.len() < wanted {
                self.input.resize(wanted, 0);
            }
        }
    }

    /// Gives the buffer back; nothing may be left in it.
    pub fn forget_buffer(&mut self) {
        if self.taken == self.filled {
            (self.taken, self.filled, self.input) = (0, 0, Vec::new());
        }
    }

    /// What the frame that comes says of its length.
    fn announced(&self) -> Option<usize> {
        let length = self.input[self.taken..self.filled].first_chunk::<4>()?;
        Some(usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX))
    }

    /// The next whole answer, without its length.
    pub fn message(&mut self) -> Outcome<Option<&[u8]>> {
        let Some(length) = self.announced() else { return Ok(None) };
        if length > self.frame_bytes_max {
            return Err(format!("an answer of {length} bytes, {} at most", self.frame_bytes_max));
        }
        if self.filled - self.taken < 4 + length {
            return Ok(None);
        }
        let begun = self.taken + 4;
        self.taken = begun + length;
        Ok(Some(&self.input[begun..begun + length]))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair(frame_bytes_max: usize) -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Link::new(near, frame_bytes_max).unwrap(), listener.accept().unwrap().0)
    }

    fn next(link: &mut Link) -> Outcome<Vec<u8>> {
        loop {
            if let Some(message) = link.message()? {
                return Ok(message.to_vec());
            }
            link.receive()?;
        }
    }

    /// Answers come whole and in order, however the bytes are cut, also those longer than one read.
    #[test]
    fn answers_are_cut_out() {
        let (mut link, mut far) = pair(1 << 20);
        let answers: Vec<Vec<u8>> = [0usize, 3, 70_000, 1, 300_000, 65_532, 5]
            .iter()
            .map(|&length| (0..length).map(|at| (at * 7 + length) as u8).collect())
            .collect();
        let all: Vec<u8> =
            answers.iter().flat_map(|answer| [&(answer.len() as i32).to_be_bytes()[..], answer].concat()).collect();
        let writer = std::thread::spawn(move || {
            for piece in all.chunks(9_973) {
                far.write_all(piece).unwrap();
            }
            far
        });
        for answer in &answers {
            assert_eq!(&next(&mut link).unwrap(), answer);
        }
        drop(writer.join().unwrap());
        assert_eq!(next(&mut link).unwrap_err(), "the broker closed a connection");
    }

    /// A length that nobody can mean is refused before anything is kept for it.
    #[test]
    fn long_answers_are_refused() {
        for length in [1001, i32::MAX, -1] {
            let (mut link, mut far) = pair(1000);
            far.write_all(&length.to_be_bytes()).unwrap();
            assert!(next(&mut link).unwrap_err().contains("at most"), "{length}");
            assert!(link.input.len() < 100_000);
        }
    }

    /// A frame arrives whole when it goes out in many pieces, through more slices than one call takes.
    #[test]
    fn frames_go_out_in_pieces() {
        let (mut link, mut far) = pair(1000);
        let payload =
            crate::payload::Payload::from_flags(&mut crate::flags::Flags::read(Vec::new()).unwrap(), 50_000).unwrap();
        let cut =
            crate::batch::Cut { compression: ottla_log::batch::Compression::None, level: -1, bytes: 1, records: 1 };
        let bodies = [Body::make(&payload, &[], &mut 0, &cut).unwrap()];
        let mut expected = Vec::new();
        for number in 0..1500u32 {
            link.frame.own.extend(number.to_be_bytes());
            link.frame.insert(0, &bodies);
            expected.extend(number.to_be_bytes());
            expected.extend(&bodies[0].bytes);
        }
        link.frame.own.push(9);
        expected.push(9);
        let reader = std::thread::spawn(move || {
            let mut found = vec![0; expected.len()];
            far.read_exact(&mut found).unwrap();
            assert!(found == expected);
        });
        let mut blocked = 0;
        while !link.send(&bodies).unwrap() {
            blocked += 1;
            std::thread::yield_now();
        }
        reader.join().unwrap();
        assert!(blocked > 0 && link.frame.is_sent());
    }
}
