//! What coordinators ask of partitions: what their topics say, the ends of transactions, who writes.
//!
//! All of it waits for the disk. Folds and markers are done by threads of the engine's own, which tell when they are done; the rest is
//! for a thread that may wait.

use std::sync::Arc;

use ottla_log::batch::Marker;
use ottla_log::partition::{Folded, ProducerStatus};
use ottla_log::{Partition, ReadError};
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::error_code::ErrorCode;
use crate::replica::Replica;
use crate::workers::Workers;

/// The log is read in pieces of this while it is folded (Kafka's `offsets.load.buffer.size` and `transaction.state.log.load.buffer.size`
/// are 5 MiB).
const FOLD_BYTES: u32 = 1024 * 1024;
/// Folds at a time: each holds what its coordinator will hold.
const FOLD_THREADS: usize = 2;
/// One: markers of a producer are written in the order in which they were asked for.
const MARKER_THREADS: usize = 1;

/// The threads that do it.
pub(crate) struct Coordination {
    folds: Workers,
    markers: Workers,
}

impl Default for Coordination {
    fn default() -> Self {
        Self { folds: Workers::new("ottla-load", FOLD_THREADS), markers: Workers::new("ottla-markers", MARKER_THREADS) }
    }
}

impl Coordination {
    pub(crate) fn stop(&self) {
        self.folds.stop();
        self.markers.stop();
    }
}

/// How a producer's transaction ends.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub marker: Marker,
    pub coordinator_epoch: i32,
    pub transaction_version: i16,
}

/// Calls `done` once; with UNKNOWN_SERVER_ERROR when everybody who could have is gone.
struct Promise<T> {
    done: Option<Box<dyn FnOnce(Option<T>) + Send>>,
}

impl<T> Promise<T> {
    fn keep(mut self, value: T) {
        if let Some(done) = self.done.take() {
            done(Some(value));
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(None);
        }
    }
}

/// The answers of one call, as far as they are known.
struct Answers {
    codes: Vec<Option<ErrorCode>>,
    promise: Option<Promise<Vec<ErrorCode>>>,
}

impl Answers {
    /// The promise and what keeps it, when this was the last.
    fn settle(&mut self, place: usize, code: ErrorCode) -> Option<(Promise<Vec<ErrorCode>>, Vec<ErrorCode>)> {
        if let Some(entry) = self.codes.get_mut(place) {
            *entry = Some(code);
        }
        let codes: Option<Vec<ErrorCode>> = self.codes.iter().copied().collect();
        codes.and_then(|codes| Some((self.promise.take()?, codes)))
    }
}

fn settle(answers: &Mutex<Answers>, place: usize, code: ErrorCode) {
    let settled = answers.lock().settle(place, code);
    if let Some((promise, codes)) = settled {
        promise.keep(codes);
    }
}

/// Settles the answer once the marker before `end_offset` is committed, or never will be.
fn when_committed(replica: &Arc<Replica>, end_offset: i64, answers: Arc<Mutex<Answers>>, place: usize) {
    let waiting = Arc::clone(replica);
    replica.waiters().look_at(end_offset, move || {
        if waiting.high_watermark() >= end_offset {
            settle(&answers, place, ErrorCode::NONE);
        } else if let Some(code) = waiting.failure() {
            settle(&answers, place, code);
        } else {
            // Something else changed.
            when_committed(&waiting, end_offset, answers, place);
        }
    });
    // What happened before that was left has told nobody.
    if replica.failure().is_some() {
        replica.waiters().wake_all();
    } else {
        replica.waiters().advanced_to(replica.high_watermark());
    }
}

impl Engine {
    /// Reads what a coordinator's partition says, on a thread of its own; `done` gets it there, `None` if nobody will read it any more.
    pub fn fold(&self, replica: Arc<Replica>, done: impl FnOnce(Option<Result<Folded, ReadError>>) + Send + 'static) {
        let promise = Promise { done: Some(Box::new(done)) };
        self.coordination.folds.run(move || {
            let folded =
                replica.partition().map_err(ReadError::Storage).and_then(|partition| partition.fold(FOLD_BYTES));
            promise.keep(folded);
        });
    }

    /// Ends a transaction in each of these partitions, on a thread of its own. `done` gets a code for each, in their order, when every
    /// marker is committed or refused; `None` if the engine is closed before. Kafka's `KafkaApis.handleWriteTxnMarkersRequest`.
    pub fn write_markers(
        self: &Arc<Self>,
        ending: Ending,
        partitions: Vec<(String, i32)>,
        done: impl FnOnce(Option<Vec<ErrorCode>>) + Send + 'static,
    ) {
        let promise = Promise { done: Some(Box::new(done)) };
        if partitions.is_empty() {
            promise.keep(Vec::new());
            return;
        }
        let engine = Arc::clone(self);
        self.coordination.markers.run(move || {
            let codes = vec![None; partitions.len()];
            let answers = Arc::new(Mutex::new(Answers { codes, promise: Some(promise) }));
            for (place, (topic, index)) in partitions.iter().enumerate() {
                match engine.write_marker(ending, topic, *index) {
                    Ok((replica, end_offset)) => when_committed(&replica, end_offset, Arc::clone(&answers), place),
                    Err(code) => settle(&answers, place, code),
                }
            }
        });
    }

    fn write_marker(&self, ending: Ending, topic: &str, index: i32) -> Result<(Arc<Replica>, i64), ErrorCode> {
        let replica = self.led(topic, index)?;
        let Ending { producer_id, producer_epoch, marker, coordinator_epoch, transaction_version } = ending;
        let partition = replica.live()?;
        partition
            .append_marker(producer_id, producer_epoch, marker, coordinator_epoch, transaction_version)
            .map(|appended| (Arc::clone(&replica), appended.last_offset + 1))
            .map_err(|refusal| {
                // The coordinator says so where it is news.
                tracing::debug!("the marker of producer {producer_id} for {topic}-{index} is refused: {refusal}");
                ErrorCode(refusal.code())
            })
    }

    /// A partition this broker leads.
    fn led(&self, topic: &str, index: i32) -> Result<Arc<Replica>, ErrorCode> {
        let image = self.image();
        let topic = image.topic(topic).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        let state = topic.partition(index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        if state.leader != self.node_id() {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        Ok(Arc::clone(&state.replica))
    }

    /// Who wrote to each of these partitions, as far as that is remembered (DescribeProducers). Opens what is not open: not for a thread
    /// that must not wait.
    #[must_use]
    pub fn producers(&self, partitions: &[(String, i32)]) -> Vec<Result<Vec<ProducerStatus>, ErrorCode>> {
        let producers = |partition: &Arc<Partition>| {
            if partition.status().offline { Err(ErrorCode::KAFKA_STORAGE_ERROR) } else { Ok(partition.producers()) }
        };
        partitions.iter().map(|(topic, index)| producers(self.led(topic, *index)?.live()?)).collect()
    }
}
