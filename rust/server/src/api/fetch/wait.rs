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
use crate::walk::finish;

/// Who waits for a partition of the image.
pub fn waiters(image: &Image) -> impl Fn(&PartitionKey) -> Option<Arc<Waiters>> {
    |key| find(image, key).ok().map(|partition| Arc::clone(partition.replica.waiters()))
}

impl Fetch {
    /// Waits until a look satisfies or the time is up: that look. `None`: the engine is being closed. `found`: what there was so far.
    pub async fn wait(&self, plane: &Plane, deadline: &Deadline, found: Vec<(Target, usize)>) -> Option<Look> {
        match &self.context {
            Context::Incremental(session) => self.wait_for_marks(plane, deadline, session, found).await,
            Context::Sessionless | Context::Full { .. } => {
                let targets = found.into_iter().map(|(target, _)| target).collect();
                self.wait_for_each(plane, deadline, targets).await
            }
        }
    }

    /// In a session: of its partitions only those are looked at that have moved, however many there are.
    async fn wait_for_marks(
        &self,
        plane: &Plane,
        deadline: &Deadline,
        session: &Arc<Mutex<Session>>,
        first: Vec<(Target, usize)>,
    ) -> Option<Look> {
        let marks = Arc::clone(session.lock().marks());
        let mut bytes = first.iter().map(|(_, bytes)| bytes).sum::<usize>();
        // By place: that is the order of the answer.
        let mut found: BTreeMap<u64, (Target, usize)> =
            first.into_iter().map(|(target, bytes)| (place(&target), (target, bytes))).collect();
        loop {
            let is_over = tokio::select! {
                biased;
                () = deadline.passed() => true,
                () = marks.woken() => false,
            };
            let moved = session.lock().moved(waiters(&plane.engine.image()));
            let look = finish(Look::new(self.reader, moved, self.max_bytes), &plane.engine).await?;
            let is_full = look.is_full();
            let is_urgent = look.reads.iter().any(|read| read.is_urgent());
            for (target, now) in look.sizes() {
                let before = found.insert(place(&target), (target, now)).map_or(0, |(_, before)| before);
                bytes = bytes - before + now;
            }
            if is_over || is_urgent || is_full || bytes >= self.min_bytes {
                // Once more in order, so that the limits are kept.
                let targets = found.into_values().map(|(target, _)| target).collect();
                return finish(Look::new(self.reader, targets, self.max_bytes), &plane.engine).await;
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
                    let target = partition.replica.next_readable();
                    registrations.push(partition.replica.waiters().register(target, &wakeup));
                }
            }
            drop(image);
            let look = finish(Look::new(self.reader, targets, self.max_bytes), &plane.engine).await?;
            if is_over || self.is_satisfied_by(&look) {
                return Some(look);
            }
            targets = look.sizes().map(|(target, _)| target).collect();
            tokio::select! {
                biased;
                () = deadline.passed() => is_over = true,
                () = wakeup.woken() => {}
            }
        }
    }
}

fn place(target: &Target) -> u64 {
    target.ticket.map_or(0, |ticket| ticket.place)
}
