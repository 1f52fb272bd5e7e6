//! epoll, and a timer in it: waits end to the microsecond, where epoll's own time-outs are whole milliseconds.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::Outcome;
use crate::report::now_ns;
use crate::wire::words;

const TIMER: u64 = u64::MAX;
const EVENTS: usize = 512;

pub struct Poller {
    epoll: OwnedFd,
    timer: OwnedFd,
    armed_ns: u64,
    events: Vec<Event>,
}

fn interest(write: bool) -> EventFlags {
    if write { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN }
}

impl Poller {
    pub fn new() -> Outcome<Poller> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(words)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK).map_err(words)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN).map_err(words)?;
        Ok(Poller { epoll, timer, armed_ns: 0, events: Vec::with_capacity(EVENTS) })
    }

    pub fn add(&self, source: impl AsFd, token: usize, write: bool) -> Outcome<()> {
        epoll::add(&self.epoll, source, EventData::new_u64(token as u64), interest(write)).map_err(words)
    }

    pub fn change(&self, source: impl AsFd, token: usize, write: bool) -> Outcome<()> {
        epoll::modify(&self.epoll, source, EventData::new_u64(token as u64), interest(write)).map_err(words)
    }

    pub fn forget(&self, source: impl AsFd) -> Outcome<()> {
        epoll::delete(&self.epoll, source).map_err(words)
    }

    /// Waits until something is ready, or until a time of the monotonic clock; `ready` gets the tokens, each once.
    pub fn wait(&mut self, until_ns: u64, ready: &mut Vec<usize>) -> Outcome<()> {
        ready.clear();
        let now_ns = now_ns();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let timeout = if until_ns <= now_ns {
            Some(&at_once)
        } else {
            self.arm(until_ns)?;
            None
        };
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(words(error)),
        }
        for event in &self.events {
            match event.data.u64() {
                TIMER => {
                    // Read or not, it is over; only a timer that is armed again rings again.
                    let _ = rustix::io::read(&self.timer, &mut [0; 8]);
                    self.armed_ns = 0;
                }
                token => ready.push(token as usize),
            }
        }
        Ok(())
    }

    fn arm(&mut self, until_ns: u64) -> Outcome<()> {
        if self.armed_ns == until_ns {
            return Ok(());
        }
        let until = Duration::from_nanos(until_ns);
        let time = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: until.as_secs() as i64, tv_nsec: i64::from(until.subsec_nanos()) },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &time).map_err(words)?;
        self.armed_ns = until_ns;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// A wait ends at its time, not before; what is ready ends it at once.
    #[test]
    fn waits_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let mut poller = Poller::new().unwrap();
        poller.add(&far, 5, false).unwrap();
        let mut ready = Vec::new();
        for _ in 0..3 {
            let until_ns = now_ns() + 300_000;
            poller.wait(until_ns, &mut ready).unwrap();
            assert!(ready.is_empty() && now_ns() >= until_ns);
        }
        near.write_all(b"x").unwrap();
        poller.wait(now_ns() + 60_000_000_000, &mut ready).unwrap();
        assert_eq!(ready, [5]);
        poller.change(&far, 6, true).unwrap();
        poller.wait(0, &mut ready).unwrap();
        assert_eq!(ready, [6]);
    }
}
