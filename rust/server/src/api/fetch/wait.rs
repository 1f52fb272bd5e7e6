//! Parking: a fetch that found too little waits for its partitions to move, and for no longer than it said.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Fetch;
use super::look::{Look, find};
use crate::deadlines::Deadline;
use crate::image::Image;
use crate::plane::Plane;
use crate::sessions::session::Session;
use crate::sessions::{Context, PartitionKey, Target};
use crate::waiting::{Registration, Waiters, Wakeup};

/// Who waits for a partition of the image.
pub fn waiters(image: &Image) -> impl Fn(&PartitionKey) -> Option<Arc<Waiters>> {
    |key| find(image, key).ok().map(|partition| Arc::clone(partition.replica.waiters()))
}

impl Fetch {
    /// Waits until a look satisfies or the time is up: that look. `None`: the engine is being closed.
    pub async fn wait(&self, plane: &Plane, deadline: &Deadline, look: Look) -> Option<Look> {
        match &self.context {
            Context::Incremental(session) => self.wait_for_marks(plane, deadline, session, look).await,
            Context::Sessionless | Context::Full { .. } => self.wait_for_each(plane, deadline, look.targets).await,
        }
    }

    /// In a session: of its partitions only those are looked at that have moved, however many there are.
    async fn wait_for_marks(
        &self,
        plane: &Plane,
        deadline: &Deadline,
        session: &Arc<Mutex<Session>>,
        look: Look,
    ) -> Option<Look> {
        let marks = Arc::clone(session.lock().marks());
        let mut bytes = look.reads.iter().map(|read| read.bytes()).sum::<usize>();
        // By place: that is the order of the answer.
        let mut found: BTreeMap<u64, (Target, usize)> = BTreeMap::new();
        for (target, read) in look.targets.into_iter().zip(&look.reads) {
            found.insert(place(&target), (target, read.bytes()));
        }
        loop {
            let is_over = tokio::select! {
                biased;
                () = marks.woken() => false,
                () = deadline.passed() => true,
            };
            let image = plane.engine.image();
            let moved = session.lock().moved(waiters(&image));
            let mut look = Look::new(self.reader, moved, self.max_bytes);
            let needs_disk = look.go_on(&image).is_some();
            let is_urgent = look.reads.iter().any(|read| read.is_urgent());
            let mut read_bytes = look.reads.iter().map(|read| read.bytes()).collect::<Vec<_>>().into_iter();
            for target in look.targets {
                let now = read_bytes.next().unwrap_or(0);
                let before = found.insert(place(&target), (target, now)).map_or(0, |(_, before)| before);
                bytes = bytes - before + now;
            }
            if is_over || is_urgent || needs_disk || bytes >= self.min_bytes {
                // Once more in order, so that the limits are kept.
                let targets = found.into_values().map(|(target, _)| target).collect();
                return Look::new(self.reader, targets, self.max_bytes).finish(&plane.engine).await;
            }
        }
    }

    /// Without one. Waiters are registered before each look, so that a movement between the look and the wait is seen.
    async fn wait_for_each(&self, plane: &Plane, deadline: &Deadline, mut targets: Vec<Target>) -> Option<Look> {
        let wakeup = Arc::new(Wakeup::default());
        let mut registrations: Vec<Registration> = Vec::with_capacity(targets.len());
        let mut is_over = false;
        loop {
            registrations.clear();
            let image = plane.engine.image();
            for target in &targets {
                if let Ok(partition) = find(&image, &target.key) {
                    let target = partition.replica.high_watermark() + 1;
                    registrations.push(partition.replica.waiters().register(target, &wakeup));
                }
            }
            drop(image);
            let look = Look::new(self.reader, targets, self.max_bytes).finish(&plane.engine).await?;
            if is_over || self.is_satisfied_by(&look) {
                return Some(look);
            }
            targets = look.targets;
            tokio::select! {
                biased;
                () = wakeup.woken() => {}
                () = deadline.passed() => is_over = true,
            }
        }
    }
}

fn place(target: &Target) -> u64 {
    target.ticket.map_or(0, |ticket| ticket.place)
}
