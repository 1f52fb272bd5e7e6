//! What a Produce waits for: before it appends, that this will need no thread for long; afterwards, with acks=-1, that all of it is committed.

use std::sync::Arc;

use super::{Plan, respond};
use crate::dispatch::{Pending, RequestInfo};
use crate::error_code::ErrorCode;
use crate::plane::Plane;
use crate::replica::Replica;
use crate::waiting::{Registration, Wakeup};

/// An append that acks=-1 waits for: where its answer lies, and the high watermark it needs.
pub(super) struct Awaited {
    pub(super) topic: usize,
    pub(super) partition: usize,
    pub(super) replica: Arc<Replica>,
    pub(super) end_offset: i64,
}

/// A partition of the plan where appending would keep a thread waiting for the disk.
fn held_up(plan: &Plan) -> Option<&Arc<Replica>> {
    plan.topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition.answer.index)))
        .filter_map(|(topic, index)| topic.target.topic.as_ref()?.partition(index))
        .map(|found| &found.replica)
        .find(|replica| replica.held_up().or_crowded())
}

pub(super) fn must_wait(plane: &Plane, plan: &Plan) -> bool {
    plane.engine.is_over() || held_up(plan).is_some()
}

/// Returns once the disk has caught up (`ottla.flush.wait.bytes`) and nobody holds one of the partitions while waiting for it. False:
/// it has not within the request's time-out, and nothing was appended.
pub(super) async fn until_possible(plane: &Plane, plan: &Plan) -> bool {
    if !must_wait(plane, plan) {
        return true;
    }
    let deadline = plane.deadlines.after(plan.timeout);
    loop {
        let possible = async {
            plane.engine.relieved().await;
            if let Some(replica) = held_up(plan) {
                replica.held_up().until_uncrowded().await;
            }
        };
        tokio::select! {
            biased;
            () = possible => {}
            () = deadline.passed() => return false,
        }
        if !must_wait(plane, plan) {
            return true;
        }
    }
}

/// Answers when the high watermark covers every append, or at the time-out with what is covered by then.
pub(super) fn wait_for_all(
    plane: &Arc<Plane>,
    info: &RequestInfo,
    mut plan: Plan,
    mut awaited: Vec<Awaited>,
) -> Pending {
    awaited.retain(|append| append.replica.waiters().high_watermark() < append.end_offset);
    if awaited.is_empty() {
        return Pending::made(respond(info, &plan.topics));
    }
    let (plane, info) = (Arc::clone(plane), info.clone());
    Pending::later(async move {
        let deadline = plane.deadlines.after(plan.timeout);
        let wakeup = Arc::new(Wakeup::default());
        let mut registrations: Vec<Registration> = Vec::with_capacity(awaited.len());
        loop {
            registrations.clear();
            registrations
                .extend(awaited.iter().map(|append| append.replica.waiters().register(append.end_offset, &wakeup)));
            awaited.retain(|append| {
                if append.replica.waiters().high_watermark() >= append.end_offset {
                    return false;
                }
                let Some(code) = append.replica.failure() else {
                    return true;
                };
                fail(&mut plan, append, code);
                false
            });
            if awaited.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                () = wakeup.woken() => {
                    // Most often that was the last.
                    awaited.retain(|append| append.replica.waiters().high_watermark() < append.end_offset);
                    if awaited.is_empty() {
                        break;
                    }
                }
                () = deadline.passed() => {
                    for append in awaited.drain(..) {
                        if append.replica.waiters().high_watermark() < append.end_offset {
                            fail(&mut plan, &append, ErrorCode::REQUEST_TIMED_OUT);
                        }
                    }
                    break;
                }
            }
        }
        respond(&info, &plan.topics)
    })
}

fn fail(plan: &mut Plan, append: &Awaited, error: ErrorCode) {
    if let Some(partition) =
        plan.topics.get_mut(append.topic).and_then(|topic| topic.partitions.get_mut(append.partition))
    {
        partition.answer.error_code = error.0;
    }
}
