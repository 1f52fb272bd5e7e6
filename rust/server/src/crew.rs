//! What is to be done to many partitions before a request can be served: each is opened, or gets its first files, which waits for the disk
//! a few times. They are done side by side: the file system makes one sync of those that come together.
//!
//! All requests share the hands of a data directory, so that many requests over many partitions make no more threads than one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::replica::{Replica, off_the_network};

/// Beside those who ask.
const HANDS: usize = 15;

#[derive(Debug)]
pub(crate) struct Crew {
    free: AtomicUsize,
}

impl Default for Crew {
    fn default() -> Self {
        Self { free: AtomicUsize::new(HANDS) }
    }
}

impl Crew {
    /// Does `work` to each, on this thread and on as many more as are free; returns when all is done.
    pub fn each<T: Sync>(&self, things: &[T], work: impl Fn(&T) + Sync) {
        let taken = self.take(things.len().saturating_sub(1));
        let next = AtomicUsize::new(0);
        let share = || {
            while let Some(thing) = things.get(next.fetch_add(1, Ordering::Relaxed)) {
                work(thing);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..taken.count {
                // One that the system refuses is one fewer: this thread does it all, if it must.
                let _ = std::thread::Builder::new().name("ottla-crew".into()).spawn_scoped(scope, share);
            }
            share();
        });
    }

    fn take(&self, wanted: usize) -> Taken<'_> {
        let left = |free: usize| Some(free - free.min(wanted));
        let free = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, left).unwrap_or_default();
        Taken { crew: self, count: free.min(wanted) }
    }
}

/// Hands that come back.
struct Taken<'c> {
    crew: &'c Crew,
    count: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.crew.free.fetch_add(self.count, Ordering::AcqRel);
    }
}

impl Replica {
    /// Whether an append has to make its files, or write down the leader epoch, first.
    pub(crate) fn must_be_prepared(&self) -> bool {
        !self.has_appended.load(Ordering::Relaxed) && self.failure().is_none()
    }

    /// Does that. What goes wrong the append will meet, and tell.
    fn prepare(&self) {
        if self.live().is_ok_and(|partition| partition.prepare().is_ok()) {
            self.has_appended.store(true, Ordering::Relaxed);
        }
    }
}

/// Does `work` to each, with the hands of their data directories: those of one whose disk hangs are missed by nobody else.
fn each_in_its_directory(mut replicas: Vec<&Arc<Replica>>, work: impl Fn(&Replica) + Sync) {
    if replicas.len() < 2 {
        return;
    }
    replicas.sort_by_key(|replica| Arc::as_ptr(replica.readers()));
    off_the_network(|| {
        for of_directory in replicas.chunk_by(|one, other| Arc::ptr_eq(one.readers(), other.readers())) {
            of_directory[0].readers().crew.each(of_directory, |replica| work(replica));
        }
    });
}

/// Opens those that nobody has used yet, side by side; what cannot be opened says so when it is used.
pub(crate) fn open_all<'a>(replicas: impl Iterator<Item = &'a Arc<Replica>>) {
    let closed = replicas.filter(|replica| replica.must_be_opened()).collect();
    each_in_its_directory(closed, |replica| {
        let _ = replica.partition();
    });
}

/// Does what the first append to each of these has to wait for, side by side.
pub(crate) fn prepare_all<'a>(replicas: impl Iterator<Item = &'a Arc<Replica>>) {
    let new = replicas.filter(|replica| replica.must_be_prepared()).collect();
    each_in_its_directory(new, Replica::prepare);
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    /// Each is done once, several at the same time, and what was borrowed comes back.
    #[test]
    fn side_by_side() {
        let crew = Crew::default();
        for _ in 0..3 {
            let (done, met) = (AtomicUsize::new(0), Barrier::new(HANDS + 1));
            let things: Vec<usize> = (0..=HANDS).collect();
            crew.each(&things, |_| {
                // Nobody gets on unless all are here.
                met.wait();
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), things.len());
        }
        assert_eq!(crew.free.into_inner(), HANDS);
    }

    /// There are as many hands for all as for one; who finds none does it alone.
    #[test]
    fn shared() {
        let crew = Crew { free: AtomicUsize::new(3) };
        let taken = [crew.take(2), crew.take(2), crew.take(2)];
        assert_eq!(taken.each_ref().map(|taken| taken.count), [2, 1, 0]);
        let done = AtomicUsize::new(0);
        crew.each(&[1, 2, 3], |_| _ = done.fetch_add(1, Ordering::Relaxed));
        assert_eq!(done.into_inner(), 3);
        drop(taken);
        assert_eq!(crew.free.into_inner(), 3);
    }
}
